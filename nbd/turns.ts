/**
 * Turns of the event loop for the work of requests without data. They are short to send, so a client may
 * send many at once; and a disk that answers at once would perform all of them before anybody else
 * is heard. So they have a few milliseconds of each turn, and what is left waits for the next one, where
 * the connections follow one after the other.
 *
 * @module
 */

/** Work of one turn in milliseconds. A piece of work that has begun is not interrupted. */
const TURN_MS = 4;

/** The turns of a server. */
export class Turns {
  readonly #turnMs: number;
  readonly #now: () => number;
  /** Those with work that waits, in the order of their turns. */
  readonly #waiting = new Set<TurnLine>();
  /** A turn has begun, and a timer ends it. */
  #hasBegun = false;
  #startMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param turnMs Work of one turn in milliseconds. Default: 4.
   * @param now A clock in milliseconds. Default: the machine's.
   */
  constructor(turnMs: number = TURN_MS, now: () => number = () => performance.now()) {
    this.#turnMs = turnMs;
    this.#now = now;
  }

  /** The line in which the work of a connection waits. */
  line(): TurnLine {
    const line: TurnLine = new TurnLine(
      () => this.#hasTime(),
      () => void this.#waiting.add(line),
    );
    return line;
  }

  /** Ends the turn, if nobody waits for the next one: a server that has ended leaves no timer. */
  end(): void {
    if (this.#waiting.size > 0) return;
    clearTimeout(this.#timer);
    this.#hasBegun = false;
  }

  #hasTime(): boolean {
    if (this.#hasBegun) return this.#now() - this.#startMs < this.#turnMs;
    this.#hasBegun = true;
    this.#startMs = this.#now();
    this.#timer = setTimeout(() => this.#next(), 0);
    return true;
  }

  #next(): void {
    this.#hasBegun = false;
    while (this.#waiting.size > 0 && this.#hasTime()) {
      const [line] = this.#waiting;
      this.#waiting.delete(line);
      if (line.step()) this.#waiting.add(line);
    }
  }
}

/** The work of one connection, in its order. */
export class TurnLine {
  readonly #hasTime: () => boolean;
  readonly #waits: () => void;
  readonly #steps: (() => void)[] = [];

  /** @param waits Called when work waits. */
  constructor(hasTime: () => boolean, waits: () => void) {
    this.#hasTime = hasTime;
    this.#waits = waits;
  }

  /** Does a piece of work: at once, or in a later turn. @returns What it returns. */
  run<T>(work: () => T | Promise<T>): T | Promise<T> {
    if (this.#steps.length === 0 && this.#hasTime()) return work();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#steps.push(() => {
      try {
        resolve(work());
      } catch (error) {
        reject(error);
      }
    });
    this.#waits();
    return promise;
  }

  /** Does the first piece that waits. @returns Whether more of them wait. */
  step(): boolean {
    this.#steps.shift()?.();
    return this.#steps.length > 0;
  }
}
