/**
 * Backends that throw, answer short, late, never or twice, or loop for ever: the reader gets an
 * errno, and neither the device nor the process stays behind.
 *
 * @module
 */

import { assert, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { serve } from "../../mod.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { BAD_OFFSET, type Manner, misbehaving, open } from "../backends/misbehaving.ts";
import { exists, type Kind, pause, run, serveInChild } from "./_misbehaving.ts";

// Opened before the first test, which would otherwise seem to leak it.
openAllOfLibc();

/** What a request misses whose backend loops: it takes up to two of them until that is noticed. */
const DEADLINE_MS = 2000;
/** The same where other requests must meet it, on emulated CPUs too. */
const ANSWER_MS = 5000;
/** The bad offset in blocks of 4 KiB. */
const BAD_BLOCK = BAD_OFFSET / 4096;

/** Reads one block around the page cache, and returns what `dd` says. */
async function read(path: string, block: number): Promise<string> {
  const { stderr } = await run(
    "dd",
    `if=${path}`,
    "of=/dev/null",
    "bs=4096",
    "count=1",
    `skip=${block}`,
    "iflag=direct",
  );
  return stderr;
}

const READ = "1+0 records in";

const ANSWERS: [manner: Manner, synchronous: boolean, error: string][] = [
  ["throw", true, "Input/output error"],
  ["throw", false, "Input/output error"],
  ["reject", false, "Input/output error"],
  ["enospc", true, "No space left on device"],
  ["short", true, "Input/output error"],
  ["short", false, "Input/output error"],
  ["promise", true, "Input/output error"],
  ["late", false, "Connection timed out"],
  ["never", false, "Connection timed out"],
];

for (const [manner, synchronous, error] of ANSWERS) {
  const kind = synchronous ? "synchronous" : "asynchronous";
  Deno.test(`serve() + ${kind} module that answers "${manner}" + reader gets ${error}`, async () => {
    const backend = misbehaving(manner, synchronous);
    await using device = await serve({ backend, deadlineMs: ANSWER_MS });
    assertStringIncludes(await read(device.path, BAD_BLOCK), error);
    // The tag is free again, and so are its neighbours.
    assertStringIncludes(await read(device.path, 0), READ);
    assertEquals(device.stats().total.errors, 1);
  });
}

Deno.test("serve() + object that never answers + reader gets ETIMEDOUT", async () => {
  const backend = open({ manner: "never", synchronous: false, operation: "readAt" });
  await using device = await serve({ backend, deadlineMs: ANSWER_MS });
  assertStringIncludes(await read(device.path, BAD_BLOCK), "Connection timed out");
  assertStringIncludes(await read(device.path, 0), READ);
});

Deno.test("serve() + module that answers twice + reader gets one answer", async () => {
  await using device = await serve({ backend: misbehaving("twice", false) });
  assertStringIncludes(await read(device.path, BAD_BLOCK), READ);
  assertStringIncludes(await read(device.path, 0), READ);
  assertEquals(device.stats().total.errors, 0);
});

for (const kind of ["synchronous", "asynchronous"] satisfies Kind[]) {
  Deno.test(`serve() + ${kind} module that loops for ever + device goes, reader gets EIO`, async () => {
    await using server = await serveInChild(kind, "loop", "readAt", DEADLINE_MS);
    assertStringIncludes(await read(server.path, BAD_BLOCK), "Input/output error");
    assertEquals(await server.closed(), { reason: "failed", code: "BACKEND_STUCK" });
    assert(!await exists(server.charPath), "the device is deleted");
  });
}

Deno.test("serve() + object that loops for ever + device goes, process can be ended", async () => {
  await using server = await serveInChild("object", "loop", "readAt", DEADLINE_MS);
  assertStringIncludes(await read(server.path, BAD_BLOCK), "Input/output error");
  while (await exists(server.charPath)) await pause(50);
  assertStringIncludes(await server.end("SIGTERM"), `has not returned in ${DEADLINE_MS} ms`);
});

for (const kind of ["synchronous", "object"] satisfies Kind[]) {
  // STOP_DEV writes dirty pages through the device and waits for them, uninterruptibly. A server
  // that is stuck then could neither be ended nor its device be removed.
  Deno.test(`stop() + ${kind} backend that loops for ever on the last flush + device goes`, async () => {
    await using server = await serveInChild(kind, "loop", "writeAt", DEADLINE_MS);
    // Buffered and not synced; another opener keeps the last close from writing the page.
    const script = `exec 3<"$0"; dd if=/dev/zero of="$0" bs=4096 count=1 seek=${BAD_BLOCK} ` +
      "conv=notrunc 2>/dev/null; echo written; exec sleep 120";
    const writer = new Deno.Command("sh", { args: ["-c", script, server.path], stdout: "piped" })
      .spawn();
    const stdout = writer.stdout.getReader();
    await stdout.read();
    await server.stop();
    while (await exists(server.charPath)) await pause(50);
    if (kind === "object") await server.end("SIGTERM");
    else assertEquals((await server.closed()).code, "BACKEND_STUCK");
    writer.kill("SIGKILL");
    await writer.status;
    await stdout.cancel();
  });
}

Deno.test("stop() + request that is never answered + answered within the drain's time", async () => {
  const backend = misbehaving("never", false);
  const device = await serve({ backend, deadlineMs: 60_000 });
  const reader = read(device.path, BAD_BLOCK);
  while (device.stats().total.inFlight === 0) await pause(20);
  const started = performance.now();
  await device.stop();
  // The deadline would be over a minute after the read came.
  assertLess(performance.now() - started, 45_000);
  assertStringIncludes(await reader, "Connection timed out");
  assert(!await exists(`/dev/ublkc${device.id}`), "the device is deleted");
});
