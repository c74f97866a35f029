/**
 * A device's nodes under `/dev`: waiting for them, and checking that they open.
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

/** The path of a device's disk. */
export function blockPath(id: number): string {
  return `/dev/ublkb${id}`;
}

/** The path of a device's server side. */
export function charPath(id: number): string {
  return `/dev/ublkc${id}`;
}

/**
 * Opens `/dev/ublkcN`, waiting for udev or devtmpfs to make it.
 *
 * @throws {UblkError} `NODE_MISSING`, `DEVICE_BUSY` or the error of `open`.
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
    // Checking the node does not access the device behind it.
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

/** The remedy for nodes that the user does not own. */
const RULE = "install the udev rule as root: udev/install.sh";

/**
 * Resolves once this user may use `/dev/ublkcN`, which belongs to root until udev has handled it. The
 * driver authorises commands to an unprivileged device by access to that node.
 *
 * @throws {UblkError} `PERMISSION_DENIED`: the device exists, and only root can delete it.
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

/** The result of the first attempt to open the disk. */
export type Probe =
  /** It opened. */
  | "open"
  /** The kernel is still scanning it for partitions, and `open` waits for that. */
  | "waiting";

/**
 * Resolves once `/dev/ublkbN` can be opened. A child process opens it, because a server must never
 * wait for its own disk.
 *
 * Since Linux 7.0 the kernel scans for partitions after START_DEV, and `open` blocks until it is
 * done. With a slow backend that is not a failure: the disk exists.
 *
 * @param unprivileged The node belongs to root until udev has handled it.
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
  // The child retries until it is killed, because udev may still be setting the node's permissions.
  // It prints a line per attempt; if it prints nothing, it is blocked in the kernel.
  const script = 'echo; until (exec <"$0") 2>/dev/null; do echo; sleep 0.05; done';
  const child = startShell(script, [path], "piped");
  const { promise: gaveUp, resolve: giveUp } = Promise.withResolvers<void>();
  const waiting = silence(child.stdout, Math.min(SILENT_MS, left / 2));
  let rounds = 0;
  const timer = setInterval(() => {
    // On a busy machine the child may not have started yet, which tells nothing about the disk.
    const wasTried = waiting.tries() >= MIN_TRIES;
    if (wasTried || ++rounds === MAX_ROUNDS) giveUp();
  }, pacedMs(left));
  // Without the device the child would retry in vain until its time is up.
  signal?.addEventListener("abort", () => giveUp(), { once: true });
  if (signal?.aborted) giveUp();
  const result = await Promise.race([
    child.status.then(({ success }) => success),
    waiting.promise,
    gaveUp,
  ]);
  clearInterval(timer);
  // A child that is blocked on the disk does not even die of SIGKILL until the disk is gone.
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

/** Time after which an attempt to open the disk counts as waiting, in milliseconds. */
const SILENT_MS = 3_000;
/** Attempts after which the disk counts as one that does not open. */
const MIN_TRIES = 20;
/** How often the limit is extended until the child has made that many attempts. */
const MAX_ROUNDS = 6;

/** Resolves once a stream that has started is silent for that long. */
function silence(stream: ReadableStream<Uint8Array>, ms: number) {
  const { promise, resolve } = Promise.withResolvers<"silent">();
  const reader = stream.getReader();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let tries = 0;
  const heard = (async () => {
    for (let read; !(read = await reader.read()).done;) {
      // One byte per attempt.
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
