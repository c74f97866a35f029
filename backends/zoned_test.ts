import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { NO_FUA } from "../disk/calls.ts";
import { EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import type { Backend } from "../disk/backend.ts";
import { loadBackend } from "../disk/load.ts";
import { nullDisk } from "./null.ts";
import { readonly } from "./wrappers/readonly.ts";
import { open, zoned, type ZonedOptions } from "./zoned.ts";

// Opened once for the process, and before the tests, whose sanitizer would report a leak.
openAllOfLibc();

const MIB = 1 << 20;
const ZONE = 64 << 10;

function openZoned(options: ZonedOptions = {}): Backend & Disposable {
  const backend = open(zoned(MIB, { zoneSize: ZONE, ...options }).options);
  return { ...backend, [Symbol.dispose]: () => backend.close!() };
}

function read(disk: Backend, offset: number, bytes: number): Uint8Array {
  const buffer = new Uint8Array(bytes).fill(0xee);
  disk.readAt(buffer, offset);
  return buffer;
}

/** Kilobytes of resident memory of this process. */
function residentKb(): number {
  return Number(/^Rss:\s+(\d+)/m.exec(Deno.readTextFileSync("/proc/self/smaps_rollup"))![1]);
}

const data = new Uint8Array(8192).map((_, index) => index * 7 + 1);

Deno.test("zoned keeps what is written in order, and reads zeroes beyond", () => {
  using disk = openZoned();
  disk.writeAt(data, ZONE, NO_FUA);
  disk.writeAt(data, ZONE + data.length, NO_FUA);
  assertEquals(read(disk, ZONE, 8192), data);
  assertEquals(read(disk, ZONE + 8192, 8192), data);
  assertEquals(read(disk, ZONE + 16384, 8192), new Uint8Array(8192));
  assertEquals(disk.zones!.report(0, 3), [
    { condition: "empty", written: 0 },
    { condition: "implicitly-open", written: 16384 },
    { condition: "empty", written: 0 },
  ]);
});

Deno.test("zoned refuses a write that is not at the write pointer, and leaves the data alone", () => {
  using disk = openZoned();
  disk.writeAt(data, 0, NO_FUA);
  for (const offset of [0, 4096, 16384]) {
    const error = assertThrows(() => disk.writeAt(new Uint8Array(512), offset, NO_FUA), UblkError);
    assertEquals(error.errno, EIO);
  }
  assertEquals(read(disk, 0, 8192), data);
  assertEquals(read(disk, 16384, 512), new Uint8Array(512));
});

Deno.test("zoned writes conventional zones anywhere, and not over their ends", () => {
  using disk = openZoned({ conventional: 2 });
  disk.writeAt(data, ZONE + 4096, NO_FUA);
  disk.writeAt(data, ZONE, NO_FUA);
  assertEquals(read(disk, ZONE, 8192), data);
  assertEquals(disk.zones!.report(1, 2), [
    { condition: "conventional", written: 0 },
    { condition: "empty", written: 0 },
  ]);
  assertThrows(() => disk.writeAt(data, 2 * ZONE - 4096, NO_FUA), UblkError, "beyond its end");
  assertThrows(() => disk.zones!.reset(0), UblkError, "conventional");
});

Deno.test("zoned tells where an append was written", () => {
  using disk = openZoned();
  const append = () => disk.zones!.append(data, 3, NO_FUA);
  assertEquals([append(), append()], [3 * ZONE, 3 * ZONE + 8192]);
  assertEquals(read(disk, 3 * ZONE + 8192, 8192), data);
  for (let time = 2; time < ZONE / 8192; time++) append();
  assertEquals(disk.zones!.report(3, 1), [{ condition: "full", written: ZONE }]);
  assertThrows(append, UblkError, "zone 3: it is full");
});

Deno.test("zoned forgets what was in a zone that is reset, and in all of them", () => {
  using disk = openZoned({ conventional: 1 });
  for (const zone of [0, 1, 2]) disk.writeAt(data, zone * ZONE, NO_FUA);
  disk.zones!.finish(2);
  disk.zones!.reset(1);
  assertEquals(read(disk, ZONE, 8192), new Uint8Array(8192));
  disk.writeAt(data.subarray(0, 512), ZONE, NO_FUA);
  assertEquals(read(disk, ZONE + 512, 512), new Uint8Array(512));
  disk.zones!.resetAll();
  assertEquals(read(disk, 2 * ZONE, 8192), new Uint8Array(8192));
  // Except the conventional zone, which cannot be reset.
  assertEquals(read(disk, 0, 8192), data);
  assertEquals(disk.zones!.report(0, 3), [
    { condition: "conventional", written: 0 },
    { condition: "empty", written: 0 },
    { condition: "empty", written: 0 },
  ]);
});

Deno.test("zoned takes memory when written and gives it back when reset", () => {
  const backend = open(zoned(256 * MIB, { zoneSize: 128 * MIB }).options);
  const before = residentKb();
  const chunk = new Uint8Array(MIB).fill(1);
  for (let at = 0; at < 128; at++) backend.writeAt(chunk, at * MIB, NO_FUA);
  const full = residentKb();
  // Only half is required: the process may free other memory meanwhile.
  assertEquals(full - before > 64 << 10, true);
  backend.zones!.reset(0);
  assertEquals(full - residentKb() > 64 << 10, true);
  backend.close!();
});

Deno.test("zoned unmaps its memory when it is closed", () => {
  const mappedBytes = () => Number(Deno.readTextFileSync("/proc/self/statm").split(" ")[0]) * 4096;
  const before = mappedBytes();
  const backend = open(zoned("64GiB", { overcommit: true }).options);
  // Far more than V8 allocates and frees meanwhile.
  assertEquals(mappedBytes() - before > 2 ** 35, true);
  backend.close!();
  assertEquals(mappedBytes() - before < 2 ** 35, true);
});

Deno.test("zoned larger than the machine's memory is refused, unless that is allowed", () => {
  assertThrows(() => open(zoned("64TiB", { zoneSize: "1GiB" }).options), UblkError, "--overcommit");
});

Deno.test("zoned has texts for sizes, and limits that go together", () => {
  assertEquals(zoned("8MiB", { zoneSize: "1MiB", maxOpen: 2, maxActive: 3 }).options, {
    ...{ size: 8 * MIB, blockSize: 512, readOnly: false, zoneSize: MIB },
    ...{ conventional: 0, maxOpen: 2, maxActive: 3, overcommit: false },
  });
  const refused: [ZonedOptions, string][] = [
    [{ zoneSize: 3 * MIB }, "not a power of two"],
    [{ zoneSize: 2048 }, "not a power of two"],
    [{ zoneSize: 16 * MIB }, "16777216 is"],
    [{ zoneSize: MIB, conventional: 8 }, "8 conventional zones of 8"],
    [{ zoneSize: MIB, conventional: 0.5 }, "0.5 conventional"],
    [{ zoneSize: MIB, maxOpen: 9 }, "at most 9 open zones"],
    [{ zoneSize: MIB, maxActive: -1 }, "at most -1 active zones"],
    [{ zoneSize: MIB, maxOpen: 3, maxActive: 2 }, "more than the 2 active"],
    [{ blockSize: 500 }, "block size 500"],
  ];
  for (const [options, words] of refused) {
    assertThrows(() => zoned("8MiB", options), RangeError, words);
  }
});

Deno.test("zoned is opened by one thread for all, and goes into no wrapper", async () => {
  const loaded = await loadBackend(structuredClone(zoned("8MiB")));
  assertEquals(loaded.sharing, "single");
  const wrapped = await loadBackend(readonly(zoned("8MiB")));
  const shared = await wrapped.share();
  await assertRejects(() => wrapped.open(0, shared), UblkError, "wrappers pass on no zones");
  await wrapped.close();
  // A disk without zones still works in a wrapper.
  const plain = await loadBackend(readonly(nullDisk("8MiB")));
  assertEquals((await plain.open(0, await plain.share())).size, 8 * MIB);
  await plain.close();
});
