/**
 * Helpers for answers that may be Promises. With them a wrapper works around synchronous and
 * asynchronous disks alike: nothing is awaited that is already done.
 *
 * @module
 */

import { ENODEV } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import type { Answer } from "./backend.ts";

/** Whether an answer is still to come: a Promise or another thenable. */
export function isLater(answer: unknown): answer is Promise<void> {
  return typeof answer === "object" && answer !== null &&
    typeof (answer as { then?: unknown }).then === "function";
}

/**
 * Wraps an answer in a Promise of our own. It guards against a thenable that throws or settles
 * twice. `Promise.resolve` would not do: it returns a Promise with an overridden `then` unchanged.
 */
export function asPromise(answer: unknown): Promise<unknown> {
  return new Promise((resolve) => resolve(answer));
}

/** Waits for all answers even if one fails, because buffers are borrowed until then. */
export async function allOf(answers: readonly Promise<void>[]): Promise<void> {
  await Promise.allSettled(answers);
  await Promise.all(answers);
}

/** The steps of a request, run one after the other. Each yields its answer. */
export type Steps = Generator<Answer, void, void>;

/**
 * Runs the steps: synchronously up to the first Promise, asynchronously from there on.
 *
 * @param isOver Whether the disk has been closed, so that no further step may run.
 */
export function take(steps: Steps, isOver?: () => boolean): Answer {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return;
    if (isLater(value)) return takeLater(steps, value, isOver);
  }
}

async function takeLater(
  steps: Steps,
  first: Promise<void>,
  isOver?: () => boolean,
): Promise<void> {
  let answer: Answer = first;
  for (;;) {
    let next: IteratorResult<Answer, void>;
    try {
      await answer;
      if (isOver?.()) throw closedError();
      next = steps.next();
    } catch (error) {
      if (isOver?.()) throw closedError();
      next = steps.throw(error);
    }
    if (next.done) return;
    answer = next.value;
  }
}

/** The error of a request whose disk was closed while it waited. */
export function closedError(): UblkError {
  const reason = "the disk was closed while the request waited";
  return new UblkError("SYSCALL_FAILED", { operation: "a late request", reason, errno: ENODEV });
}

/** A queue of requests that must not overlap: each begins after the one before is answered. */
export class Turns {
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  /** Whether no turn is running. */
  get idle(): boolean {
    return this.#waiting === 0;
  }

  /** Resolves when all turns requested so far are over. */
  get over(): Promise<void> {
    return this.#last;
  }

  /** Runs the work in its turn: now, if no turn is running. */
  take(work: () => Answer): Answer {
    const answer = this.#waiting === 0 ? work() : this.#last.then(work);
    if (!isLater(answer)) return;
    this.#waiting++;
    const over = () => void this.#waiting--;
    this.#last = answer.then(over, over);
    return answer;
  }
}
