/**
 * Answers that may be Promises, for wrappers that go around synchronous and asynchronous disks
 * alike: what can be done at once is, with nothing awaited.
 *
 * @module
 */

import { ENODEV } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import type { Answer } from "./backend.ts";

/** Whether an answer is yet to come: it is a Promise, or behaves like one. */
export function isLater(answer: unknown): answer is Promise<void> {
  return typeof answer === "object" && answer !== null &&
    typeof (answer as { then?: unknown }).then === "function";
}

/**
 * A Promise of our own for an answer. It guards against a thenable that throws, or that answers
 * twice; `Promise.resolve` would hand a Promise with a `then` of its own through as it is.
 */
export function asPromise(answer: unknown): Promise<unknown> {
  return new Promise((resolve) => resolve(answer));
}

/** Resolves when all have, also where one fails: a buffer is borrowed until then. */
export async function allOf(answers: readonly Promise<void>[]): Promise<void> {
  await Promise.allSettled(answers);
  await Promise.all(answers);
}

/** What a request takes, one answer after the other. Each answer is yielded. */
export type Steps = Generator<Answer, void, void>;

/**
 * Takes the steps: at once as long as their answers are there, and later from the first Promise.
 *
 * @param isOver Whether no further step may be taken: what the steps work on is closed.
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

/** The error of a request whose disk was closed meanwhile. */
export function closedError(): UblkError {
  const reason = "the disk was closed while the request waited";
  return new UblkError("SYSCALL_FAILED", { operation: "a late request", reason, errno: ENODEV });
}

/** Requests that must not overlap: one begins when the one before has its answer. */
export class Turns {
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  /** Nobody's turn is under way: what takes no time needs none. */
  get idle(): boolean {
    return this.#waiting === 0;
  }

  /** Resolves when those that have asked for a turn so far have had it. */
  get over(): Promise<void> {
    return this.#last;
  }

  /** Does the work when it is its turn: now, if nothing is under way. */
  take(work: () => Answer): Answer {
    const answer = this.#waiting === 0 ? work() : this.#last.then(work);
    if (!isLater(answer)) return;
    this.#waiting++;
    const over = () => void this.#waiting--;
    this.#last = answer.then(over, over);
    return answer;
  }
}
