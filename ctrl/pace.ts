/**
 * How long this thread's devices may take over their steps, when several take them at a time.
 *
 * A limit in time is there to notice what hangs. On a slow machine eight devices that start at once
 * share its CPUs and the driver's lock, and each takes as long as all of them: one was given up after
 * its 10 s, although nothing hung. So a limit counts once for each device that is at a step.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";

let stepsUnderWay = 0;

/** A device begins a step; it is over when this is disposed of. */
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

/** A limit that is meant for one step, in milliseconds, with as many as are under way now. */
export function pacedMs(limitMs: number): number {
  assert(limitMs >= 0, "a limit is a time");
  return limitMs * Math.max(1, stepsUnderWay);
}
