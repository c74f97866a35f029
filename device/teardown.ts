/**
 * Releases what a serving thread holds when that thread can no longer do it.
 *
 * The kernel aborts the requests that a server holds only when `/dev/ublkcN` is closed everywhere,
 * and every FETCH in a ring, as well as every mapping, counts as open.
 *
 * @module
 */

import type { ThreadResources } from "../queue/serving.ts";
import { closeFd } from "../uring/libc.ts";
import { unmap } from "../uring/mapping.ts";

const POLL_MS = 10;

/** Closes and unmaps. The thread that used these must be gone, or about to be. */
export function releaseByForce(resources: ThreadResources): void {
  for (const [address, bytes] of resources.mappings) unmap(address, bytes);
  for (const fd of resources.fds) closeFd(fd);
}

/** Whether the thread of this process with that id ends within the time. */
export async function threadEnded(tid: number, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (performance.now() < end) {
    try {
      await Deno.stat(`/proc/self/task/${tid}`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return true;
      throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return false;
}
