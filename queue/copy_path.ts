/**
 * The plain data path: the kernel copies a WRITE's data into the slot's buffer before it hands the
 * request over, and a READ's data out of that buffer when it is answered.
 *
 * @module
 */

import type { SlotBuffers } from "./buffers.ts";
import type { DataPath, Handler, SlotPlaces } from "./data_path.ts";
import type { Slots } from "./slots.ts";

/** One buffer per slot, known to the kernel. */
export class CopyPath implements DataPath {
  readonly commands: SlotPlaces;
  readonly mayFollow = true;
  readonly #slots: Slots;
  readonly #handler: Handler;

  /** The buffers stay the caller's. */
  constructor(slots: Slots, handler: Handler, buffers: SlotBuffers) {
    this.#slots = slots;
    this.#handler = handler;
    this.commands = buffers;
  }

  request(slot: number): void {
    if (this.#slots.timed) this.#slots.begin(slot);
    this.#handler.handle(slot, false);
  }

  finish(slot: number, result: number): void {
    this.#slots.answer(slot, result);
  }

  [Symbol.dispose](): void {}
}
