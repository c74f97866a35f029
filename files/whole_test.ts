import { assertEquals, assertThrows } from "@std/assert";
import { EINTR, EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { CrashableProcess } from "./crashable.ts";
import { CrashableMachine } from "./crashable_machine.ts";
import type { FileFault } from "./file_faults.ts";
import { readUpTo, readWhole, writeWhole, writeZeroes } from "./whole.ts";

/** A file with the given faults for its next reads and writes. */
function prepare(...faults: (FileFault | undefined)[]) {
  const machine = new CrashableMachine(1);
  const file = new CrashableProcess(machine).open("/a", { write: true, create: "new" });
  machine.faults = () => faults.shift();
  return { file, left: faults };
}

Deno.test("writeWhole goes on after short counts and signals", () => {
  const { file, left } = prepare({ most: 512 }, { errno: EINTR }, { most: 1024 });
  const bytes = new Uint8Array(4096).map((_, at) => at >> 9);
  writeWhole(file, bytes, 100);
  assertEquals(left.length, 0);
  const read = new Uint8Array(4096);
  assertEquals(file.readAt(read, 100), 4096);
  assertEquals(read, bytes);
});

Deno.test("writeWhole throws what fails, and ends where nothing is written", () => {
  assertThrows(() => writeWhole(prepare({ errno: EIO }).file, new Uint8Array(9), 0), UblkError);
  const { file } = prepare({ most: 0 });
  const still = { ...file, writeAt: () => 0 } as typeof file;
  assertThrows(() => writeWhole(still, new Uint8Array(9), 0), UblkError, "pwrite: EIO");
});

Deno.test("readWhole goes on after short counts and signals, and wants all of it", () => {
  const { file, left } = prepare(undefined, { most: 3 }, { errno: EINTR }, { most: 1 });
  writeWhole(file, new Uint8Array([1, 2, 3, 4, 5]), 0);
  const read = new Uint8Array(5);
  readWhole(file, read, 0);
  assertEquals([left.length, ...read], [0, 1, 2, 3, 4, 5]);
  assertThrows(() => readWhole(file, new Uint8Array(6), 0), UblkError, "pread: EIO");
  assertEquals(readUpTo(file, new Uint8Array(6), 1), 4);
  assertEquals(readUpTo(file, new Uint8Array(6), 9), 0);
});

Deno.test("readUpTo throws what fails", () => {
  assertThrows(() => readUpTo(prepare({ errno: EIO }).file, new Uint8Array(1), 0), UblkError);
});

Deno.test("writeZeroes overwrites a range of any length", () => {
  const { file } = prepare();
  writeWhole(file, new Uint8Array(3 << 20).fill(7), 0);
  writeZeroes(file, 1, (3 << 20) - 2);
  const read = new Uint8Array(3 << 20);
  readWhole(file, read, 0);
  assertEquals([read[0], read.at(-1), read.findIndex((byte, at) => at > 0 && byte !== 0)], [
    7,
    7,
    (3 << 20) - 1,
  ]);
});
