/**
 * The data path of a device with `UBLK_F_NEED_GET_DATA`. The driver first announces a WRITE without
 * data. Then we know its offset, and tell the kernel where to copy the data.
 *
 * This makes it safe to give the kernel addresses in a backend's own memory, so that user space
 * copies nothing. The driver uses the address of a COMMIT_AND_FETCH twice: it copies this READ's
 * data from there, and it would copy the data of the tag's next WRITE to there. Without
 * NEED_GET_DATA the second copy would corrupt the disk.
 *
 * @module
 */

import { EIO } from "../uapi/errno.ts";
import { UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { DataPath, Handler, Places, SlotPlaces } from "./data_path.ts";
import { LOG_ERROR } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import type { Slots } from "./slots.ts";

// V8 inlines constants of this module. It loads and checks an imported one on each use.
const WRITE = UBLK_IO_OP_WRITE;

/** The data path that chooses a place for each request once its offset is known. */
export class GetDataPath implements DataPath {
  readonly commands: SlotPlaces;
  readonly #slots: Slots;
  readonly #handler: Handler;
  readonly #places: Places & SlotPlaces;
  readonly #log: LogWriter;
  readonly #expectedBytes: Float64Array<ArrayBuffer>;

  /** Uses the places; the caller keeps ownership. */
  constructor(slots: Slots, handler: Handler, places: Places & SlotPlaces, log: LogWriter) {
    this.#slots = slots;
    this.#handler = handler;
    this.#places = places;
    this.#log = log;
    this.#expectedBytes = new Float64Array(slots.count);
    this.commands = places;
  }

  request(slot: number): void {
    const slots = this.#slots;
    if ((slots.opFlags(slot) & 0xff) === WRITE) return this.#dataArrived(slot);
    if (slots.timed) slots.begin(slot);
    if (!this.#places.locate(slot)) return slots.answer(slot, -EIO);
    this.#handler.handle(slot, false);
  }

  needData(slot: number): void {
    const slots = this.#slots;
    if (slots.timed) slots.begin(slot);
    // The driver accepts only GET_DATA now. If there is no place for the data, the address points
    // to a harmless one, and the answer is an error.
    const bytes = this.#places.locate(slot) ? slots.bytes(slot) : NOWHERE;
    this.#expectedBytes[slot] = bytes;
    slots.getData(slot);
  }

  // On this path a WRITE is announced through needData, and handled once its data has arrived. We
  // tell that from the operation, not from the command that completed: if the copy finds no memory
  // at all, the driver takes the WRITE off the tag, and completes the GET_DATA that it still holds
  // with the tag's next request (`ublk_start_io` and `ublk_get_data`).
  #dataArrived(slot: number): void {
    const slots = this.#slots;
    const bytes = slots.bytes(slot);
    const expected = this.#expectedBytes[slot];
    this.#expectedBytes[slot] = 0;
    // A copy that stops half way (no memory for a page) reports success but shrinks the length in
    // the descriptor, so read that again.
    if (bytes === expected) return this.#handler.handle(slot, false);
    if (expected !== NOWHERE) {
      this.#log.text(
        LOG_ERROR,
        `queue ${slots.queue(slot)} tag ${slots.tag(slot)}: the kernel copied ${bytes} of ` +
          `${expected} bytes; is memory exhausted?`,
      );
    }
    slots.answer(slot, -EIO);
  }

  finish(slot: number, result: number): void {
    this.#slots.answer(slot, result);
  }

  [Symbol.dispose](): void {}
}

/** A length that no request has. */
const NOWHERE = -1;
