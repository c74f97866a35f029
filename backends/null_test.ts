import { assertEquals, assertThrows } from "@std/assert";
import { RingRequests } from "../tests/ring_requests.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { loadBackend } from "../disk/load.ts";
import { nullDisk, open } from "./null.ts";

// Opened once for the process, and before the tests, whose sanitizer would report a leak.
openAllOfLibc();

Deno.test("nullDisk reads zeroes, also into a buffer that held a write, and keeps nothing", async () => {
  const disk = open(nullDisk("250GiB", { blockSize: 4096, readOnly: true }).options);
  const { size, blockSize, readOnly, synchronous } = disk;
  assertEquals([size, blockSize, readOnly, synchronous], [250 * 2 ** 30, 4096, true, true]);
  const buffer = new Uint8Array(4096).fill(1);
  await disk.writeAt(buffer, 0, { fua: false });
  await disk.readAt(buffer, 0);
  assertEquals(buffer, new Uint8Array(4096));
});

Deno.test("nullDisk can be opened in each queue's thread", async () => {
  const loaded = await loadBackend(structuredClone(nullDisk("1GiB")));
  assertEquals([loaded.sharing, (await loaded.open(0, await loaded.share())).size], [
    ...["per-queue", 2 ** 30],
  ]);
});

Deno.test("nullDisk refuses a bad geometry where it is asked for", () => {
  assertThrows(() => nullDisk(0), RangeError);
});

Deno.test("nullDisk works through the ring as well, for zero copy alone", async () => {
  await using disk = await RingRequests.open(nullDisk("1GiB"));
  assertEquals(disk.backend.ring!.forZeroCopyOnly, true);
  const data = new Uint8Array(8192).fill(1);
  assertEquals(disk.io({ op: UBLK_IO_OP_WRITE, sectors: 16, data }).result, 8192);
  assertEquals(disk.queued.length, 0, "there is nothing to do");
  const read = disk.io({ op: UBLK_IO_OP_READ, sectors: 16 });
  assertEquals([read.result, read.data], [8192, new Uint8Array(8192)]);
  for (const op of [UBLK_IO_OP_DISCARD, UBLK_IO_OP_WRITE_ZEROES]) {
    assertEquals(disk.io({ op, sectors: 16 }).result, 0);
  }
});

Deno.test("nullDisk's integrity metadata says that there is nothing to check", async () => {
  const disk = open(nullDisk("1GiB").options);
  const buffer = new Uint8Array(64);
  await disk.writeMetadata!(buffer, 0);
  await disk.readMetadata!(buffer, 0);
  assertEquals(buffer, new Uint8Array(64).fill(0xff));
});
