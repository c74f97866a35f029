import { assert, assertEquals } from "@std/assert";
import type { Answer } from "../disk/backend.ts";
import { join, NbdClient } from "../tests/nbd_client.ts";
import { arrayDisk, NbdRig } from "../tests/nbd_rig.ts";
import { UblkError } from "../uapi/error.ts";

const [READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZERO, STATUS] = [0, 1, 2, 3, 4, 5, 6, 7];
const [FUA, NO_HOLE, DF, FAST, PAYLOAD] = [1, 2, 4, 16, 32];
const [EPERM, EIO, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN] = [1, 5, 22, 28, 75, 95, 108];
const MIB = 1 << 20;
const FORMS = ["simple", "structured", "extended"] as const;

/** Bytes that differ at each place. */
function pattern(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(length / 4);
  for (let at = 0, word = seed; at < words.length; at++) {
    words[at] = word = Math.imul(word, 1664525) + 1013904223;
  }
  return new Uint8Array(words.buffer);
}

for (const [form, synchronous] of FORMS.flatMap((form) => [[form, false], [form, true]] as const)) {
  const kind = synchronous ? "a disk that answers at once" : "a disk";
  Deno.test(`READ and WRITE + ${form} replies, ${kind}, 512 bytes to 32 MiB + come back as written`, async () => {
    const disk = arrayDisk(40 * MIB, { synchronous });
    await using rig = await NbdRig.of({ backend: disk });
    using client = await NbdClient.at(rig.path, form);
    const flags = form === "extended" ? PAYLOAD : 0;
    for (const length of [512, 4096, MIB / 4, MIB / 4 + 512, MIB, MIB + 512, 32 * MIB]) {
      const data = pattern(length, length);
      const offset = 3 * 512;
      const written = await client.perform({ command: WRITE, flags, offset, length, data });
      assertEquals(written.error, 0);
      assert(indexOfDifference(disk.bytes.subarray(offset, offset + length), data) < 0);
      const read = await client.perform({ command: READ, offset, length });
      assertEquals([read.error, indexOfDifference(read.data, data)], [0, -1], `${length} bytes`);
      assert(read.chunks.every(({ kind }) => kind === form));
    }
  });

  Deno.test(`${form} replies, ${kind} + requests that come together and in bits + all are answered`, async () => {
    const disk = arrayDisk(MIB, { synchronous });
    await using rig = await NbdRig.of({ backend: disk });
    using client = await NbdClient.at(rig.path, form);
    const flags = form === "extended" ? PAYLOAD : 0;
    const parts: Uint8Array[] = [];
    const sizes = [512, 4096, 65536];
    for (let nth = 0; nth < 60; nth++) {
      const length = sizes[nth % 3];
      const at = { cookie: BigInt(nth), offset: 512 * nth, length };
      parts.push(client.encode({ command: WRITE, flags, ...at }), pattern(length, nth + 1));
      parts.push(client.encode({ command: READ, ...at, cookie: at.cookie + 1000n }));
      parts.push(client.encode({ command: FLUSH, cookie: at.cookie + 2000n }));
    }
    const sending = (async () => {
      const whole = join(...parts);
      for (let at = 0, bits = 1; at < whole.length; at += bits, bits = 1 + (bits * 7919) % 90001) {
        await client.send(whole.subarray(at, at + bits));
        if (bits % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    const seen = new Set<bigint>();
    while (seen.size < 180) {
      const nth = (cookie: bigint) => Number(cookie % 1000n);
      const reply = await client.reply(
        0,
        (cookie) => cookie >= 1000n && cookie < 2000n ? sizes[nth(cookie) % 3] : 0,
      );
      assertEquals([reply.error, reply.isLast, seen.has(reply.cookie)], [0, true, false]);
      seen.add(reply.cookie);
      if (!synchronous || reply.cookie < 1000n || reply.cookie >= 2000n) continue;
      // A disk that answers at once performs them in their order.
      const data = form === "simple" ? reply.payload : reply.payload.subarray(8);
      const expected = pattern(sizes[nth(reply.cookie) % 3], nth(reply.cookie) + 1);
      assertEquals(indexOfDifference(data, expected), -1);
    }
    await sending;
  });

  if (synchronous) continue;

  Deno.test(`READ + ${form} replies, a disk that fails at a later piece + is an error, and no bad data`, async () => {
    const failsFrom = { offset: Infinity };
    const disk = arrayDisk(8 * MIB);
    const { readAt } = disk;
    disk.readAt = (buffer, offset) => {
      if (offset >= failsFrom.offset) throw new Error("broken");
      return readAt(buffer, offset);
    };
    await using rig = await NbdRig.of({ backend: disk });
    using client = await NbdClient.at(rig.path, form);
    failsFrom.offset = 0;
    assertEquals((await client.perform({ command: READ, length: 3 * MIB })).error, EIO);
    failsFrom.offset = 2 * MIB;
    if (form === "simple") {
      // It had said that all is well. Nothing is left but to hang up.
      await client.request({ command: READ, length: 4 * MIB });
      await client.read(16 + 2 * MIB);
      return await client.hungUp();
    }
    const failed = await client.perform({ command: READ, length: 4 * MIB });
    assertEquals([failed.error, failed.chunks.at(-1)!.isLast], [EIO, true]);
    const unfragmented = await client.perform({ command: READ, flags: DF, length: 4 * MIB });
    assertEquals(unfragmented.error, EIO);
    assertEquals(unfragmented.chunks.filter(({ type }) => type === 1).length, 1);
    assertEquals((await client.perform({ command: READ, length: 512 })).error, 0);
  });
}

/** The first place where bytes differ; -1 for none. Far faster than `assertEquals`. */
function indexOfDifference(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  return a.findIndex((byte, at) => byte !== b[at]);
}

Deno.test("READ with DF + is one chunk of data, however long", async () => {
  const disk = arrayDisk(8 * MIB);
  disk.bytes.set(pattern(8 * MIB));
  await using rig = await NbdRig.of({ backend: disk });
  using client = await NbdClient.at(rig.path);
  const read = await client.perform({ command: READ, flags: DF, length: 8 * MIB });
  assertEquals(read.chunks.map(({ type }) => type), [1, 0]);
  assert(indexOfDifference(read.data, disk.bytes) < 0);
  const split = await client.perform({ command: READ, length: 8 * MIB });
  assertEquals(split.chunks.length, 8);
});

Deno.test("FUA and FLUSH + reach the disk before the answer, of TRIM and WRITE_ZEROES too", async () => {
  const disk = arrayDisk(MIB, {
    trim: (offset, length) => void disk.calls.push(`trim ${offset} ${length}`),
    writeZeroes: (offset, length, { mayUnmap }) =>
      void disk.calls.push(`zero ${offset} ${length}${mayUnmap ? " unmap" : ""}`),
  });
  await using rig = await NbdRig.of({ backend: disk });
  using client = await NbdClient.at(rig.path);
  const data = new Uint8Array(512);
  const ask = async (command: number, flags: number, more: object = { offset: 512, length: 512 }) =>
    assertEquals((await client.perform({ command, flags, ...more })).error, 0);
  await ask(WRITE, 0, { length: 512, data });
  await ask(WRITE, FUA, { length: 512, data });
  await ask(FLUSH, 0, {});
  await ask(TRIM, 0);
  await ask(TRIM, FUA);
  await ask(ZERO, 0);
  await ask(ZERO, NO_HOLE | FUA);
  await ask(ZERO, FAST);
  await ask(CACHE, 0);
  assertEquals(disk.calls, [
    ...[
      "write 0 512",
      "write 0 512 fua",
      "flush",
      "flush",
      "trim 512 512",
      "trim 512 512",
      "flush",
    ],
    ...["zero 512 512 unmap", "zero 512 512", "flush", "zero 512 512 unmap", "read 512 512"],
  ]);
});

Deno.test("FUA + a disk that honours it + is passed on, without a flush", async () => {
  const disk = arrayDisk(MIB, { fua: true });
  await using rig = await NbdRig.of({ backend: disk });
  using client = await NbdClient.at(rig.path, "simple");
  await client.perform({ command: WRITE, flags: FUA, length: 512, data: new Uint8Array(512) });
  assertEquals(disk.calls, ["write 0 512 fua"]);
});

Deno.test("FUA + a WRITE in several pieces + one flush, after all of them", async () => {
  const disk = arrayDisk(8 * MIB);
  await using rig = await NbdRig.of({ backend: disk });
  using client = await NbdClient.at(rig.path);
  const data = new Uint8Array(2 * MIB + 512);
  const sent = { command: WRITE, flags: FUA, length: data.length, data };
  assertEquals((await client.perform(sent)).error, 0);
  assertEquals(disk.calls.at(-1), "flush");
  assertEquals(disk.calls.filter((call) => call === "flush").length, 1);
  assertEquals(disk.calls.length, 4);
});

Deno.test("a disk with neither TRIM nor zeroes + zeroes as data, and is not fast", async () => {
  const disk = arrayDisk(4 * MIB);
  disk.bytes.fill(7);
  await using rig = await NbdRig.of({ backend: disk });
  using client = await NbdClient.at(rig.path);
  const range = { offset: 512, length: 3 * MIB };
  assertEquals((await client.perform({ command: ZERO, flags: FAST, ...range })).error, ENOTSUP);
  assertEquals(disk.calls, []);
  assertEquals((await client.perform({ command: ZERO, ...range })).error, 0);
  assertEquals([disk.bytes[511], disk.bytes[512], disk.bytes[512 + 3 * MIB]], [7, 0, 7]);
  assertEquals(disk.bytes.indexOf(7, 512), 512 + 3 * MIB);
  assertEquals((await client.perform({ command: TRIM, ...range })).error, EINVAL);
});

Deno.test("requests that are impossible + get the specification's error, and the connection goes on", async () => {
  const disk = arrayDisk(64 * MIB, { trim: () => {} });
  await using rig = await NbdRig.of({ backend: disk });
  for (const form of FORMS) {
    using client = await NbdClient.at(rig.path, form);
    const big = 33 * MIB;
    const cases: [sent: Parameters<NbdClient["perform"]>[0], error: number][] = [
      [{ command: READ, offset: 64 * MIB, length: 512 }, EINVAL],
      [{ command: READ, offset: 2n ** 63n, length: 512 }, EINVAL],
      [{ command: READ, offset: 2n ** 64n - 512n, length: 512 }, EINVAL],
      [{ command: WRITE, offset: 64 * MIB, length: 512, data: new Uint8Array(512) }, ENOSPC],
      [{ command: ZERO, offset: 64 * MIB, length: 512 }, ENOSPC],
      [{ command: TRIM, offset: 64 * MIB - 512, length: 1024 }, EINVAL],
      [{ command: READ, offset: 1, length: 512 }, EINVAL],
      [{ command: READ, offset: 0, length: 511 }, EINVAL],
      [{ command: READ, length: 0 }, EINVAL],
      [{ command: WRITE, length: 0, data: new Uint8Array() }, ENOSPC],
      [{ command: WRITE, offset: 7, length: 512, data: new Uint8Array(512) }, EINVAL],
      [{ command: FLUSH, offset: 512 }, EINVAL],
      [{ command: 99, length: 512 }, EINVAL],
      [{ command: READ, flags: 0x8000, length: 512 }, EINVAL],
      [{ command: READ, flags: NO_HOLE, length: 512 }, EINVAL],
      [{ command: STATUS, length: 512 }, EINVAL],
      [{ command: READ, length: big }, form === "simple" ? EINVAL : EOVERFLOW],
      [{ command: WRITE, length: big, data: new Uint8Array(big) }, EINVAL],
    ];
    for (const one of cases) {
      // With extended headers data follows only where this flag is.
      if (form === "extended" && one[0].data !== undefined) one[0] = { ...one[0], flags: PAYLOAD };
    }
    if (form === "simple") cases.push([{ command: READ, flags: DF, length: 512 }, EINVAL]);
    for (const [sent, error] of cases) {
      const { error: got } = await client.perform(sent);
      assertEquals(
        got,
        error,
        `${form}: ${JSON.stringify({ ...sent, offset: `${sent.offset}`, data: 0 })}`,
      );
    }
    assertEquals((await client.perform({ command: READ, length: 512 })).error, 0);
  }
  assertEquals(disk.calls.filter((call) => !call.startsWith("read 0 512")), []);
});

Deno.test("a read-only export + writes + get EPERM, and the disk none", async () => {
  const disk = arrayDisk(MIB, { trim: () => {}, writeZeroes: () => {} });
  await using rig = await NbdRig.of({ backend: disk, readOnly: true });
  using client = await NbdClient.at(rig.path);
  for (const command of [WRITE, TRIM, ZERO]) {
    const data = command === WRITE ? new Uint8Array(512) : undefined;
    assertEquals((await client.perform({ command, length: 512, data })).error, EPERM);
  }
  assertEquals((await client.perform({ command: FLUSH })).error, 0);
  assertEquals(disk.calls, ["flush"]);
});

Deno.test("errors of a disk + reach the client as the protocol has them", async () => {
  const codes: [number | undefined, number][] = [
    ...[[28, ENOSPC], [1, EPERM], [12, 12], [110, EIO], [undefined, EIO]] as [number, number][],
  ];
  let errno: number | undefined;
  const disk = arrayDisk(MIB, {
    writeAt() {
      throw new UblkError("SYSCALL_FAILED", {
        operation: "write",
        ...errno === undefined ? {} : { errno },
      });
    },
  });
  await using rig = await NbdRig.of({ backend: disk });
  using client = await NbdClient.at(rig.path);
  for (const [given, error] of codes) {
    errno = given;
    const data = new Uint8Array(512);
    assertEquals(
      (await client.perform({ command: WRITE, length: 512, data })).error,
      clientSees(given, error),
    );
  }
});

/** The block layer has no EPERM and no ENOMEM that a disk may answer with: see `clientErrno`. */
function clientSees(errno: number | undefined, error: number): number {
  return errno === 1 ? EIO : error;
}

Deno.test("many requests in flight + are performed at once, and answered as they are done", async () => {
  const waiting: (() => void)[] = [];
  const disk = arrayDisk(MIB, {
    readAt: (buffer, offset): Answer => {
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.push(() => {
        buffer.fill(offset / 512);
        resolve();
      });
      return promise;
    },
  });
  await using rig = await NbdRig.of({ backend: disk });
  using client = await NbdClient.at(rig.path);
  for (let nth = 0; nth < 100; nth++) {
    await client.request({ command: READ, cookie: BigInt(nth), offset: nth * 512, length: 512 });
  }
  while (waiting.length < 100) await new Promise((resolve) => setTimeout(resolve, 1));
  for (const answer of waiting.reverse()) answer();
  for (let nth = 99; nth >= 0; nth--) {
    const { cookie, payload } = await client.reply();
    assertEquals([cookie, payload[8]], [BigInt(nth), nth]);
  }
});

Deno.test("DISC + requests before it + are answered, and then the server hangs up", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const disk = arrayDisk(MIB, { flush: () => promise });
  await using rig = await NbdRig.of({ backend: disk });
  using client = await NbdClient.at(rig.path);
  await client.request({ command: FLUSH, cookie: 5n });
  await client.request({ command: DISC });
  setTimeout(resolve, 20);
  assertEquals((await client.reply()).cookie, 5n);
  await client.hungUp();
});

Deno.test("close + requests that came are answered, later ones get ESHUTDOWN", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let isClosed = false;
  const disk = arrayDisk(MIB, { flush: () => promise, close: () => void (isClosed = true) });
  await using rig = await NbdRig.of({ backend: disk, graceMs: 60_000 });
  using client = await NbdClient.at(rig.path);
  await client.request({ command: FLUSH, cookie: 5n });
  await client.perform({ command: READ, cookie: 1n, length: 512 });
  const closing = rig.server.close();
  await client.request({ command: READ, cookie: 6n, length: 512 });
  const early = await client.reply();
  assertEquals([early.cookie, early.error], [6n, ESHUTDOWN]);
  assertEquals(isClosed, false);
  resolve();
  assertEquals((await client.reply()).cookie, 5n);
  await client.hungUp();
  await closing;
  assertEquals(isClosed, true);
  await rig.server.finished;
});

Deno.test("close + a client whose request takes longer than it has + is disconnected", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const disk = arrayDisk(MIB, { flush: () => promise });
  await using rig = await NbdRig.of({ backend: disk, graceMs: 50 });
  using client = await NbdClient.at(rig.path);
  await client.request({ command: FLUSH, cookie: 5n });
  await client.perform({ command: READ, cookie: 1n, length: 512 });
  const closing = rig.server.close();
  await client.hungUp();
  resolve();
  await closing;
});

Deno.test("PAYLOAD_LEN + on the wrong command, or not on a WRITE + is EINVAL, and nothing is lost", async () => {
  const disk = arrayDisk(MIB);
  await using rig = await NbdRig.of({ backend: disk });
  const data = new Uint8Array(512);
  {
    using client = await NbdClient.at(rig.path, "extended");
    for (const command of [READ, FLUSH, STATUS, 99]) {
      const sent = { command, flags: PAYLOAD, length: 512, data };
      assertEquals((await client.perform(sent)).error, EINVAL);
    }
    // No data follows a header that does not say so.
    assertEquals((await client.perform({ command: WRITE, length: 512 })).error, EINVAL);
    const written = { command: WRITE, flags: PAYLOAD | FUA, length: 512, data };
    assertEquals((await client.perform(written)).error, 0);
  }
  using client = await NbdClient.at(rig.path);
  const sent = { command: WRITE, flags: PAYLOAD, length: 512, data };
  assertEquals((await client.perform(sent)).error, EINVAL);
  assertEquals((await client.perform({ command: READ, length: 512 })).error, 0);
  assertEquals(disk.calls, ["write 0 512 fua", "flush", "read 0 512"]);
});

Deno.test("extended headers + a WRITE_ZEROES of more than 4 GiB + is one request", async () => {
  const zeroed: number[] = [];
  const size = 8 * 2 ** 30;
  const disk = {
    ...{ size, readAt() {}, writeAt() {} },
    writeZeroes: (_: number, length: number) => void zeroed.push(length),
  };
  await using rig = await NbdRig.of({ backend: disk });
  using client = await NbdClient.at(rig.path, "extended");
  const asked = { command: ZERO, offset: 512, length: 5 * 2 ** 30 };
  assertEquals((await client.perform(asked)).error, 0);
  assertEquals(zeroed.reduce((sum, length) => sum + length, 0), 5 * 2 ** 30);
});

Deno.test("a disk that answers at once + fails, READ and WRITE + are errors, and the connection goes on", async () => {
  const bad = () => {
    throw new UblkError("SYSCALL_FAILED", { operation: "fail", errno: ENOSPC });
  };
  const disk = arrayDisk(MIB, { synchronous: true, readAt: bad, writeAt: bad });
  await using rig = await NbdRig.of({ backend: disk });
  for (const form of FORMS) {
    using client = await NbdClient.at(rig.path, form);
    const flags = form === "extended" ? PAYLOAD : 0;
    for (const length of [512, 200 * 1024]) {
      const data = new Uint8Array(length);
      assertEquals((await client.perform({ command: WRITE, flags, length, data })).error, ENOSPC);
      assertEquals((await client.perform({ command: READ, length })).error, ENOSPC);
      assertEquals((await client.perform({ command: FLUSH })).error, 0);
    }
  }
});

Deno.test("a disk that answers at once + FUA + is passed on, or followed by a flush", async () => {
  for (const fua of [false, true]) {
    const disk = arrayDisk(MIB, { synchronous: true, fua });
    await using rig = await NbdRig.of({ backend: disk });
    using client = await NbdClient.at(rig.path);
    const at = { offset: 512, length: 512, data: new Uint8Array(512) };
    assertEquals((await client.perform({ command: WRITE, flags: FUA, ...at })).error, 0);
    assertEquals((await client.perform({ command: WRITE, ...at })).error, 0);
    const durable = fua ? ["write 512 512 fua"] : ["write 512 512 fua", "flush"];
    assertEquals(disk.calls, [...durable, "write 512 512"]);
  }
});

Deno.test("extended headers + an offset of 64 bits + comes back exactly", async () => {
  await using rig = await NbdRig.of({ backend: arrayDisk(MIB) });
  using client = await NbdClient.at(rig.path, "extended");
  const offset = 2n ** 63n + 2n ** 54n + 513n;
  for (const length of [512n, 2n ** 64n - 1n]) {
    await client.request({ command: READ, cookie: 2n ** 64n - 2n, offset, length });
    const reply = await client.reply();
    assertEquals([reply.error, reply.offset, reply.cookie], [EINVAL, offset, 2n ** 64n - 2n]);
  }
});
