/**
 * What happens to a device whose thread dies, whose backend does not close, or whose disk somebody
 * keeps open.
 *
 * @module
 */

import { assert, assertEquals, assertLess, assertRejects, assertStringIncludes } from "@std/assert";
import { memory, serve, UblkError } from "../../mod.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { failing, slowToOpen } from "../backends/failing.ts";
import { exists, pause, run } from "./_misbehaving.ts";

openAllOfLibc();

const readEnd = (path: string) =>
  run("dd", `if=${path}`, "of=/dev/null", "bs=4096", "count=1", "skip=768", "iflag=direct");

// A dead Worker had released nothing, and with several threads nobody noticed: the device stayed,
// every request failed, and `closed` never resolved.
for (const queues of [1, 4]) {
  Deno.test(`serve() + one of ${queues} threads dies + device goes, reader gets EIO`, async () => {
    const device = await serve({ backend: failing("dies", true), queues });
    assertStringIncludes((await readEnd(device.path)).stderr, "Input/output error");
    const { reason, error } = await device.closed;
    assertEquals([reason, error?.code], ["failed", "THREAD_FAILED"]);
    assertStringIncludes(error!.message, "died on purpose");
    assert(!await exists(`/dev/ublkc${device.id}`), "the device is deleted");
  });
}

for (const how of ["close throws", "close hangs"] as const) {
  Deno.test(`stop() + backend whose ${how} + rejects, and everything else is released`, async () => {
    const device = await serve({ backend: failing(how), deadlineMs: 5000 });
    const error = await assertRejects(() => device.stop(), UblkError);
    assertStringIncludes(error.message, how === "close throws" ? "on purpose" : "did not close");
    assertEquals((await device.closed).reason, "failed");
    assertEquals(device.state, "deleted");
    assert(!await exists(`/dev/ublkc${device.id}`), "the device is deleted");
  });
}

Deno.test("serve() + backend that never opens + gives up at the caller's signal", async () => {
  const started = performance.now();
  const error = await assertRejects(
    () => serve({ backend: failing("open hangs"), signal: AbortSignal.timeout(1000) }),
    UblkError,
  );
  assertEquals(error.code, "ABORTED");
  // It is not waited for as one that is open: that would take 20 s after the signal.
  assertLess(performance.now() - started, 20_000);
});

// The Worker was ended while it was opening, and what it had made stayed in the process for good.
Deno.test("serve() + aborted while the backend opens + it is closed and unshared", async () => {
  const counts = new Int32Array(new SharedArrayBuffer(16));
  const controller = new AbortController();
  const backend = slowToOpen(counts);
  const aborted = assertRejects(() => serve({ backend, signal: controller.signal }), UblkError);
  // It takes two seconds to open from here on; how long its Worker takes to start, nobody knows.
  const endMs = performance.now() + 60_000;
  while (Atomics.load(counts, 0) === 0 && performance.now() < endMs) await pause(10);
  controller.abort();
  assertEquals((await aborted).code, "ABORTED");
  assertEquals([...counts], [1, 1, 1, 1]);
});

// DEL_DEV waits until the last user has closed the disk; the id is taken until then. stop() waited
// too, failed, and `closed` never resolved.
Deno.test("stop() + somebody keeps the disk open + ends, and the next device gets another id", async () => {
  const device = await serve({ backend: memory("16MiB") });
  const holder = new Deno.Command("sh", {
    args: ["-c", 'exec 3<"$0"; echo open; exec sleep 120', device.path],
    stdout: "piped",
  }).spawn();
  const stdout = holder.stdout.getReader();
  await stdout.read();
  try {
    await device.stop();
    assertEquals(await device.closed, { reason: "deleted" });
    assert(!await exists(`/dev/ublkc${device.id}`), "the nodes are gone");
    await using next = await serve({ backend: memory("16MiB") });
    assert(next.id !== device.id);
  } finally {
    holder.kill("SIGKILL");
    await holder.status;
    await stdout.cancel();
  }
});

Deno.test("stop() + a device that failed before + rejects with the reason", async () => {
  const device = await serve({ backend: failing("dies") });
  void readEnd(device.path);
  while (device.state === "live") await pause(10);
  const error = await assertRejects(() => device.stop(), UblkError);
  assertEquals(error.code, "THREAD_FAILED");
  assertEquals((await device.closed).reason, "failed");
});
