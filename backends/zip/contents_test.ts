import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { crc32 } from "node:zlib";
import { removeWithSpace, Scratch } from "../../tests/scratch.ts";
import { patterned, ServedZip } from "../../tests/served_zip.ts";
import { deflated, join, makeZip, type ZipMember } from "../../tests/zip_writer.ts";
import { ENOSPC } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { Archive } from "./archive.ts";
import { type Clock, threadClock } from "./pauses.ts";
import { CacheFile } from "./cache_file.ts";
import { Contents } from "./contents.ts";

// libc stays open for the life of the process, so it is not a leak of the first test that opens it.
openAllOfLibc();

const MIB = 1 << 20;
const DATA = patterned(3 * MIB + 512);
const LARGE_BYTES = 160 * MIB;
/** That of a request by default (`deadlineMs` in `device/option_rows.ts`). */
const DEADLINE_MS = 20_000;

/** A clock that stands still until a test sets it, and a count of bytes written to the cache. */
class Bench implements Clock {
  nowMs = 0;
  inflatedBytes = 0;

  now(): number {
    return this.nowMs;
  }

  pause(): Promise<void> {
    return threadClock.pause();
  }

  watch(cache: CacheFile): void {
    const write = cache.write.bind(cache);
    cache.write = (bytes, offset) => {
      this.inflatedBytes += bytes.length;
      write(bytes, offset);
    };
  }
}

/** Creates an archive, opens its contents, and closes them at the end. */
async function withContents(
  members: readonly ZipMember[],
  use: (contents: Contents, archive: Archive, cacheFolder: string) => Promise<void>,
  cacheSize?: string,
  bench?: Clock & Pick<Bench, "watch">,
): Promise<void> {
  using scratch = new Scratch();
  using cacheFolder = new Scratch(cacheSize);
  const path = `${scratch.path}/a.zip`;
  Deno.writeFileSync(path, await makeZip(members));
  const archive = await Archive.open(path);
  const cache = CacheFile.make(cacheFolder.path);
  bench?.watch(cache);
  const contents = new Contents(archive, cache, bench);
  try {
    await use(contents, archive, cacheFolder.path);
  } finally {
    await contents.close();
    cache.close();
    archive.close();
  }
}

/** Reads a part of a member. */
async function read(contents: Contents, member: number, offset: number, bytes: number) {
  const buffer = new Uint8Array(bytes).fill(0xee);
  await contents.read(member, buffer, offset);
  return buffer;
}

Deno.test("Contents answer reads during inflation, and can be closed during it", async () => {
  const data = new Uint8Array(LARGE_BYTES);
  data.set(DATA, MIB);
  // The test never reaches its end, and so its checksum.
  const member = { name: "a", data, deflate: true, claims: { crc32: 0 } };
  await withContents([member], async (contents) => {
    let [inflated, largest] = [0, 0];
    const whole = contents.check(0, (bytes) => {
      largest = Math.max(largest, bytes - inflated);
      inflated = bytes;
    });
    const rejected = [assertRejects(() => whole, UblkError)];
    assertEquals(await read(contents, 0, MIB, DATA.length), DATA);
    assert(inflated < 64 * MIB, `${inflated} bytes were inflated by then`);
    rejected.push(assertRejects(() => read(contents, 0, LARGE_BYTES - 512, 512), UblkError));
    await contents.close();
    await Promise.all(rejected);
    assert(inflated < LARGE_BYTES, "it has stopped");
    // Zeroes are the worst case: deflate produces 1032 of them from one byte.
    assert(largest < 17 * MIB, `${largest} bytes were in memory at a time`);
  });
});

Deno.test("Contents inflate only as far as somebody reads", async () => {
  const members = [0, 1].map((index) => ({
    name: `${index}`,
    data: patterned(8 * MIB, index + 1),
    deflate: true,
    claims: { crc32: crc32(patterned(8 * MIB, index + 1)) },
  }));
  await withContents(members, async (contents, _archive, folder) => {
    const blocks = () =>
      Number(
        new TextDecoder().decode(
          new Deno.Command("df", { args: ["--output=used", "-k", folder] }).outputSync().stdout,
        ).split("\n")[1],
      );
    for (const [index, { data }] of members.entries()) {
      assertEquals(await read(contents, index, 0, 4096), data.slice(0, 4096));
    }
    // Both have started and stand still: nothing runs while no read waits.
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert(blocks() < 2 * 1024, `${blocks()} KiB`);
    for (const [index, { data }] of members.entries()) {
      assertEquals(await read(contents, index, 8 * MIB - 4096, 4096), data.slice(-4096));
      assertEquals(await read(contents, index, MIB, 4096), data.slice(MIB, MIB + 4096));
    }
  }, "100M");
});

for (const count of [8, 64]) {
  Deno.test(`Contents answer reads of ${count} deflated members side by side within the deadline`, async () => {
    const members = Array.from({ length: count }, (_, index) => {
      const data = DATA.subarray(index * 4096, index * 4096 + (1 + index % 2) * MIB + 4096);
      return { name: `${index}.bin`, data, deflate: true, claims: { crc32: crc32(data) } };
    });
    const archive = await makeZip(members);
    await using served = await ServedZip.open(archive, { files: true });
    // As when the kernel reads several files at a time: all requests are in flight at once.
    const { blockSize = 512 } = served.backend;
    const boot = new DataView((await served.read(0, 512)).buffer);
    const dataAt = 32 * blockSize + 2 * boot.getUint32(36, true) * blockSize;
    const end = dataAt + members.reduce((sum, { data }) => sum + data.length, 0);
    let slowestMs = 0;
    const requests: Promise<void>[] = [];
    for (let at = dataAt; at < end; at += 512 * 1024) {
      const askedMs = performance.now();
      const buffer = new Uint8Array(512 * 1024);
      requests.push(
        Promise.resolve(served.backend.readAt(buffer, at)).then(() => {
          slowestMs = Math.max(slowestMs, performance.now() - askedMs);
        }),
      );
    }
    await Promise.all(requests);
    if (slowestMs >= DEADLINE_MS) {
      // This machine may be too slow even for one read after another.
      await using other = await ServedZip.open(archive, { files: true });
      const startMs = performance.now();
      await other.files();
      const inTurnMs = performance.now() - startMs;
      assert(slowestMs < 3 * inTurnMs, `${slowestMs} ms, and in turn ${inTurnMs} ms`);
    }
    const found = await served.files();
    assertEquals(found.length, count);
    for (const [index, { data }] of members.entries()) assertEquals(found[index].data, data);
  });
}

/** Identical members of 2 MiB that inflate about 600 KiB at a time. */
async function sameMembers(count: number) {
  const data = patterned(2 * MIB).map((byte, at) => at % 56 === 0 ? byte : at >>> 10);
  const stored = await deflated(data);
  const claims = { method: 8, bytes: data.length, crc32: crc32(data) };
  const members = Array.from(
    { length: count },
    (_, index) => ({ name: `${index}`, data: stored, claims }),
  );
  /** Reads a part of each in turn, so that a member is idle between two of its reads. */
  const readAll = async (contents: Contents, offset: number) => {
    for (const index of members.keys()) {
      const bytes = await read(contents, index, offset, 4096);
      assertEquals(bytes, data.slice(offset, offset + 4096), `${index} ${offset}`);
    }
  };
  return { data, members, readAll };
}

Deno.test("Contents of any number of members read in turn are inflated once", async () => {
  const { data, members, readAll } = await sameMembers(40);
  const bench = new Bench();
  await withContents(
    members,
    async (contents) => {
      for (let offset = 0; offset < data.length; offset += 512 * 1024) {
        bench.nowMs += 1000;
        await readAll(contents, offset);
      }
      await readAll(contents, data.length - 4096);
    },
    undefined,
    bench,
  );
  // With 33 members each read once restarted its member.
  assertEquals(bench.inflatedBytes, members.length * data.length);
});

Deno.test("Contents that are idle for long are dropped, and inflated again when read", async () => {
  const { data, members, readAll } = await sameMembers(40);
  const bench = new Bench();
  await withContents(
    members,
    async (contents) => {
      await readAll(contents, 0);
      bench.nowMs += 31_000;
      await read(contents, 39, MIB, 4096);
      const inflatedBytes = bench.inflatedBytes;
      await read(contents, 0, 4096, 4096);
      assert(bench.inflatedBytes > inflatedBytes, "the first was dropped");
      await readAll(contents, data.length - 4096);
    },
    undefined,
    bench,
  );
});

Deno.test("Contents beyond the limit of started members are the ones inflated again", async () => {
  const { members, readAll } = await sameMembers(260);
  const bench = new Bench();
  await withContents(
    members,
    async (contents) => {
      await readAll(contents, 0);
      const once = bench.inflatedBytes;
      await readAll(contents, 4096);
      const repeatedBytes = bench.inflatedBytes - once;
      assert(repeatedBytes > 0, "a few were dropped");
      // Dropping the least recently used would restart all of them.
      assert(repeatedBytes <= 10 * once / members.length, `${repeatedBytes} of ${once} bytes`);
    },
    undefined,
    bench,
  );
});

Deno.test("Contents of zeroes keep little memory for any number of started members", async () => {
  // The first 16 KiB inflate to 16 MiB, which each stream keeps.
  const bytes = 17 * MIB;
  const data = await deflated(new Uint8Array(bytes));
  const claims = { method: 8, bytes, crc32: 0 };
  const members = Array.from({ length: 35 }, (_, index) => ({ name: `${index}`, data, claims }));
  const bench = new Bench();
  await withContents(
    members,
    async (contents) => {
      for (const index of members.keys()) await read(contents, index, 0, 4096);
      const inflatedBytes = bench.inflatedBytes;
      for (const index of members.keys()) await read(contents, index, 4096, 4096);
      const repeated = (bench.inflatedBytes - inflatedBytes) / (inflatedBytes / members.length);
      assert(repeated > 2 && repeated < 10, `${repeated} members were inflated again`);
    },
    undefined,
    bench,
  );
});

Deno.test("Contents with a wrong checksum fail: small ones at once, others when their end is read", async () => {
  const wrong = (data: Uint8Array, deflate: boolean) => [
    { name: "a", data, deflate, claims: { crc32: 1 } },
  ];
  const words = /^a in .*a.zip: it is damaged: its checksum is wrong/;
  for (const deflate of [false, true]) {
    await withContents(wrong(DATA.subarray(0, MIB), deflate), async (contents) => {
      for (let round = 0; round < 2; round++) {
        const error = await assertRejects(() => read(contents, 0, 0, 512), UblkError);
        assertMatch(error.message, words);
      }
    });
    await withContents(wrong(DATA, deflate), async (contents) => {
      assertEquals(await read(contents, 0, 512, 512), DATA.slice(512, 1024));
      const end = () => read(contents, 0, DATA.length - 512, 512);
      assertMatch((await assertRejects(end, UblkError)).message, words);
      assertThrows(() => contents.read(0, new Uint8Array(512), 512), UblkError, "checksum");
    });
  }
});

Deno.test("Contents end with the deflate stream, whatever follows it", async () => {
  const cases: [Uint8Array<ArrayBuffer>, number][] = [];
  for (const count of [1, 3, 200, 40_000]) {
    cases.push([DATA.slice(0, 0), count], [DATA.slice(0, 5000), count]);
  }
  for (const count of [3, 40_000]) cases.push([DATA.slice(0, 2 * MIB), count]);
  cases.push([new Uint8Array(20 * MIB), 3]);
  const members = await Promise.all(cases.map(async ([data, count], index) => ({
    name: `${index}`,
    data: join([await deflated(data), patterned(count)]),
    claims: { method: 8, bytes: data.length, crc32: crc32(data) },
  })));
  await withContents(members, async (contents) => {
    for (const [index, [data, count]] of cases.entries()) {
      const found = await read(contents, index, 0, data.length);
      assertEquals(crc32(found), crc32(data), `${data.length} bytes, and ${count} behind them`);
    }
  });
});

Deno.test("Contents that cannot be inflated fail, at once unless trailing bytes may be the cause", async () => {
  const stored = await deflated(DATA.subarray(0, 2 * MIB));
  for (const [at, bytes] of [[0, 2 * MIB], [stored.length - 40, 2 * MIB], [0, 100 * MIB]]) {
    // At the start of a block these bytes are an invalid block type.
    const data = stored.slice().fill(0xff, at, at + 30);
    const member = { name: "a", data, claims: { method: 8, bytes, crc32: 1 } };
    await withContents([member], async (contents, archive) => {
      let inputs = 0;
      const readAll = archive.read.bind(archive);
      archive.read = (buffer, offset) => {
        inputs++;
        readAll(buffer, offset);
      };
      const reason = at === 0 ? "it cannot be inflated" : "";
      await assertRejects(() => contents.check(0), UblkError, `it is damaged: ${reason}`);
      if (bytes === 100 * MIB) assert(inputs <= 2, `${inputs} inputs`);
    });
  }
});

Deno.test("Contents let other work of the thread run during inflation", async () => {
  for (const deflate of [false, true]) {
    const member = { name: "a", data: new Uint8Array(64 * MIB), deflate, claims: { crc32: 0 } };
    // By its clock even a fast machine takes long.
    const clock = { ...threadClock, now: () => 20 * threadClock.now(), watch() {} };
    await withContents(
      [member],
      async (contents) => {
        let turns = 0;
        const timer = setInterval(() => turns++, 1);
        await assertRejects(() => contents.check(0), UblkError, "checksum");
        clearInterval(timer);
        assert(turns > 0, `${turns} turns of others`);
      },
      undefined,
      clock,
    );
  }
});

Deno.test("Contents of a truncated archive fail without hanging", async () => {
  for (const deflate of [false, true]) {
    await withContents([{ name: "a", data: DATA, deflate }], async (contents, archive) => {
      Deno.truncateSync(archive.path, 200_000);
      const end = () => read(contents, 0, DATA.length - 512, 512);
      await assertRejects(end, UblkError, "the archive has been truncated");
    });
  }
});

Deno.test("Contents that do not fit into the cache fail with ENOSPC, free their space, and recover", async () => {
  const data = patterned(6 * MIB);
  const claims = { crc32: crc32(data) };
  const members = [0, 1].map((index) => ({ name: `${index}`, data, deflate: true, claims }));
  await withContents(members, async (contents, _archive, folder) => {
    const filler = `${folder}/filler`;
    Deno.writeFileSync(filler, new Uint8Array(3 * MIB));
    const whole = (member: number) => read(contents, member, 0, data.length);
    for (let round = 0; round < 2; round++) {
      const error = await assertRejects(() => whole(0), UblkError);
      assertEquals(error.errno, ENOSPC);
      assertMatch(error.message, /: it has no space for inflated files.*; free some space, or /);
    }
    // A member that did not fit once kept all the space, and failed for ever.
    Deno.writeFileSync(`${folder}/another`, new Uint8Array(4 * MIB));
    removeWithSpace(`${folder}/another`);
    removeWithSpace(filler);
    assertEquals(await whole(0), data);
    // There is no space for two; the existing one stays.
    assertEquals((await assertRejects(() => whole(1), UblkError)).errno, ENOSPC);
    assertEquals(await whole(0), data);
  }, "8M");
});
