import { assert, assertEquals, assertThrows } from "@std/assert";
import { Scratch } from "../tests/scratch.ts";
import { EFBIG, EOPNOTSUPP } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import {
  endOfFile,
  fallocateFile,
  fileStatus,
  lockFile,
  nextHole,
  O_CREAT,
  O_DIRECT,
  O_EXCL,
  O_RDWR,
  punchFile,
  readAt,
  removeFile,
  smallText,
  truncateFile,
  writeAllAt,
} from "./file.ts";
import { closeFd, openAllOfLibc, openFile } from "./libc.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const DATA = new Uint8Array(64 << 10).fill(7);

/** Opens a file for the duration of a test. */
function open(path: string) {
  const fd = openFile(path, O_RDWR);
  return { fd, [Symbol.dispose]: () => closeFd(fd) };
}

Deno.test("fileStatus tells what Deno's own stat tells, and what is not there", () => {
  using scratch = new Scratch();
  const path = scratch.file("a", 1 << 20);
  Deno.writeFileSync(path, DATA, { create: false });
  const status = fileStatus(path)!;
  const { size, ino, blocks } = Deno.statSync(path);
  assertEquals([status.kind, status.bytes, status.allocatedBytes], ["file", size, blocks! * 512]);
  assert(status.identity.endsWith(`:${ino}`), status.identity);
  Deno.symlinkSync(path, `${scratch.path}/link`);
  assertEquals(fileStatus(`${scratch.path}/link`)!.identity, status.identity);
  assertEquals(fileStatus(scratch.path)!.kind, "directory");
  const { kind, device } = fileStatus("/dev/null")!;
  assertEquals([kind, device], ["character device", "1:3"]);
  assertEquals(fileStatus(`${scratch.path}/none`), undefined);
  assertEquals(fileStatus(`${path}/below`), undefined);
  assertThrows(() => fileStatus("x".repeat(5000)), UblkError, "ENAMETOOLONG");
});

Deno.test("O_CREAT makes a file once, and removeFile removes it", () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/new`;
  closeFd(openFile(path, O_RDWR | O_CREAT | O_EXCL, 0o600));
  assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
  assertThrows(() => openFile(path, O_RDWR | O_CREAT | O_EXCL, 0o600), UblkError, "EEXIST");
  removeFile(path);
  assertEquals(fileStatus(path), undefined);
  assertThrows(() => removeFile(path), UblkError, "ENOENT");
});

Deno.test("O_DIRECT has this machine's value", () => {
  using scratch = new Scratch();
  const fd = openFile(scratch.file("a", 4096), O_RDWR | O_DIRECT);
  try {
    const flags = Deno.readTextFileSync(`/proc/self/fdinfo/${fd}`).match(/flags:\s*(\d+)/)![1];
    assert((parseInt(flags, 8) & O_DIRECT) !== 0, flags);
  } finally {
    closeFd(fd);
  }
});

Deno.test("nextHole finds the holes of a file, one after the other", () => {
  using scratch = new Scratch();
  using file = open(scratch.file("a", 1 << 20));
  const [end, start] = [1 << 20, 256 << 10];
  writeAllAt(file.fd, DATA, start);
  assertEquals(nextHole(file.fd, 0, end), { start: 0, end: start });
  assertEquals(nextHole(file.fd, start, end), { start: start + DATA.length, end });
  assertEquals(nextHole(file.fd, start, start + 4096), undefined);
  assertEquals(nextHole(file.fd, end, end), undefined);
});

Deno.test("truncateFile, endOfFile, readAt and writeAllAt agree, also beyond 4 GiB", () => {
  using scratch = new Scratch();
  using file = open(scratch.file("a", 0));
  truncateFile(file.fd, 2 ** 33);
  assertEquals(endOfFile(file.fd), 2 ** 33);
  writeAllAt(file.fd, DATA, 2 ** 33 - DATA.length);
  const back = new Uint8Array(2 * DATA.length);
  assertEquals(readAt(file.fd, back, 2 ** 33 - DATA.length), DATA.length, "there it ends");
  assertEquals(back.subarray(0, DATA.length), DATA);
  assertEquals(readAt(file.fd, back, 2 ** 33), 0);
  assertThrows(() => truncateFile(file.fd, -1), UblkError, "EINVAL");
});

Deno.test("fallocateFile punches holes, and gives a refusal back", () => {
  using scratch = new Scratch();
  using file = open(scratch.file("a", 1 << 20));
  writeAllAt(file.fd, DATA, 0);
  assertEquals(punchFile(file.fd, 0, DATA.length), 0);
  assertEquals(nextHole(file.fd, 0, 1 << 20)!.start, 0);
  assertEquals(fallocateFile(file.fd, 0x4000, 0, 4096), -EOPNOTSUPP);
  assertEquals(fallocateFile(file.fd, 0, 2 ** 52, 2 ** 52), -EFBIG);
});

Deno.test("lockFile is one holder's, or many readers'", () => {
  using scratch = new Scratch();
  const path = scratch.file("a", 0);
  using second = open(path);
  {
    using first = open(path);
    assert(lockFile(first.fd, "exclusive"));
    assert(!lockFile(second.fd, "shared"));
  }
  using third = open(path);
  assert(lockFile(second.fd, "shared") && lockFile(third.fd, "shared"));
  assert(!lockFile(third.fd, "exclusive"));
});

Deno.test("smallText reads what sysfs has, and knows what is not there", () => {
  assertEquals(
    smallText("/proc/self/comm")?.trimEnd(),
    Deno.readTextFileSync("/proc/self/comm").trimEnd(),
  );
  assertEquals(smallText("/sys/no/such/file"), undefined);
  assertEquals(smallText("/sys"), undefined);
});
