/**
 * How far long work has come, on a terminal. Elsewhere nothing is shown: a log is no place for it.
 *
 * @module
 */

import { STDERR_TERMINAL } from "../program/print.ts";

const PERIOD_MS = 200;
/** Work that is done sooner is not worth a line. */
const PATIENCE_MS = 500;

/** Where the text goes. */
export interface ProgressOutput {
  /** Whether somebody looks at it. */
  isTerminal(): boolean;
  /** Writes all of it. */
  writeSync(bytes: Uint8Array): number;
}

/** Work in another thread, which keeps two numbers up to date: what is done, and of how much. */
export class Progress {
  /** Where it writes them: two numbers, as of a `Float64Array`. */
  readonly memory: SharedArrayBuffer = new SharedArrayBuffer(2 * Float64Array.BYTES_PER_ELEMENT);
  readonly #words = new Float64Array(this.memory);
  readonly #what: string;
  readonly #output: ProgressOutput;

  /** Of work that is called, in a few words, `what`. */
  constructor(what: string, output: ProgressOutput = STDERR_TERMINAL) {
    this.#what = what;
    this.#output = output;
  }

  /** Shows it, in one line, until the result is disposed; then nothing of it stays. */
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
        // "Erase in line", which every terminal knows.
        if (shown) write("\r\x1b[K");
      },
    };
  }
}
