/**
 * The nodes of a device under `/dev`: waiting for them, and making sure that they open.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { EBUSY } from "../uapi/errno.ts";
import { openFile, pathExists } from "../uring/libc.ts";
import { checkAborted } from "./abort.ts";

const O_RDWR = 2;
const POLL_MS = 10;

/** The disk of a device. */
export function blockPath(id: number): string {
  return `/dev/ublkb${id}`;
}

/** The server's side of a device. */
export function charPath(id: number): string {
  return `/dev/ublkc${id}`;
}

/**
 * Opens `/dev/ublkcN`, waiting for udev or devtmpfs to make it.
 *
 * @throws {UblkError} `NODE_MISSING`, `DEVICE_BUSY` or what `open` says.
 */
export async function openCharDevice(
  id: number,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<number> {
  const path = charPath(id);
  await appearance(id, path, timeoutMs, signal);
  try {
    return openFile(path, O_RDWR);
  } catch (error) {
    if (error instanceof UblkError && error.errno === EBUSY) {
      throw new UblkError("DEVICE_BUSY", {
        operation: `open ${path}`,
        device: id,
        reason: "another server has it open",
        errno: EBUSY,
        hint: `see \`ublk list\`, and stop it with \`ublk del -n ${id}\``,
      });
    }
    throw error;
  }
}

async function appearance(
  id: number,
  path: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (true) {
    checkAborted(signal);
    // A look at the node is no access to the device behind it.
    if (pathExists(path)) return;
    if (performance.now() > end) {
      throw new UblkError("NODE_MISSING", {
        operation: `wait for ${path}`,
        device: id,
        reason: `the kernel made the device but no node appeared in ${timeoutMs} ms`,
        hint: "in a container, mount the host's /dev (devtmpfs), or run udev",
      });
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/**
 * Resolves once `/dev/ublkbN` can be opened. A child process opens it: whoever serves a device must
 * never wait for it.
 *
 * @throws {UblkError} `NODE_MISSING`.
 */
export async function probeBlockDevice(
  id: number,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const path = blockPath(id);
  const started = performance.now();
  await appearance(id, path, timeoutMs, signal);
  const left = Math.max(POLL_MS, timeoutMs - (performance.now() - started));
  // It tries until it is killed, since udev may still be setting the node's permissions.
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", 'until (exec <"$0") 2>/dev/null; do sleep 0.05; done', path],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const { promise: gaveUp, resolve: giveUp } = Promise.withResolvers<void>();
  const timer = setTimeout(giveUp, left);
  // Once the device is gone the child would try on in vain until its time is up.
  signal?.addEventListener("abort", () => giveUp(), { once: true });
  if (signal?.aborted) giveUp();
  const success = await Promise.race([child.status.then((status) => status.success), gaveUp]);
  clearTimeout(timer);
  if (success === undefined) endWithoutWaiting(child);
  checkAborted(signal);
  if (!success) {
    throw new UblkError("NODE_MISSING", {
      operation: `open ${path}`,
      device: id,
      reason: `the node is there but did not open in ${timeoutMs} ms`,
      hint: "in a container, allow the device (--device-cgroup-rule 'b *:* rwm')",
    });
  }
}

/** A child that is waiting for the disk in the kernel does not even hear SIGKILL until it is gone. */
function endWithoutWaiting(child: Deno.ChildProcess): void {
  child.unref();
  try {
    child.kill("SIGKILL");
  } catch {
    // It has just ended by itself.
  }
}
