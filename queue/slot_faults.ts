/**
 * Reports of a backend's faults, in the log of the serving thread.
 *
 * @module
 */

import type { FaultReport } from "../disk/calls.ts";
import { LOG_ERROR, LOG_WARN } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import type { Slots } from "./slots.ts";

/** Logs a backend's faults, and identifies requests by their slots. */
export class SlotFaults implements FaultReport {
  readonly #slots: Slots;
  readonly #log: LogWriter;

  /** Reports for the slots of one thread. */
  constructor(slots: Slots, log: LogWriter) {
    this.#slots = slots;
    this.#log = log;
  }

  failed(slot: number, text: string): void {
    const slots = this.#slots;
    this.#log.text(
      LOG_WARN,
      `queue ${slots.queue(slot)} tag ${slots.tag(slot)}: operation ${
        slots.opFlags(slot) & 0xff
      } ` +
        `at ${slots.offset(slot)}: ${text}`,
    );
  }

  broken(text: string): void {
    this.#log.text(LOG_ERROR, text);
  }
}
