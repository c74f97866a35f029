import { assert, assertEquals, assertThrows } from "@std/assert";
import { NotifySocket } from "../tests/notify_socket.ts";
import { Scratch } from "../tests/scratch.ts";
import { ECONNREFUSED, ENOENT } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { DatagramSender } from "./datagram.ts";
import { openAllOfLibc } from "./libc.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

Deno.test("DatagramSender reaches a socket at a path, and says when nobody is there any more", () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/notify`;
  const ear = new NotifySocket(path);
  using sender = new DatagramSender(path);
  assertEquals([sender.send("READY=1"), sender.send("STATUS=äöü")], [true, true]);
  assertEquals(ear.heard(), ["READY=1", "STATUS=äöü"]);
  ear[Symbol.dispose]();
  assertEquals(assertThrows(() => sender.send("x"), UblkError).errno, ECONNREFUSED);
  Deno.removeSync(path);
  const error = assertThrows(() => sender.send("x"), UblkError);
  assertEquals([error.errno, error.message], [ENOENT, `send to ${path}: failed with ENOENT`]);
});

Deno.test("DatagramSender reaches an abstract socket", () => {
  const name = `@ublk-test-${Deno.pid}`;
  using ear = new NotifySocket(name);
  using sender = new DatagramSender(name);
  assert(sender.send("READY=1"));
  assertEquals(ear.heard(), ["READY=1"]);
});

Deno.test("DatagramSender waits for nobody whose queue is full", () => {
  const name = `@ublk-test-full-${Deno.pid}`;
  using ear = new NotifySocket(name);
  using sender = new DatagramSender(name);
  let taken = 0;
  while (taken < 100_000 && sender.send("WATCHDOG=1")) taken++;
  assert(taken < 100_000, "no queue is that long");
  assertEquals(ear.heard().length, taken);
  assert(sender.send("READY=1"));
});

for (const path of ["", "relative", "vsock:2:1234", "@", `/${"x".repeat(107)}`]) {
  Deno.test(`DatagramSender refuses the address "${path.slice(0, 20)}"`, () => {
    const error = assertThrows(() => new DatagramSender(path), UblkError, "abstract name");
    assertEquals(error.code, "INVALID_ARGUMENT");
  });
}
