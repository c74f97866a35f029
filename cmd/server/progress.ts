/**
 * A progress display for long work, on a terminal. It shows nothing elsewhere: it does not belong
 * in a log.
 *
 * @module
 */

import { STDERR_TERMINAL } from "../program/print.ts";

const PERIOD_MS = 200;
/** Shorter work shows no progress. */
const PATIENCE_MS = 500;

/** The destination of the text. */
export interface ProgressOutput {
  /** Whether it is a terminal. */
  isTerminal(): boolean;
  /** Writes all of the bytes. */
  writeSync(bytes: Uint8Array): number;
}

/**
 * Progress of work in another thread, which updates two numbers: the amount done, and the total.
 */
export class Progress {
  /** The memory of the two numbers, laid out as a `Float64Array`. */
  readonly memory: SharedArrayBuffer = new SharedArrayBuffer(2 * Float64Array.BYTES_PER_ELEMENT);
  readonly #words = new Float64Array(this.memory);
  readonly #what: string;
  readonly #output: ProgressOutput;

  /** Creates the progress of work that is described, in a few words, by `what`. */
  constructor(what: string, output: ProgressOutput = STDERR_TERMINAL) {
    this.#what = what;
    this.#output = output;
  }

  /** Shows the progress in one line until the result is disposed of; then the line is erased. */
  show(): Disposable {
    if (!this.#output.isTerminal()) return { [Symbol.dispose]() {} };
    const write = (text: string) => this.#output.writeSync(new TextEncoder().encode(text));
    const startMs = performance.now();
    let shown = false;
    const timer = setInterval(() => {
      const [done, all] = this.#words;
      if (all === 0 || performance.now() - startMs < PATIENCE_MS) return;
      shown = true;
      write(`\r${this.#what}: ${Math.floor(done / all * 100)} %`);
    }, PERIOD_MS);
    return {
      [Symbol.dispose]() {
        clearInterval(timer);
        // "Erase in line", which every terminal supports.
        if (shown) write("\r\x1b[K");
      },
    };
  }
}
