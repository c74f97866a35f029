/**
 * Tests that the kernel's files and those in memory behave alike.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { allocatedBytes, Scratch } from "../tests/scratch.ts";
import { testLibc } from "../tests/libc.ts";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { CrashableProcess } from "./crashable.ts";
import { CrashableMachine } from "./crashable_machine.ts";
import { errnoOfFile } from "./file_error.ts";
import { type Files, folderOf } from "./port.ts";
import { type RealFile, realFiles } from "./real.ts";
import { readWhole, writeWhole } from "./whole.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

/** Runs a test on both implementations. */
function both(name: string, run: (files: Files, folder: string) => void): void {
  Deno.test(`real files ${name}`, () => {
    using scratch = new Scratch();
    run(realFiles, scratch.path);
  });
  Deno.test(`files in memory ${name}`, () => {
    const files = new CrashableProcess(new CrashableMachine(1));
    files.makeFolder("/folder");
    run(files, "/folder");
  });
}

const errnoIn = (work: () => unknown) => errnoOfFile(assertThrows(work, UblkError));

both("are made, written, read and removed", (files, folder) => {
  const path = `${folder}/a`;
  assertEquals(files.status(path), undefined);
  using file = files.open(path, { write: true, create: "new" });
  assertEquals(errnoIn(() => files.open(path, { create: "new" })), 17);
  writeWhole(file, new Uint8Array(5000).fill(4), 1000);
  file.sync(true);
  assertEquals(file.writeDurably(new Uint8Array(5000).fill(3), 1000), 5000);
  assertEquals([file.size(), file.path], [6000, path]);
  const read = new Uint8Array(6000);
  readWhole(file, read, 0);
  assertEquals([read[999], read[1000], read[5999]], [0, 3, 3]);
  assertEquals(file.readAt(read, 6000), 0);
  file.sync(true);
  file.sync(false);
  files.syncFolder(folder);
  file.dropCache();
  readWhole(file, read, 0);
  assertEquals(read[1000], 3);
  assertEquals(files.list(folder), ["a"]);
  assertEquals([files.status(path)?.kind, files.status(path)?.bytes], ["file", 6000]);
  files.open(path, { write: true, truncate: true }).close();
  assertEquals(file.size(), 0);
  files.remove(path);
  assertEquals(errnoIn(() => files.remove(path)), 2);
});

both("are renamed over others, into other folders", (files, folder) => {
  const put = (path: string, value: number) => {
    using file = files.open(path, { write: true, create: "if-missing" });
    writeWhole(file, new Uint8Array([value]), 0);
  };
  put(`${folder}/a`, 1);
  put(`${folder}/b`, 2);
  files.rename(`${folder}/a`, `${folder}/b`);
  assertEquals(files.list(folder), ["b"]);
  files.makeFolder(`${folder}/x`);
  files.rename(`${folder}/b`, `${folder}/x/c`);
  assertEquals([files.list(folder), files.list(`${folder}/x`)], [["x"], ["c"]]);
  using file = files.open(`${folder}/x/c`);
  const read = new Uint8Array(1);
  readWhole(file, read, 0);
  assertEquals(read[0], 1);
  assertEquals(errnoIn(() => files.rename(`${folder}/none`, `${folder}/b`)), 2);
  assertEquals(errnoIn(() => files.makeFolder(`${folder}/x`)), 17);
  assertEquals(files.status(`${folder}/x`)?.kind, "directory");
});

both("have further names, and none is taken twice", (files, folder) => {
  const [a, b] = [`${folder}/a`, `${folder}/b`];
  using file = files.open(a, { write: true, create: "new" });
  assertEquals(files.status(a)?.links, 1);
  files.link(a, b);
  assertEquals([files.status(a)?.links, files.status(b)?.links], [2, 2]);
  assertEquals(files.status(a)?.identity, files.status(b)?.identity);
  assertEquals([errnoIn(() => files.link(a, b)), errnoIn(() => files.link(a, a))], [17, 17]);
  assertEquals(errnoIn(() => files.link(`${folder}/none`, `${folder}/c`)), 2);
  writeWhole(file, new Uint8Array([7]), 0);
  // Both names are the same file: the kernel does nothing.
  files.rename(a, b);
  assertEquals(files.list(folder), ["a", "b"]);
  files.remove(a);
  using other = files.open(b);
  const read = new Uint8Array(1);
  readWhole(other, read, 0);
  assertEquals([read[0], files.status(b)?.links], [7, 1]);
  assert(files.status(folder)!.identity !== files.status(b)!.identity);
});

both("have lengths, holes and space", (files, folder) => {
  using file = files.open(`${folder}/a`, { write: true, create: "new" });
  const space = () => files.status(`${folder}/a`)!.allocatedBytes;
  assert(file.allocate("reserve", 0, 8192));
  assertEquals([file.size(), space()], [0, 8192]);
  assert(file.allocate("extend", 0, 12288));
  assertEquals([file.size(), space()], [12288, 12288]);
  writeWhole(file, new Uint8Array(12288).fill(7), 0);
  assert(file.allocate("punch", 0, 4096 + 512));
  const read = new Uint8Array(12288);
  readWhole(file, read, 0);
  assertEquals([read.findIndex((byte) => byte !== 0), space()], [4608, 8192]);
  // tmpfs does not support zeroed ranges and returns false.
  if (file.allocate("zero", 4096, 1024)) {
    readWhole(file, read, 0);
    assertEquals([read.findIndex((byte) => byte !== 0), space()], [5120, 8192]);
  }
  file.truncate(100);
  file.truncate(9000);
  readWhole(file, read.subarray(0, 9000), 0);
  assertEquals([file.size(), read.subarray(0, 9000).every((byte) => byte === 0)], [9000, true]);
});

both("have locks", (files, folder) => {
  const open = () => files.open(`${folder}/a`, { write: true, create: "if-missing" });
  const one = open();
  using two = open();
  assertEquals([one.lock("shared"), two.lock("shared"), two.lock("exclusive")], [
    true,
    true,
    false,
  ]);
  one.close();
  assertEquals(two.lock("exclusive"), true);
  using three = open();
  assertEquals(three.lock("shared"), false);
});

// A process that another thread has forked has copies of all descriptors until it executes its program.
Deno.test("real files + a copy of the descriptor elsewhere + no lock survives its file", () => {
  using scratch = new Scratch();
  const open = () => realFiles.open(`${scratch.path}/a`, { write: true, create: "if-missing" });
  const file = open() as RealFile;
  assert(file.lock("exclusive"));
  const copy = testLibc.dup(file.fd);
  file.close();
  using next = open();
  assert(next.lock("exclusive"));
  testLibc.close(copy);
});

both("that are closed refuse everything", (files, folder) => {
  const file = files.open(`${folder}/a`, { write: true, create: "new" });
  file.close();
  const EBADF = 9;
  const buffer = new Uint8Array(1);
  for (
    const work of [
      () => file.readAt(buffer, 0),
      () => file.writeAt(buffer, 0),
      () => file.sync(true),
      () => file.size(),
      () => file.truncate(1),
      () => file.allocate("reserve", 0, 1),
      () => file.lock("shared"),
      () => file.close(),
    ]
  ) assertEquals(errnoIn(work), EBADF, `${work}`);
  file[Symbol.dispose]();
});

Deno.test("real files have the space that statx says", () => {
  using scratch = new Scratch();
  const path = scratch.file("a", 1 << 20);
  assertEquals(realFiles.status(path)?.allocatedBytes, allocatedBytes(path));
});

Deno.test("real files know the boot", () => {
  assertEquals(realFiles.boot(), Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").trim());
});

Deno.test("folderOf is the folder that a path is in", () => {
  assertEquals(["/a/b", "b", "/b", "x/b"].map(folderOf), ["/a/.", ".", "/.", "x/."]);
});

both("that are open for reading change nothing", (files, folder) => {
  const path = `${folder}/a`;
  files.open(path, { write: true, create: "new" }).close();
  using file = files.open(path);
  const [EBADF, EINVAL] = [9, 22];
  assertEquals(errnoIn(() => file.writeAt(new Uint8Array(1), 0)), EBADF);
  assertEquals(errnoIn(() => file.truncate(1)), EINVAL);
  assertEquals(errnoIn(() => file.allocate("extend", 0, 4096)), EBADF);
  file.sync(true);
  assertEquals(file.size(), 0);
});

both("lose the lock that they have where they cannot get another", (files, folder) => {
  const open = () => files.open(`${folder}/a`, { write: true, create: "if-missing" });
  using one = open();
  using two = open();
  using three = open();
  assertEquals([one.lock("shared"), two.lock("shared"), one.lock("exclusive")], [
    true,
    true,
    false,
  ]);
  two.close();
  assertEquals(three.lock("exclusive"), true);
});

both("name the errno of folders that cannot be listed", (files, folder) => {
  assertEquals(errnoIn(() => files.list(`${folder}/none`)), 2);
  files.open(`${folder}/a`, { write: true, create: "new" }).close();
  assertEquals(errnoIn(() => files.list(`${folder}/a`)), 20);
});

Deno.test({
  name: "real files say what to do about a folder that Deno refuses to list",
  permissions: { read: false },
  fn() {
    assertThrows(
      () => realFiles.list("/srv"),
      UblkError,
      'readdir /srv: Requires read access to "/srv"; give another folder, or run again with the',
    );
  },
});
