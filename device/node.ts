/**
 * The nodes of a device under `/dev`: waiting for them, and making sure that they open.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { EBUSY } from "../uapi/errno.ts";
import { openFile, pathExists } from "../uring/libc.ts";
import { mayUse } from "../uring/rights.ts";
import { checkAborted } from "./abort.ts";
import { letGo, startShell } from "./child.ts";
import { pacedMs } from "../ctrl/pace.ts";

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
  const startedMs = performance.now();
  while (true) {
    checkAborted(signal);
    // A look at the node is no access to the device behind it.
    if (pathExists(path)) return;
    if (performance.now() > startedMs + pacedMs(timeoutMs)) {
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

/** What makes a user's nodes the user's. */
const RULE = "install the udev rule as root: udev/install.sh";

/**
 * Resolves once this user may use `/dev/ublkcN`, which is root's until udev has looked at it. Whether
 * a command may be sent to an unprivileged device is decided by that.
 *
 * @throws {UblkError} `PERMISSION_DENIED`: the device is there, and only root can delete it.
 */
export async function ownership(id: number, timeoutMs: number): Promise<void> {
  const path = charPath(id);
  const startedMs = performance.now();
  while (!mayUse(path)) {
    if (performance.now() > startedMs + pacedMs(timeoutMs)) {
      throw new UblkError("PERMISSION_DENIED", {
        operation: `wait for ${path}`,
        device: id,
        reason: `udev did not give the new device to this user in ${timeoutMs} ms`,
        hint: `${RULE}; this one is left for root to delete: ublk del -n ${id}`,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** How the disk met its first visitor. */
export type Probe =
  /** It opened. */
  | "open"
  /** The kernel is still reading it, to find partitions: whoever opens it waits for that. */
  | "waiting";

/**
 * Resolves once `/dev/ublkbN` can be opened. A child process opens it: whoever serves a device must
 * never wait for it.
 *
 * Since Linux 7.0 the kernel looks for partitions after START_DEV, and lets nobody open the disk
 * meanwhile. With a backend that takes its time that is no failure: the disk is there.
 *
 * @param unprivileged The node is root's until udev has looked at it.
 * @throws {UblkError} `NODE_MISSING`.
 */
export async function probeBlockDevice(
  id: number,
  timeoutMs: number,
  signal?: AbortSignal,
  unprivileged = false,
): Promise<Probe> {
  const path = blockPath(id);
  const started = performance.now();
  await appearance(id, path, timeoutMs, signal);
  const left = Math.max(POLL_MS, timeoutMs - (performance.now() - started));
  // It tries until it is killed, since udev may still be setting the node's permissions, and says
  // so each time. What says nothing waits in the kernel.
  const script = 'echo; until (exec <"$0") 2>/dev/null; do echo; sleep 0.05; done';
  const child = startShell(script, [path], "piped");
  const { promise: gaveUp, resolve: giveUp } = Promise.withResolvers<void>();
  const waiting = silence(child.stdout, Math.min(SILENT_MS, left / 2));
  let rounds = 0;
  const timer = setInterval(() => {
    // On a busy machine the child may not have begun yet, which says nothing of the disk.
    const wasTried = waiting.tries() >= MIN_TRIES;
    if (wasTried || ++rounds === MAX_ROUNDS) giveUp();
  }, pacedMs(left));
  // Once the device is gone the child would try on in vain until its time is up.
  signal?.addEventListener("abort", () => giveUp(), { once: true });
  if (signal?.aborted) giveUp();
  const result = await Promise.race([
    child.status.then(({ success }) => success),
    waiting.promise,
    gaveUp,
  ]);
  clearInterval(timer);
  // One that waits for the disk in the kernel does not even hear SIGKILL until that is gone.
  if (typeof result !== "boolean") letGo(child, "SIGKILL");
  await waiting.end();
  checkAborted(signal);
  if (result === "silent") return "waiting";
  if (result !== true) {
    throw new UblkError("NODE_MISSING", {
      operation: `open ${path}`,
      device: id,
      reason: `the node is there but did not open in ${Math.round(performance.now() - started)} ms`,
      hint: unprivileged
        ? RULE
        : "in a container, allow the device (--device-cgroup-rule 'b *:* rwm')",
    });
  }
  return "open";
}

/** How long, in milliseconds, an attempt to open the disk may take before it counts as waiting. */
const SILENT_MS = 3_000;
/** How often the disk must have been tried before it counts as one that does not open. */
const MIN_TRIES = 20;
/** How many times the limit the child gets to try as often. */
const MAX_ROUNDS = 6;

/** Resolves once a stream that has begun has said nothing for so long. */
function silence(stream: ReadableStream<Uint8Array>, ms: number) {
  const { promise, resolve } = Promise.withResolvers<"silent">();
  const reader = stream.getReader();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let tries = 0;
  const heard = (async () => {
    for (let read; !(read = await reader.read()).done;) {
      // A byte for each.
      tries += read.value.length;
      clearTimeout(timer);
      timer = setTimeout(() => resolve("silent"), ms);
    }
  })().catch(() => {}).finally(() => clearTimeout(timer));
  return {
    promise,
    tries: () => tries,
    async end() {
      clearTimeout(timer);
      await reader.cancel().catch(() => {});
      await heard;
      clearTimeout(timer);
    },
  };
}
