/**
 * Takes away from a serving thread what it holds, when that thread can no longer give it back.
 *
 * The kernel aborts the requests that a server holds only when `/dev/ublkcN` is closed everywhere,
 * and every FETCH in a ring, as well as every mapping, counts as open. A thread that loops in a
 * backend's method cannot be ended: `Worker.terminate()` waits for it like everybody else. So its
 * ring and mappings are replaced, under its feet, by things that look the same and do nothing. If
 * the method ever returns, the thread finds a completion queue that no kernel could have left, and
 * ends.
 *
 * @module
 */

import { claimRelease, OWNER_MANAGER } from "../queue/control_block.ts";
import type { ThreadResources } from "../queue/serving.ts";
import { neutralizeFd } from "../uring/libc.ts";
import { neutralizeMapping } from "../uring/mapping.ts";

/**
 * Releases a thread's ring and mappings for it, unless it is doing so itself: both at once would
 * hit what has meanwhile been put in their place.
 *
 * @returns Whether it was released here.
 */
export function releaseByForce(control: SharedArrayBuffer, resources: ThreadResources): boolean {
  if (!claimRelease(new Int32Array(control), OWNER_MANAGER)) return false;
  // The descriptor first: from then on the thread's own commands reach no ring, and what it reads
  // in the zeroed memory can do no harm.
  for (const fd of resources.fds) neutralizeFd(fd);
  for (const [address, bytes] of resources.mappings) neutralizeMapping(address, bytes);
  return true;
}
