import { Buffer } from "node:buffer";
import { assertEquals, assertThrows } from "@std/assert";
import { Scratch } from "../tests/scratch.ts";
import { EBADF, EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { CrashableProcess } from "./crashable.ts";
import { CrashableMachine } from "./crashable_machine.ts";
import { errnoOfFile } from "./file_error.ts";
import type { Files } from "./port.ts";
import { ReadAhead } from "./read_ahead.ts";
import { realFiles } from "./real.ts";
import { writeWhole } from "./whole.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const PAGE = 4096;
const MIB = 1 << 20;

function contents(bytes: number, seed: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes).map((_, at) => (at * seed ^ at >> 8) + 1);
}

function make(files: Files, path: string, bytes: Uint8Array<ArrayBuffer>) {
  const file = files.open(path, { write: true, create: "new" });
  writeWhole(file, bytes, 0);
  return file;
}

/** Reads files one after the other: whole, in part, to behind the end. */
function readThem(files: Files, folder: string): void {
  const long = contents(40 * PAGE, 3);
  const short = contents(7 * PAGE + 100, 5);
  using first = make(files, `${folder}/first`, long);
  using second = make(files, `${folder}/second`, short);
  using reader = new ReadAhead({ files: [first, second], bytes: 33 * PAGE, piece: 2 * PAGE });
  reader.begin(first);
  reader.upTo(1);
  assertEquals(reader.bytes.subarray(0, 2 * PAGE), long.subarray(0, 2 * PAGE));
  reader.upTo(Infinity);
  assertEquals(reader.bytes, long.subarray(0, 33 * PAGE));
  // What the reader has asked for of the first file must not come into the second.
  reader.begin(first);
  reader.begin(second);
  assertEquals(reader.file, second);
  reader.upTo(short.length);
  assertEquals(reader.bytes.subarray(0, short.length), short);
  reader.upTo(33 * PAGE);
  assertEquals(reader.bytes.subarray(0, short.length), short);
  assertEquals(reader.bytes.findLastIndex((byte) => byte !== 0), short.length - 1);
  // Its memory goes while pieces are under way.
  reader.begin(first);
}

Deno.test("ReadAhead reads the kernel's files piece by piece", () => {
  using scratch = new Scratch();
  readThem(realFiles, scratch.path);
});

Deno.test("ReadAhead reads files in memory piece by piece", () => {
  readThem(new CrashableProcess(new CrashableMachine(1)), "");
});

Deno.test("ReadAhead reads into huge pages, and a file that ends with a part of a piece", () => {
  using scratch = new Scratch();
  const bytes = new Uint8Array(5 * MIB + PAGE + 1).fill(1);
  for (let at = 0; at < bytes.length; at += PAGE) bytes[at] = at / PAGE;
  using file = make(realFiles, `${scratch.path}/file`, bytes);
  using reader = new ReadAhead({ files: [file], bytes: 8 * MIB });
  reader.begin(file);
  reader.upTo(Infinity);
  assertEquals(Buffer.compare(reader.bytes.subarray(0, bytes.length), bytes), 0);
  assertEquals(reader.bytes.findLastIndex((byte) => byte !== 0), bytes.length - 1);
});

Deno.test("ReadAhead throws what fails, each time", () => {
  const machine = new CrashableMachine(1);
  const process = new CrashableProcess(machine);
  using file = make(process, "/file", contents(4 * PAGE, 3));
  using scratch = new Scratch();
  const closed = make(realFiles, `${scratch.path}/file`, contents(4 * PAGE, 3));
  closed.close();
  using reader = new ReadAhead({ files: [file, closed], bytes: 4 * PAGE, piece: PAGE });
  reader.begin(file);
  reader.upTo(PAGE);
  machine.faults = () => ({ errno: EIO });
  for (let nth = 0; nth < 2; nth++) {
    assertEquals(errnoOfFile(assertThrows(() => reader.upTo(PAGE + 1), UblkError)), EIO);
  }
  machine.faults = undefined;
  reader.upTo(4 * PAGE);
  assertEquals(reader.bytes, contents(4 * PAGE, 3));

  reader.begin(closed);
  assertEquals(errnoOfFile(assertThrows(() => reader.upTo(1), UblkError)), EBADF);
});
