/**
 * The data path of a device with `UBLK_F_USER_COPY`. The server copies the data itself, by reading
 * and writing the char device at an offset that names the request. It chooses when and where. This
 * is the only path that carries integrity metadata.
 *
 * The copies are operations on the thread's own ring. (The char device does not promise not to
 * block, so the kernel runs them in a worker thread.)
 *
 * @module
 */

import { bringsData, carriesData, fetchesData } from "../disk/operations.ts";
import { EIO } from "../uapi/errno.ts";
import { fail } from "../uapi/error.ts";
import {
  UBLK_INTEGRITY_FLAG_OFF,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_ZONE_APPEND,
  UBLK_QID_OFF,
  UBLK_TAG_OFF,
  UBLKSRV_IO_BUF_OFFSET,
} from "../uapi/ublk_io.ts";
import type { Ring } from "../uring/ring.ts";
import { prepRead, prepWrite } from "../uring/sqe.ts";
import type { DataPath, Handler, Places, SlotPlaces } from "./data_path.ts";
import { LOG_ERROR } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import type { Metadata } from "./metadata.ts";
import { KIND_PATH, type Slots } from "./slots.ts";
import { dataBytes, type Zones } from "./zones.ts";

/** The copy that an operation makes. */
const STEP_DATA = 0;
const STEP_METADATA = 1;
/** The metadata flag of an offset, as a bit of its high word. */
const METADATA_BIT = 2 ** (UBLK_INTEGRITY_FLAG_OFF - 32);

/** The parts of a {@linkcode UserCopyPath}. */
export interface UserCopyParts {
  /** The thread's ring, with room for an SQE per slot, or two with metadata. */
  readonly ring: Ring;
  /** The descriptor of `/dev/ublkcN`. */
  readonly charFd: number;
  /** The thread's slots. */
  readonly slots: Slots;
  /** The handler, which answers. */
  readonly handler: Handler;
  /** The places of the data. The caller keeps ownership. */
  readonly places: Places;
  /** The integrity metadata of requests. */
  readonly metadata?: Metadata;
  /** The zones of the disk. */
  readonly zones?: Zones;
  /** The log channel. */
  readonly log: LogWriter;
}

/** The data path on which the server copies. */
export class UserCopyPath implements DataPath {
  readonly commands: SlotPlaces;
  readonly #ring: Ring;
  readonly #charFd: number;
  readonly #slots: Slots;
  readonly #handler: Handler;
  readonly #places: Places;
  readonly #metadata: Metadata | undefined;
  readonly #zones: Zones | undefined;
  readonly #log: LogWriter;
  /** Copies under way, per slot. */
  readonly #pending: Uint8Array<ArrayBuffer>;
  readonly #failed: Uint8Array<ArrayBuffer>;

  /** Takes over the parts. */
  constructor(parts: UserCopyParts) {
    this.#ring = parts.ring;
    this.#charFd = parts.charFd;
    this.#slots = parts.slots;
    this.#handler = parts.handler;
    this.#places = parts.places;
    this.#metadata = parts.metadata;
    this.#zones = parts.zones;
    this.#log = parts.log;
    this.#pending = new Uint8Array(parts.slots.count);
    this.#failed = new Uint8Array(parts.slots.count);
    // The driver refuses an address on such a device, unless it is the answer to a zone append.
    const { zones } = parts;
    this.commands = zones === undefined
      ? { addresses: new Float64Array(parts.slots.count) }
      : { addresses: zones.landed, areSectors: true };
  }

  request(slot: number): void {
    const slots = this.#slots;
    if (slots.timed) slots.begin(slot);
    const op = slots.opFlags(slot) & 0xff;
    if (carriesData(op) && !this.#places.locate(slot)) return slots.answer(slot, -EIO);
    if (bringsData(op)) this.#copy(slot, op);
    else this.#handler.handle(slot, false);
  }

  finish(slot: number, result: number): void {
    const op = this.#slots.opFlags(slot) & 0xff;
    if (fetchesData(op) && result > 0) this.#copy(slot, op);
    else this.#answer(slot, op, result);
  }

  #answer(slot: number, op: number, result: number): void {
    if (op !== UBLK_IO_OP_ZONE_APPEND) return this.#slots.answer(slot, result);
    const { landed } = this.#zones!;
    // The block layer reads the sector from the answer even if that is an error.
    if (result < 0) landed[slot] = this.#slots.offset(slot) / 512;
    this.#slots.answer(slot, result);
    landed[slot] = 0;
  }

  #copy(slot: number, op: number): void {
    if (this.#pending[slot] !== 0) fail("the copies for the request before are done");
    this.#failed[slot] = 0;
    this.#pending[slot] = 1;
    this.#queue(slot, op, this.#places.address(slot), dataBytes(this.#slots, slot), STEP_DATA);
    if (this.#metadata === undefined) return;
    const bytes = this.#metadata.length(slot);
    if (bytes === 0) return;
    this.#pending[slot] = 2;
    this.#queue(slot, op, this.#metadata.address(slot), bytes, STEP_METADATA);
  }

  #queue(slot: number, op: number, address: number, bytes: number, step: number): void {
    const slots = this.#slots;
    const offset = UBLKSRV_IO_BUF_OFFSET + slots.queue(slot) * 2 ** UBLK_QID_OFF +
      slots.tag(slot) * 2 ** UBLK_TAG_OFF;
    const kind = KIND_PATH | (step << 8);
    this.#ring.reserve(1);
    // Read a WRITE's data from the device; write a READ's data to it.
    const at = bringsData(op)
      ? prepRead(this.#ring, this.#charFd, address, bytes, offset, slot, kind)
      : prepWrite(this.#ring, this.#charFd, address, bytes, offset, slot, kind);
    if (step === STEP_METADATA) this.#ring.sqes[at + 3] += METADATA_BIT;
  }

  operationDone(slot: number, result: number, step: number): void {
    const slots = this.#slots;
    const expected = step === STEP_DATA ? dataBytes(slots, slot) : this.#metadata!.length(slot);
    if (result !== expected) {
      this.#failed[slot] = 1;
      this.#log.text(
        LOG_ERROR,
        `queue ${slots.queue(slot)} tag ${slots.tag(slot)}: copied ${result} of ${expected} ` +
          `bytes ${step === STEP_DATA ? "of data" : "of metadata"}; answering EIO`,
      );
    }
    if (this.#pending[slot] === 0) fail("a copy is done once");
    if (--this.#pending[slot] > 0) return;
    const op = slots.opFlags(slot) & 0xff;
    if (this.#failed[slot] !== 0) return this.#answer(slot, op, -EIO);
    if (bringsData(op)) this.#handler.handle(slot, false);
    else slots.answer(slot, op === UBLK_IO_OP_READ ? slots.bytes(slot) : this.#zones!.reported);
  }

  [Symbol.dispose](): void {}
}
