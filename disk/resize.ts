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
 * Calls `resize`, and turns whatever it throws into an errno.
 *
 * @param mayAwait Whether the thread runs an event loop, in which a Promise could settle.
 * @param report Receives the cause of a failure.
 * @returns 0 or a positive errno, either at once or as a Promise that never rejects.
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
    // `resize` is missing if a Worker's backend differs from the first one's: EIO, as for any
    // fault.
    const answer: unknown = backend.resize!(size);
    if (!isLater(answer)) return 0;
    const settled = asPromise(answer).then(() => 0, mayAwait ? failed : () => EIO);
    if (mayAwait) return settled;
    // The Promise's continuation would never run.
    report("a synchronous backend's resize returned a Promise");
    return EIO;
  } catch (thrown) {
    return failed(thrown);
  }
}
