import { assert, assertEquals } from "@std/assert";
import { openMemory } from "../tests/memory_disk.ts";
import { QueueRig } from "../tests/queue_rig.ts";
import { EIO } from "../uapi/errno.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import { MemoryHandler } from "./memory_handler.ts";

const DISK_BYTES = 1 << 20;
const SECTORS = DISK_BYTES / 512;
const BYTES = 4096;
const POISON = 0xee;

/** Makes a rig over a disk that is smaller than the kernel was told. */
function setUp(path: "get-data" | "user-copy", methods = {}) {
  const stack = new DisposableStack();
  // The memory behind the end of the disk must not change.
  const memory = stack.use(openMemory(2 * DISK_BYTES));
  memory.writeAt(new Uint8Array(DISK_BYTES).fill(POISON), DISK_BYTES, { fua: false });
  const disk = { ...memory, size: DISK_BYTES, flush: () => {}, ...methods };
  const rig = stack.use(new QueueRig({ backend: disk, path, depth: 2 }).fetch());
  assert(rig.handler instanceof MemoryHandler);
  const isUntouched = () => {
    const behind = new Uint8Array(DISK_BYTES);
    memory.readAt(behind, DISK_BYTES);
    return behind.every((byte) => byte === POISON);
  };
  return { rig, isUntouched, [Symbol.dispose]: () => stack.dispose() };
}

for (const path of ["get-data", "user-copy"] as const) {
  for (
    const [what, sector] of [["at", SECTORS], ["across", SECTORS - 4], [
      "far beyond",
      2 ** 50,
    ]] as const
  ) {
    Deno.test(`MemoryHandler on ${path} answers EIO ${what} the disk's end, and touches nothing there`, () => {
      using it = setUp(path);
      const data = new Uint8Array(BYTES).fill(7);
      const write = it.rig.io({ op: UBLK_IO_OP_WRITE, sector, sectors: 8, data });
      assertEquals(write.results, [-EIO]);
      const read = it.rig.io({ op: UBLK_IO_OP_READ, sector, sectors: 8 });
      assertEquals([read.results, read.data[BYTES - 1]], [[-EIO], 0]);
      for (const op of [UBLK_IO_OP_DISCARD, UBLK_IO_OP_WRITE_ZEROES]) {
        assertEquals(it.rig.io({ op, sector, sectors: 8 }).results, [-EIO]);
      }
      assert(it.isUntouched());
      // The tag still works.
      assertEquals(it.rig.io({ op: UBLK_IO_OP_WRITE, sectors: 8, data }).results, [BYTES]);
      assertEquals(it.rig.io({ op: UBLK_IO_OP_READ, sectors: 8 }).data, data);
      it.rig.stop();
    });
  }

  // Regression: the block layer sends FLUSH with sector 2^64 - 1, which was refused as out of
  // range.
  Deno.test(`MemoryHandler on ${path} flushes, though a FLUSH says that it is far beyond the end`, () => {
    let flushes = 0;
    using it = setUp(path, { flush: () => void flushes++ });
    assertEquals(it.rig.io({ op: UBLK_IO_OP_FLUSH }).results, [0]);
    assertEquals(flushes, 1);
    it.rig.stop();
  });

  Deno.test(`MemoryHandler on ${path} serves the disk's last blocks`, () => {
    using it = setUp(path);
    const data = new Uint8Array(BYTES).fill(7);
    const io = { sector: SECTORS - 8, sectors: 8 };
    assertEquals(it.rig.io({ op: UBLK_IO_OP_WRITE, ...io, data }).results, [BYTES]);
    assertEquals(it.rig.io({ op: UBLK_IO_OP_READ, ...io }).data, data);
    assertEquals(it.rig.io({ op: UBLK_IO_OP_DISCARD, ...io }).results, [0]);
    assert(it.isUntouched());
    it.rig.stop();
  });
}
