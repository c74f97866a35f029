/**
 * Takes away from a serving thread what it holds, when that thread can no longer give it back.
 *
 * The kernel aborts the requests that a server holds only when `/dev/ublkcN` is closed everywhere,
 * and every FETCH in a ring, as well as every mapping, counts as open. A thread that loops in a
 * backend's method cannot be ended: `Worker.terminate()` waits for it like everybody else. So its
 * ring and mappings are replaced, under its feet, by things that look the same and do nothing. If
 * the method ever returns, the thread's next system call fails, and it ends.
 *
 * @module
 */

import type { ThreadResources } from "../queue/serving.ts";
import { neutralizeFd } from "../uring/libc.ts";
import { neutralizeMapping } from "../uring/mapping.ts";

/** Releases a thread's ring and mappings for it. */
export function releaseByForce(resources: ThreadResources): void {
  for (const [address, bytes] of resources.mappings) neutralizeMapping(address, bytes);
  for (const fd of resources.fds) neutralizeFd(fd);
}
