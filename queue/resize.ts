/**
 * Orders to resize, carried out in a serving thread.
 *
 * A thread that is blocked in the kernel gets no messages. So the size arrives through the control
 * block, and the result is returned the same way.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { resizeBackend } from "../disk/resize.ts";
import { reportResize, resizeBytes, resizeOrder } from "./control_block.ts";
import { LOG_ERROR } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";

/** Carries out orders to resize the backend, in the backend's thread. */
export class Resizer {
  readonly #backend: Backend;
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #log: LogWriter;
  readonly #mayAwait: boolean;
  #begun: number;

  /** @param mayAwait Whether the thread runs an event loop, so that Promises can settle. */
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

  /** Carries out an order that is new since the last call. Called whenever the thread is woken. */
  look(): void {
    const order = resizeOrder(this.#control);
    if (order === this.#begun) return;
    this.#begun = order;
    const size = resizeBytes(this.#control);
    const tell = (text: string) => this.#log.text(LOG_ERROR, `resize: ${text}`);
    const answer = resizeBackend(this.#backend, size, this.#mayAwait, tell);
    if (typeof answer === "number") return reportResize(this.#control, order, answer);
    answer.then((errno) => reportResize(this.#control, order, errno));
  }
}
