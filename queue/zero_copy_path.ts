/**
 * The data paths with zero copy: the request's own pages become a buffer of the thread's ring, and
 * what answers hands them on to another file. Nobody in user space sees the bytes.
 *
 * Each slot has the buffer of its number. With `UBLK_F_SUPPORT_ZERO_COPY` the path registers it by
 * a command, linked before the first operation of what answers, and unregisters it before the
 * answer. With `UBLK_F_AUTO_BUF_REG` the driver does both. Where that fails, and the device has
 * both flags, the request comes marked `UBLK_IO_F_NEED_REG_BUF` and is registered by command.
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

/** Which command an operation is. */
const STEP_REGISTER = 0;
const STEP_UNREGISTER = 1;
/** An index that no ring has a buffer for (`IORING_MAX_REG_BUFFERS` is 2^14). */
const NO_BUFFER = 0xffff;

/** The places of requests whose data is in the ring's registered buffers: slot N's in buffer N. */
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

/** What a {@linkcode ZeroCopyPath} works with. */
export interface ZeroCopyParts {
  /** The thread's ring, with a table of as many buffers as there are slots. */
  readonly ring: Ring;
  /** The descriptor of `/dev/ublkcN`. */
  readonly charFd: number;
  /** The thread's slots. */
  readonly slots: Slots;
  /** What answers. */
  readonly handler: Handler;
  /** The most SQEs that one request's first operations take. */
  readonly operations: number;
  /** Who registers: this path, the driver, or this path after the driver was made to fail. */
  readonly registration: "command" | "automatic" | "fallback";
  /** The log channel. */
  readonly log: LogWriter;
}

/** Pages of the request as buffers of the ring. */
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
    // What it cannot register it fails by itself.
    if (this.#byDriver) return this.#handler.handle(slot, false);
    const opFlags = slots.opFlags(slot);
    const byCommand = this.#byCommand || (opFlags & UBLK_IO_F_NEED_REG_BUF) !== 0;
    if (!byCommand || !carriesData(opFlags & 0xff)) return this.#handler.handle(slot, false);
    // One chain, so it must not fall apart between two system calls.
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
    // Its completion is of interest only where it failed.
    sqes[at] = IORING_OP_URING_CMD | ((IOSQE_CQE_SKIP_SUCCESS | link) << 8);
    sqes[at + 1] = this.#charFd;
    sqes[at + 2] = cmdOp;
    sqes[at + 8] = slot;
    sqes[at + 9] = KIND_PATH | (step << 8);
    // struct ublksrv_io_cmd; its address is the number of the buffer.
    sqes[at + 12] = this.#slots.queue(slot) | (this.#slots.tag(slot) << 16);
    sqes[at + 14] = slot;
  }

  /**
   * A command has failed. Where that was a registration, what is linked behind it is cancelled
   * without a completion, since the kernel drops those of the whole chain when one fails that was
   * to be silent (`REQ_F_SKIP_LINK_CQES` in `io_uring/io_uring.h`).
   */
  operationDone(slot: number, result: number, step: number): void {
    const slots = this.#slots;
    const what = step === STEP_REGISTER ? "registering" : "unregistering";
    this.#log.text(
      LOG_ERROR,
      `queue ${slots.queue(slot)} tag ${slots.tag(slot)}: ${what} its pages failed with errno ` +
        `${-result}`,
    );
    // A request that was answered at once waits for nothing any more.
    if (step !== STEP_REGISTER || this.#registered[slot] === 0) return;
    this.#registered[slot] = 0;
    this.#handler.cancelled!(slot);
  }

  [Symbol.dispose](): void {}
}
