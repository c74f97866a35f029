/** The common behaviour of all wrappers: over memory, over files, and on top of one another. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { checkBackendConformance, mockBackend } from "../../testing.ts";
import { Scratch } from "../../tests/scratch.ts";
import { OpenedDisk } from "../../disk/opened.ts";
import { fill, readBytes } from "../../tests/stack.ts";
import { asyncMemory } from "../../tests/backends/async_memory.ts";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { file } from "../loop.ts";
import { memory } from "../memory.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { stripe } from "../stripe.ts";
import { WRAPPERS } from "../wrappers.ts";
import { cache } from "./cache.ts";
import { cow } from "./cow.ts";
import { delay, open as openDelay } from "./delay.ts";
import { error } from "./error.ts";
import { log } from "./log.ts";
import { offset } from "./offset.ts";
import { partition } from "./partition.ts";
import { open as openRate, rate } from "./rate.ts";
import { readonly } from "./readonly.ts";
import { stats } from "./stats.ts";

// Opened once for the process, so that the sanitizer reports no leak.
openAllOfLibc();

const MIB = 1 << 20;
const SIZE = 4 * MIB;

/** A disk of this machine has its rules for it. */
const PAST_CACHE = "a file past the page cache";

/** The inner disks, each of {@linkcode SIZE}. */
const DISKS: Record<string, (scratch: Scratch) => BackendSpec> = {
  "memory": () => memory(SIZE),
  "memory with Promises": () => asyncMemory(SIZE),
  "a file": (scratch) => file(scratch.file("disk", SIZE)),
  [PAST_CACHE]: (scratch) => file(scratch.file("disk", SIZE), { direct: true, blockSize: 4096 }),
  "striped files": (scratch) =>
    stripe([0, 1].map((index) => scratch.file(`part${index}`, SIZE / 2)), { chunkSize: 4096 }),
};

/** Each wrapper, in its different modes. */
const WRAPPED: Record<string, (inner: BackendSpec, scratch: Scratch) => BackendSpec> = {
  "no wrapper": (inner) => inner,
  readonly: (inner) => readonly(inner),
  offset: (inner) => offset(inner, { start: "1MiB", size: "1MiB" }),
  "offset up to the end": (inner) => offset(inner, { start: "8K" }),
  cow: (inner, { path }) => cow(inner, { file: `${path}/over` }),
  "cow in small blocks": (inner, { path }) => cow(inner, { file: `${path}/over`, block: 4096 }),
  "cache write-through": (inner) => cache(inner, { size: "256K" }),
  "cache write-back": (inner) => cache(inner, { size: "256K", mode: "write-back" }),
  "cache of large blocks": (inner) =>
    cache(inner, { size: "256K", mode: "write-back", block: "64K" }),
  "cache of one block": (inner) => cache(inner, { size: "4K", mode: "write-back" }),
  rate: (inner) => rate(inner, { bytes: "10GiB", iops: 1e6 }),
  delay: (inner) => delay(inner, { read: 0, write: "0.1ms" }),
  error: (inner) => error(inner, { rate: 0 }),
  stats: (inner, { path }) => stats(inner, { file: `${path}/stats` }),
  log: (inner, { path }) => log(inner, { file: `${path}/log` }),
  "all at once": (inner, { path }) =>
    stats(
      cache(cow(offset(readonly(inner), { start: "64K" }), { file: `${path}/over` }), {
        mode: "write-back",
        size: "64K",
      }),
      { file: `${path}/stats` },
    ),
};

for (const [disk, make] of Object.entries(DISKS)) {
  Deno.test(`every wrapper conforms over ${disk}`, async (test) => {
    for (const [name, wrap] of Object.entries(WRAPPED)) {
      await test.step(name, async () => {
        using scratch = disk === PAST_CACHE ? new Scratch() : Scratch.inMemory();
        // The specification and the shared state must be clonable to other threads.
        await using stack = await OpenedDisk.open(structuredClone(wrap(make(scratch), scratch)));
        structuredClone(stack.shared);
        const rounds = name === "delay" ? 20 : 60;
        await checkBackendConformance(stack.backend, { rounds, maxIoBytes: 64 << 10, seed: 3 });
      });
    }
  });
}

Deno.test("every wrapper of the table has a test here", () => {
  // A partition needs a table, and has its own file of tests.
  const tested = new Set(
    Object.keys(WRAPPED).map((name) => name.split(" ")[0]).concat("partition"),
  );
  for (const { name } of WRAPPERS) assert(tested.has(name), name);
});

/** The abilities that a disk keeps in a stack. */
const ABILITIES: [string, (inner: BackendSpec, path: string) => BackendSpec, string][] = [
  ["readonly", readonly, "readOnly persistent synchronous ring"],
  [
    "offset",
    (inner) => offset(inner, { start: 4096 }),
    "fua persistent synchronous ring flush trim",
  ],
  ["error", (inner) => error(inner), "fua persistent synchronous ring flush trim"],
  ["stats", (inner) => stats(inner), "fua persistent synchronous ring flush trim"],
  ["cow", (inner, path) => cow(inner, { file: path }), "fua persistent synchronous flush trim"],
  ["cache", (inner) => cache(inner), "fua persistent synchronous flush trim"],
  [
    "cache write-back",
    (inner) => cache(inner, { mode: "write-back" }),
    "fua synchronous flush trim",
  ],
  ["delay", (inner) => delay(inner, {}), "fua persistent flush trim"],
  ["rate", (inner) => rate(inner, { iops: 1 }), "fua persistent flush trim"],
];

for (const [name, wrap, expected] of ABILITIES) {
  Deno.test(`${name} over a file can do what both can`, async () => {
    using scratch = new Scratch();
    const inner = file(scratch.file("disk", SIZE), { blockSize: 4096 });
    await using stack = await OpenedDisk.open(wrap(inner, `${scratch.path}/over`));
    const names = [
      "readOnly",
      "fua",
      "persistent",
      "synchronous",
      "ring",
      "address",
      "flush",
      "trim",
    ] as const;
    const has = names.filter((one) => {
      const value = stack.backend[one];
      return value !== undefined && value !== false;
    });
    assertEquals(has.join(" "), expected);
    assertEquals(stack.backend.blockSize, 4096);
  });
}

Deno.test("wrappers that see no bytes keep the memory's address, moved as they are", async () => {
  await using plain = await OpenedDisk.open(memory(SIZE));
  assert(plain.backend.address !== undefined);
  await using moved = await OpenedDisk.open(offset(readonly(memory(SIZE)), { start: 8192 }));
  await using bare = await OpenedDisk.open(error(memory(SIZE)));
  assertEquals(moved.backend.address! % 4096, 0);
  assertEquals([moved.sharing, moved.backend.readOnly], ["per-queue", true]);
  assertEquals(bare.backend.address, undefined, "who looks at each request may not be passed by");
});

Deno.test("a stack is opened once per queue only if all of it may be", async () => {
  using scratch = new Scratch();
  await using one = await OpenedDisk.open(
    readonly(cow(memory(SIZE), { file: `${scratch.path}/over` })),
  );
  assertEquals(one.sharing, "single");
});

Deno.test("readonly refuses writes by itself", async () => {
  await using stack = await OpenedDisk.open(readonly(memory(SIZE)));
  await assertRejects(
    async () => await stack.backend.writeAt(new Uint8Array(512), 0, { fua: false }),
    UblkError,
    "EPERM",
  );
});

Deno.test("readonly gets smaller and cuts nothing off what is inside, and grows with it", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", 2 * MIB);
  Deno.writeFileSync(path, new Uint8Array(2 * MIB).fill(7));
  for (const readOnly of [false, true]) {
    Deno.truncateSync(path, 2 * MIB);
    await using stack = await OpenedDisk.open(readonly(file(path, { readOnly })));
    const { backend } = stack;
    await backend.resize!(MIB);
    assertEquals([backend.size, Deno.statSync(path).size], [MIB, 2 * MIB]);
    await backend.resize!(2 * MIB);
    assertEquals(backend.size, 2 * MIB);
    assertEquals((await readBytes(backend, 2 * MIB - 512, 512))[511], 7);
    // The file has become longer, and the disk is resized to all of it.
    Deno.truncateSync(path, 3 * MIB);
    await backend.resize!(3 * MIB);
    assertEquals([backend.size, Deno.statSync(path).size], [3 * MIB, 3 * MIB]);
  }
});

Deno.test("offset is that part, and refuses what is not within the disk", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", MIB);
  {
    await using stack = await OpenedDisk.open(offset(file(path), { start: 8192, size: 4096 }));
    assertEquals(stack.backend.size, 4096);
    await fill(stack.backend, 7, 512, 512);
  }
  const bytes = Deno.readFileSync(path);
  assertEquals(bytes.findIndex((byte) => byte !== 0), 8192 + 512);
  assertEquals(bytes.findLastIndex((byte) => byte !== 0), 8192 + 1023);
  const refused: [Parameters<typeof offset>[1], string][] = [
    [{ start: 100 }, "start 100 is not in whole blocks of 512; use a multiple of 512"],
    [{ start: 0, size: 1000 }, "size 1000 is not in whole blocks"],
    [{ start: MIB }, "it ends beyond the disk, which has 1 MiB"],
    [{ start: 512, size: MIB }, "it ends beyond the disk"],
  ];
  for (const [options, words] of refused) {
    await assertRejects(() => OpenedDisk.open(offset(file(path), options)), UblkError, words);
  }
});

Deno.test("offset grows with its disk where it has no end", async () => {
  await using stack = await OpenedDisk.open(
    offset(memory(MIB, { maxSize: 2 * MIB }), { start: 4096 }),
  );
  assertEquals(stack.backend.size, MIB - 4096);
  await stack.backend.resize!(MIB);
  assertEquals(stack.backend.size, MIB);
  await using fixed = await OpenedDisk.open(offset(memory(MIB), { start: 0, size: 4096 }));
  assertEquals(fixed.backend.resize, undefined);
});

Deno.test("error fails the operations, the part and the share that it is told", async () => {
  const failures = async (options: Parameters<typeof error>[1]) => {
    await using stack = await OpenedDisk.open(error(memory(MIB), options));
    const { backend } = stack;
    const results: string[] = [];
    for (const at of [0, 4096, 8192]) {
      for (const op of ["readAt", "writeAt"] as const) {
        try {
          await backend[op](new Uint8Array(512), at, { fua: false });
          results.push("ok");
        } catch (thrown) {
          results.push(/E\w+/.exec((thrown as Error).message)![0]);
        }
      }
    }
    return results.join(" ");
  };
  assertEquals(await failures({}), "EIO EIO EIO EIO EIO EIO");
  assertEquals(
    await failures({ ops: ["write"], errno: "ENOSPC" }),
    "ok ENOSPC ok ENOSPC ok ENOSPC",
  );
  assertEquals(await failures({ range: "4096-4608" }), "ok ok EIO EIO ok ok");
  assertEquals(await failures({ rate: 0 }), "ok ok ok ok ok ok");
  const some = await failures({ rate: 0.5, seed: 5 });
  assert(some.includes("ok") && some.includes("EIO"), some);
  assertEquals(await failures({ rate: 0.5, seed: 5 }), some);
});

Deno.test("delay is as late as it is told, and requests wait side by side", async () => {
  await using stack = await OpenedDisk.open(delay(memory(MIB), { read: "50ms", all: 0 }));
  const tries: [reads: number, write: number][] = [];
  // One after another, four reads take 200 ms, and a late write 50 ms, in each try.
  const isPrompt = () => tries.some(([reads, write]) => reads < 180 && write < 45);
  while (tries.length < 10 && !isPrompt()) {
    const start = performance.now();
    await Promise.all([0, 1, 2, 3].map((index) => readBytes(stack.backend, index * 512, 512)));
    const reads = performance.now() - start;
    assert(reads >= 49, `${reads}`);
    await fill(stack.backend, 1, 0, 512);
    tries.push([reads, performance.now() - start - reads]);
  }
  assert(isPrompt(), `milliseconds of the reads and of a write: ${tries.join("; ")}`);
});

for (const [name, wrap] of [["delay", openDelay], ["rate", openRate]] as const) {
  Deno.test(`${name} begins no request any more once it is closed`, async () => {
    const disk = mockBackend({ size: MIB });
    // The second request is due after two seconds: not before both are there.
    const options = name === "delay" ? { all: 20 } : { iops: 0.5, burst: 0 };
    const backend = wrap(options, { inner: [disk] });
    const first = fill(backend, 1, 0, 512);
    const late = name === "rate" ? fill(backend, 2, 0, 512) : first;
    const failed = assertRejects(() => late, UblkError, "ENODEV");
    if (name === "rate") await first;
    await backend.close?.();
    await failed;
    assertEquals(disk.calls.count("writeAt"), name === "rate" ? 1 : 0);
  });
}

Deno.test("stats counts per operation, over all threads, and tells at the end", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/table`;
  {
    await using stack = await OpenedDisk.open(
      stats(error(memory(MIB), { ops: ["flush", "trim"] }), { file: path }),
    );
    await fill(stack.backend, 1, 0, 4096);
    await readBytes(stack.backend, 0, 512);
    await readBytes(stack.backend, 0, 1024);
    await assertRejects(async () => await stack.backend.trim!(0, 512));
    assertEquals(Deno.readTextFileSync(path), "");
  }
  const rows = Deno.readTextFileSync(path).trim().split("\n").map((row) => row.split(/ {2,}/));
  assertEquals(rows.slice(1).map((row) => row.slice(0, 4)), [
    ["read", "2", "1.5 KiB", "0"],
    ["write", "1", "4 KiB", "0"],
    ["trim", "1", "0 B", "1"],
  ]);
});

Deno.test("log has a line for each request, with its errno", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/log`;
  {
    await using stack = await OpenedDisk.open(
      log(error(memory(MIB), { ops: ["read"], errno: "ENODATA" }), { file: path }),
    );
    await stack.backend.writeAt(new Uint8Array(512), 1024, { fua: true });
    await assertRejects(() => readBytes(stack.backend, 0, 512));
  }
  const lines = Deno.readTextFileSync(path).trim().split("\n");
  const shapes = lines.map((line) => line.replace(/^\S+Z /, "").replace(/us=\d+/, "us=N"));
  assertEquals(shapes, [
    "queue=0 write offset=1024 length=512 fua us=N ok",
    "queue=0 read offset=0 length=512 us=N ENODATA",
  ]);
});

Deno.test("options are refused by name, cause and remedy", () => {
  const disk = memory(MIB);
  const refused: [() => unknown, string][] = [
    [() => delay(disk, { read: "soon" }), "wrapper delay: read=soon is not possible; write milli"],
    [() => delay(disk, { all: -1 }), "wrapper delay: all=-1 is not possible; use 0 to 3600000"],
    [() => rate(disk, { bytes: "fast" }), "wrapper rate: bytes=fast is not possible; write bytes"],
    [() => rate(disk, {}), "wrapper rate: there is no limit; give bytes or iops"],
    [() => error(disk, { rate: 2 }), "wrapper error: rate=2 is not possible; use 0 to 1"],
    [() => error(disk, { errno: "ENOENT" }), "the block layer passes on no ENOENT"],
    [() => error(disk, { range: "5" }), "wrapper error: range=5 is not possible; write FROM-TO"],
    [() => error(disk, { ops: "read+eat" }), "use some of read, write, flush, trim, zero"],
    [() => cow(disk, { file: "" }), "wrapper cow: file= is not possible; give the path of a file"],
    [() => cow(disk, {} as { file: string }), "wrapper cow: file is missing; give file=…"],
    [() => cow(disk, { file: "x", block: 5000 }), "block=5000 is not possible; use a power of two"],
    [() => cache(disk, { mode: "fast" as "write-back" }), "use one of write-through, write-back"],
    [() => cache(disk, { size: 4096, block: 8192 }), "size=4096 is less than a block of 8192"],
    [() => partition(disk, { number: 1.5 }), "number=1.5 is not possible; give one in digits"],
    [() => log(disk, { path: "x" } as never), 'wrapper log: it has no option "path"; it has file'],
  ];
  for (const [make, words] of refused) {
    try {
      make();
    } catch (thrown) {
      assert(thrown instanceof UblkError && thrown.message.includes(words), `${thrown}: ${words}`);
      continue;
    }
    assert(false, `nothing is thrown: ${words}`);
  }
});
