/**
 * Changes a backend's size.
 *
 * @module
 */

import { EIO } from "../uapi/errno.ts";
import { thrownText } from "../uapi/error.ts";
import { asPromise, isLater } from "./answers.ts";
import type { Backend } from "./backend.ts";
import { errnoOf } from "./errno_of.ts";

/**
 * Calls `resize`, and makes an errno of whatever it throws.
 *
 * @param mayAwait Whether the thread runs an event loop, in which a Promise could settle.
 * @param report Is told why it failed.
 * @returns 0 or a positive errno, at once or by a Promise, which does not reject.
 */
export function resizeBackend(
  backend: Backend,
  size: number,
  mayAwait: boolean,
  report: (text: string) => void,
): number | Promise<number> {
  const failed = (thrown: unknown) => {
    report(thrownText(thrown));
    return errnoOf(thrown);
  };
  try {
    // Absent where a Worker's backend differs from the first one's; EIO as of any other fault.
    const answer: unknown = backend.resize!(size);
    if (!isLater(answer)) return 0;
    const settled = asPromise(answer).then(() => 0, mayAwait ? failed : () => EIO);
    if (mayAwait) return settled;
    // Nothing would ever run its continuation.
    report("a synchronous backend's resize returned a Promise");
    return EIO;
  } catch (thrown) {
    return failed(thrown);
  }
}
