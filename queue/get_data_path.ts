/**
 * The data path of a device with `UBLK_F_NEED_GET_DATA`: a WRITE is first announced without data,
 * and only then, knowing its offset, we say where the kernel is to copy it.
 *
 * That is what makes it safe to give the kernel addresses within a backend's own memory, so that
 * nothing is copied in user space. The driver takes the address of a COMMIT_AND_FETCH for two
 * things: it copies this READ's data from there, and it would copy the tag's next WRITE to there.
 * Without NEED_GET_DATA the second would corrupt the disk.
 *
 * @module
 */

import { EIO } from "../uapi/errno.ts";
import { UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { DataPath, Handler, Places, SlotPlaces } from "./data_path.ts";
import { LOG_ERROR } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import type { Slots } from "./slots.ts";

/** A place per request, chosen once its offset is known. */
export class GetDataPath implements DataPath {
  readonly commands: SlotPlaces;
  readonly #slots: Slots;
  readonly #handler: Handler;
  readonly #places: Places & SlotPlaces;
  readonly #log: LogWriter;
  readonly #expectedBytes: Float64Array<ArrayBuffer>;

  /** The places stay the caller's. */
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
    if ((slots.opFlags(slot) & 0xff) === UBLK_IO_OP_WRITE) return this.#dataArrived(slot);
    if (slots.timed) slots.begin(slot);
    if (!this.#places.locate(slot)) return slots.answer(slot, -EIO);
    this.#handler.handle(slot, false);
  }

  needData(slot: number): void {
    const slots = this.#slots;
    if (slots.timed) slots.begin(slot);
    // The driver takes nothing but GET_DATA now. Where there is no place for the data, the places
    // have one that does no harm, and the answer is an error.
    const bytes = this.#places.locate(slot) ? slots.bytes(slot) : NOWHERE;
    this.#expectedBytes[slot] = bytes;
    slots.getData(slot);
  }

  // On this path a WRITE is announced through needData, and handed over once its data has arrived.
  // What tells the two apart is the operation and not which command was completed: a copy that
  // finds no memory at all takes the WRITE off the tag, and the driver then completes the GET_DATA
  // that it still holds with whatever the tag gets next (`ublk_start_io` and `ublk_get_data`).
  #dataArrived(slot: number): void {
    const slots = this.#slots;
    const bytes = slots.bytes(slot);
    const expected = this.#expectedBytes[slot];
    this.#expectedBytes[slot] = 0;
    // A copy that stops half way (no memory for a page) reports success and shrinks the
    // descriptor, so the length is read again.
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
