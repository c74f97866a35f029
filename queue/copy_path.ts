/**
 * The plain data path. The kernel copies a WRITE's data into the slot's buffer before it delivers
 * the request, and a READ's data out of that buffer when we answer it.
 *
 * @module
 */

import type { SlotBuffers } from "./buffers.ts";
import type { DataPath, Handler, SlotPlaces } from "./data_path.ts";
import type { Slots } from "./slots.ts";

/** The data path with one buffer per slot, whose address the kernel knows. */
export class CopyPath implements DataPath {
  readonly commands: SlotPlaces;
  readonly mayFollow = true;
  readonly #slots: Slots;
  readonly #handler: Handler;

  /** Uses the buffers; the caller keeps ownership. */
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
