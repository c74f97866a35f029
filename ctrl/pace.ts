/**
 * Time limits for steps of devices, scaled by the number of this thread's devices at a step.
 *
 * A time limit exists to detect hangs. Eight devices that start at once on a slow machine share its
 * CPUs and the driver's lock, so each takes as long as all of them: one timed out after 10 s,
 * although nothing hung. So a limit is multiplied by the number of devices at a step.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";

let stepsUnderWay = 0;

/** Marks the start of a device's step. Dispose of the result at the end of the step. */
export function beginStep(): Disposable {
  stepsUnderWay++;
  let isOver = false;
  return {
    [Symbol.dispose]() {
      if (!isOver) stepsUnderWay--;
      isOver = true;
      assert(stepsUnderWay >= 0, "a step is over once");
    },
  };
}

/** Scales the limit of a single step, in milliseconds, by the number of steps under way. */
export function pacedMs(limitMs: number): number {
  assert(limitMs >= 0, "a limit is a time");
  return limitMs * Math.max(1, stepsUnderWay);
}
