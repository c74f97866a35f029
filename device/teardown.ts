/**
 * Releases a serving thread's resources when the thread itself no longer can.
 *
 * The kernel aborts a server's requests only when `/dev/ublkcN` is closed everywhere. Every FETCH in
 * a ring and every mapping counts as open. A thread that loops in a backend's method cannot be
 * ended: `Worker.terminate()` waits for it too. So its ring and mappings are replaced, while it
 * runs, by things that look the same and do nothing. If the method ever returns, the thread finds a
 * completion queue in a state that no kernel leaves, and ends.
 *
 * @module
 */

import { claimRelease, OWNER_MANAGER } from "../queue/control_block.ts";
import type { ThreadResources } from "../queue/serving.ts";
import { neutralizeFd } from "../uring/libc.ts";
import { neutralizeMapping } from "../uring/mapping.ts";

/**
 * Releases a thread's ring and mappings on its behalf, unless the thread is doing so itself. Doing
 * both would destroy whatever has taken their place.
 *
 * @returns Whether it was released here.
 */
export function releaseByForce(control: SharedArrayBuffer, resources: ThreadResources): boolean {
  if (!claimRelease(new Int32Array(control), OWNER_MANAGER)) return false;
  // The descriptors first: after that the thread's commands reach no ring, and reading zeroed memory
  // does no harm.
  for (const fd of resources.fds) neutralizeFd(fd);
  for (const [address, bytes] of resources.mappings) neutralizeMapping(address, bytes);
  return true;
}
