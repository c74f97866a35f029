/**
 * The data paths with zero copy. The request's own pages become a buffer of the thread's ring, and
 * the handler passes them on to another file. User space never sees the bytes.
 *
 * Slot N uses buffer N. With `UBLK_F_SUPPORT_ZERO_COPY` the path registers it by a command, linked
 * before the handler's first operation, and unregisters it before the answer. With
 * `UBLK_F_AUTO_BUF_REG` the driver does both. If that fails and the device has both flags, the
 * request arrives marked `UBLK_IO_F_NEED_REG_BUF`, and the path registers it by command.
 *
 * @module
 */

import { carriesData } from "../disk/operations.ts";
import { assert, fail } from "../uapi/error.ts";
import {
  IORING_OP_URING_CMD,
  IOSQE_CQE_SKIP_SUCCESS,
  IOSQE_IO_LINK,
} from "../uapi/io_uring_sqe.ts";
import {
  UBLK_AUTO_BUF_REG_FALLBACK,
  UBLK_U_IO_REGISTER_IO_BUF,
  UBLK_U_IO_UNREGISTER_IO_BUF,
} from "../uapi/ublk_buf.ts";
import { UBLK_IO_F_NEED_REG_BUF } from "../uapi/ublk_io.ts";
import type { Ring } from "../uring/ring.ts";
import { clear } from "../uring/sqe.ts";
import type { DataPath, Handler, Places, SlotPlaces } from "./data_path.ts";
import { LOG_ERROR } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import { KIND_PATH, type Slots } from "./slots.ts";

/** The command of a completion. */
const STEP_REGISTER = 0;
const STEP_UNREGISTER = 1;
/** A buffer index that is out of range for every ring (`IORING_MAX_REG_BUFFERS` is 2^14). */
const NO_BUFFER = 0xffff;

/** Places in the ring's registered buffers: the data of slot N is in buffer N. */
export class RegisteredBuffers implements Places {
  locate(): boolean {
    return true;
  }

  address(): number {
    return 0;
  }

  bufferIndex(slot: number): number {
    return slot;
  }

  view(): never {
    fail("nobody in user space sees registered pages");
  }

  [Symbol.dispose](): void {}
}

/** The parts of a {@linkcode ZeroCopyPath}. */
export interface ZeroCopyParts {
  /** The thread's ring. Its buffer table has one entry per slot. */
  readonly ring: Ring;
  /** The descriptor of `/dev/ublkcN`. */
  readonly charFd: number;
  /** The thread's slots. */
  readonly slots: Slots;
  /** The handler, which answers. */
  readonly handler: Handler;
  /** The maximum number of SQEs for a request's first operations. */
  readonly operations: number;
  /** The registering side: this path, the driver, or this path after a forced driver failure. */
  readonly registration: "command" | "automatic" | "fallback";
  /** The log channel. */
  readonly log: LogWriter;
}

/** The data path on which the request's pages are a buffer of the ring. */
export class ZeroCopyPath implements DataPath {
  readonly commands: SlotPlaces;
  readonly mayFollow: boolean;
  readonly #ring: Ring;
  readonly #charFd: number;
  readonly #slots: Slots;
  readonly #handler: Handler;
  readonly #operations: number;
  readonly #byCommand: boolean;
  readonly #byDriver: boolean;
  readonly #log: LogWriter;
  /** Slots whose buffer this path has registered. */
  readonly #registered: Uint8Array<ArrayBuffer>;

  /** Takes over the parts. */
  constructor(parts: ZeroCopyParts) {
    assert(parts.operations > 0, "what answers has operations");
    assert(parts.slots.count <= NO_BUFFER, "a slot's buffer fits 16 bits, and is none that is not");
    this.#ring = parts.ring;
    this.#charFd = parts.charFd;
    this.#slots = parts.slots;
    this.#handler = parts.handler;
    this.#operations = parts.operations;
    this.#byCommand = parts.registration === "command";
    this.mayFollow = !this.#byCommand;
    this.#byDriver = parts.registration === "automatic";
    this.#log = parts.log;
    const { count } = parts.slots;
    this.#registered = new Uint8Array(count);
    const fails = parts.registration === "fallback";
    const autoBuffers = Uint32Array.from(
      { length: count },
      (_, slot) => fails ? NO_BUFFER | (UBLK_AUTO_BUF_REG_FALLBACK << 16) : slot,
    );
    // The driver refuses an address on such a device.
    const addresses = new Float64Array(count);
    this.commands = this.#byCommand ? { addresses } : { addresses, autoBuffers };
  }

  request(slot: number): void {
    const slots = this.#slots;
    if (slots.timed) slots.begin(slot);
    // The driver itself fails requests that it cannot register.
    if (this.#byDriver) return this.#handler.handle(slot, false);
    const opFlags = slots.opFlags(slot);
    const byCommand = this.#byCommand || (opFlags & UBLK_IO_F_NEED_REG_BUF) !== 0;
    if (!byCommand || !carriesData(opFlags & 0xff)) return this.#handler.handle(slot, false);
    // The chain must not be split between two system calls.
    this.#ring.reserve(this.#operations + 1);
    this.#command(UBLK_U_IO_REGISTER_IO_BUF, slot, IOSQE_IO_LINK, STEP_REGISTER);
    if (this.#registered[slot] !== 0) fail("the buffer of the request before is unregistered");
    this.#registered[slot] = 1;
    this.#handler.handle(slot, true);
  }

  finish(slot: number, result: number): void {
    if (this.#registered[slot] !== 0) {
      this.#registered[slot] = 0;
      this.#command(UBLK_U_IO_UNREGISTER_IO_BUF, slot, 0, STEP_UNREGISTER);
    }
    this.#slots.answer(slot, result);
  }

  #command(cmdOp: number, slot: number, link: number, step: number): void {
    const at = this.#ring.place();
    const sqes = this.#ring.sqes;
    clear(sqes, at, at + 16);
    // Only a failure needs a completion.
    sqes[at] = IORING_OP_URING_CMD | ((IOSQE_CQE_SKIP_SUCCESS | link) << 8);
    sqes[at + 1] = this.#charFd;
    sqes[at + 2] = cmdOp;
    sqes[at + 8] = slot;
    sqes[at + 9] = KIND_PATH | (step << 8);
    // struct ublksrv_io_cmd. Its address field holds the buffer's index.
    sqes[at + 12] = this.#slots.queue(slot) | (this.#slots.tag(slot) << 16);
    sqes[at + 14] = slot;
  }

  /**
   * Handles a failed command. If it was a registration, the operations linked behind it are
   * cancelled without completions: when a silent SQE fails, the kernel drops the completions of its
   * whole chain (`REQ_F_SKIP_LINK_CQES` in `io_uring/io_uring.h`).
   */
  operationDone(slot: number, result: number, step: number): void {
    const slots = this.#slots;
    const what = step === STEP_REGISTER ? "registering" : "unregistering";
    this.#log.text(
      LOG_ERROR,
      `queue ${slots.queue(slot)} tag ${slots.tag(slot)}: ${what} its pages failed with errno ` +
        `${-result}`,
    );
    // A request that was answered at once has nothing left to cancel.
    if (step !== STEP_REGISTER || this.#registered[slot] === 0) return;
    this.#registered[slot] = 0;
    this.#handler.cancelled!(slot);
  }

  [Symbol.dispose](): void {}
}
