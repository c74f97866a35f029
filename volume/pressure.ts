/**
 * How a journal that fills up slows writes down, so that they do not stop all at once: from half on,
 * each batch waits a little before it is closed, the longer the fuller the journal is. Clients that
 * wait for answers collect more in the meantime, so that what is written is larger and rarer. Those
 * that fill batches by themselves wait for each of them.
 *
 * @module
 */

import type { EngineHost } from "../disk/engine.ts";
import { lookUsOf } from "./sizes.ts";
import { PAUSE, tokenOf } from "./tokens.ts";

/** The part of the journal that is used without a wait. */
const FREE = 0.5;
/** The wait of a batch when the journal is all but full, in microseconds. */
const LONGEST_US = 20_000;
/** Time between two looks at a full journal, in microseconds. */
const LOOK_US = 500_000;

/** Which pause has ended: they are told apart by these numbers. */
export const SLOWED = 1;
/** A look at a full journal is due. */
export const LOOK = 2;

/** Slows writes down. */
export class Pressure {
  readonly #host: EngineHost;
  readonly #waitUs: number;
  /** A batch waits. */
  #isWaiting = false;
  /** One has waited long enough. */
  #hasWaited = false;
  #looks = false;
  /** Since when the journal has been full; -1 if it is not. */
  #fullUs = -1;
  /** When the journal was full last, by the host's clock in microseconds. */
  nowUs = 0;

  /** @param waitUs How long a full journal makes writes wait, in microseconds. */
  constructor(host: EngineHost, waitUs: number) {
    this.#host = host;
    this.#waitUs = waitUs;
  }

  /** Whether the batch that collects may be closed, with so much of the journal in use (0 to 1). */
  mayClose(used: number): boolean {
    if (this.#isWaiting) return false;
    if (used <= FREE || this.#hasWaited) {
      this.#hasWaited = false;
      return true;
    }
    const fill = Math.min(1, (used - FREE) / (1 - FREE));
    this.#isWaiting = true;
    this.#host.timeout(1 + Math.round(fill * fill * LONGEST_US), tokenOf(PAUSE, SLOWED));
    return false;
  }

  /** Whether the journal has been full for so long that writes are to fail. */
  isOverdue(isFull: boolean): boolean {
    if (!isFull) {
      this.#fullUs = -1;
      return false;
    }
    const now = this.nowUs = this.#host.nowUs();
    if (this.#fullUs < 0) this.#fullUs = now;
    if (now - this.#fullUs >= this.#waitUs) return true;
    if (!this.#looks && this.#waitUs < Infinity) {
      this.#looks = true;
      this.#host.timeout(lookUsOf(this.#waitUs, LOOK_US), tokenOf(PAUSE, LOOK));
    }
    return false;
  }

  /** A pause has ended. */
  ended(which: number): void {
    if (which === LOOK) this.#looks = false;
    else {
      this.#isWaiting = false;
      this.#hasWaited = true;
    }
  }
}
