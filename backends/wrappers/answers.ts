/**
 * Answers that may be Promises, for wrappers that go around synchronous and asynchronous disks
 * alike: what can be done at once is, with nothing awaited.
 *
 * @module
 */

import type { Answer } from "../backend.ts";

/** Whether an answer is yet to come. */
export function isLater(answer: unknown): answer is Promise<void> {
  return typeof answer === "object" && answer !== null &&
    typeof (answer as { then?: unknown }).then === "function";
}

/** Resolves when all have, also where one fails: a buffer is borrowed until then. */
export async function allOf(answers: readonly Promise<void>[]): Promise<void> {
  await Promise.allSettled(answers);
  await Promise.all(answers);
}

/** What a request takes, one answer after the other. Each answer is yielded. */
export type Steps = Generator<Answer, void, void>;

/** Takes the steps: at once as long as their answers are there, and later from the first Promise. */
export function take(steps: Steps): Answer {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return;
    if (isLater(value)) return takeLater(steps, value);
  }
}

async function takeLater(steps: Steps, first: Promise<void>): Promise<void> {
  let answer: Answer = first;
  for (;;) {
    let next: IteratorResult<Answer, void>;
    try {
      await answer;
      next = steps.next();
    } catch (error) {
      next = steps.throw(error);
    }
    if (next.done) return;
    answer = next.value;
  }
}

/** Requests that must not overlap: one begins when the one before has its answer. */
export class Turns {
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  /** Nobody's turn is under way: what takes no time needs none. */
  get idle(): boolean {
    return this.#waiting === 0;
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
