/**
 * Changes a backend's size while its thread serves.
 *
 * A thread that is blocked in the kernel gets no messages, so the size comes through the control
 * block, and its success goes back the same way.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { EIO } from "../uapi/errno.ts";
import { thrownText } from "../uapi/error.ts";
import { reportResize, resizeBytes, resizeOrder } from "./control_block.ts";
import { errnoOf } from "../disk/errno_of.ts";
import { LOG_ERROR } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";

/** Carries out orders to resize, in the backend's thread. */
export class Resizer {
  readonly #backend: Backend;
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #log: LogWriter;
  readonly #mayAwait: boolean;
  #begun: number;

  /** @param mayAwait Whether the thread runs an event loop, in which a Promise could settle. */
  constructor(
    backend: Backend,
    control: Int32Array<SharedArrayBuffer>,
    log: LogWriter,
    mayAwait: boolean,
  ) {
    this.#backend = backend;
    this.#control = control;
    this.#log = log;
    this.#mayAwait = mayAwait;
    this.#begun = resizeOrder(control);
  }

  /** Carries out what was ordered since the last look. Called whenever the thread is woken. */
  look(): void {
    const order = resizeOrder(this.#control);
    if (order === this.#begun) return;
    this.#begun = order;
    try {
      // Absent where a Worker's backend differs from the first one's; EIO as of any other fault.
      const answer = this.#backend.resize!(resizeBytes(this.#control));
      if (!(answer instanceof Promise)) return this.#report(order, 0);
      if (!this.#mayAwait) {
        // Nothing would ever run its continuation, but a rejection must not end the thread either.
        answer.catch(() => {});
        return this.#fail(order, "a synchronous backend's resize returned a Promise");
      }
      answer.then(() => this.#report(order, 0), (error) => this.#fail(order, error));
    } catch (error) {
      this.#fail(order, error);
    }
  }

  #fail(order: number, error: unknown): void {
    this.#log.text(LOG_ERROR, `resize: ${thrownText(error)}`);
    this.#report(order, errnoOf(error) || EIO);
  }

  #report(order: number, errno: number): void {
    reportResize(this.#control, order, errno);
  }
}
