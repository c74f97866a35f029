/**
 * The interfaces between the parts of a serving thread.
 *
 * Requests arrive and leave through the `Slots`. A {@linkcode DataPath} moves their data, a
 * {@linkcode Places} locates it, and a {@linkcode Handler} answers. A path is one file and knows no
 * handler. A handler is one file and does not depend on the path.
 *
 * @module
 */

import type { HeldPromise } from "../disk/async_requests.ts";

/** The data's location, as told to the driver in a slot's commands. Read for every command. */
export interface SlotPlaces {
  /**
   * Each slot's address for its next command. The driver reads a READ's data from there, and writes
   * the next WRITE's data there. Zero if the data path uses no addresses. An array rather than an
   * argument, because addresses exceed 32 bits, and V8 allocates such a number on every call.
   */
  readonly addresses: Float64Array<ArrayBuffer>;
  /**
   * Each slot's `struct ublk_auto_buf_reg` for automatic registration: the index in the low 16
   * bits, `UBLK_AUTO_BUF_REG_*` above.
   */
  readonly autoBuffers?: Uint32Array<ArrayBuffer>;
  /** Each address is instead the sector at which the slot's zone append landed. */
  readonly areSectors?: boolean;
}

/**
 * Handles completions of a batch, up to the first one that it does not know.
 *
 * @param nth The index in the batch of the first completion to handle.
 * @param count The number of completions in the batch.
 * @returns The index of the first completion that was not handled, or `count`.
 */
export type Express = (nth: number, count: number) => number;

/** The locations of requests' data, per slot. */
export interface Places extends Disposable {
  /**
   * Determines the place of the current request's data. Called once per request, before data moves.
   *
   * @returns Whether a place exists. A request beyond the end of the disk has none.
   */
  locate(slot: number): boolean;
  /** The address of the data; in a registered buffer, the offset from its start. */
  address(slot: number): number;
  /** The index of the registered buffer that holds the data, or -1 for plain memory. */
  bufferIndex(slot: number): number;
  /** The data as bytes. Not available for registered buffers, which user space cannot see. */
  view(slot: number, bytes: number): Uint8Array<ArrayBuffer>;
}

/** A way to move requests' data from the kernel to the handler, and back. */
export interface DataPath extends Disposable {
  /** The data's location for the slots' commands. */
  readonly commands: SlotPlaces;
  /**
   * The path does nothing between an operation on the data and the answer, so both may be queued at
   * once (see `PlainTransfers`).
   */
  readonly mayFollow?: boolean;
  /** Takes a new request. If the kernel copies, a WRITE's data is already in place. */
  request(slot: number): void;
  /** Takes a WRITE whose data is still in the kernel (only with `NEED_GET_DATA`). */
  needData?(slot: number): void;
  /** Takes the completion of an operation that the path queued for the slot's request. */
  operationDone?(slot: number, result: number, step: number): void;
  /** Takes the answer: bytes done or a negative errno. A READ's data is in place. */
  finish(slot: number, result: number): void;
}

/** Answers requests, through {@linkcode DataPath.finish}. */
export interface Handler extends Disposable {
  /** Number of requests handled but not yet answered. */
  readonly outstanding: number;
  /** The Promises of requests, if the handler may have some. */
  readonly promises?: HeldPromise;
  /** The handler needs every request's start time, so all requests must be timed. */
  readonly timesAll?: boolean;
  /**
   * Handles the slot's request. A WRITE's data is in place.
   *
   * @param linked The SQEs queued now must continue the previous SQE's chain.
   */
  handle(slot: number, linked: boolean): void;
  /** Notes that the ring is ready, before the first request. May queue operations. */
  start?(): void;
  /**
   * Takes the completion of an operation that the backend queued.
   *
   * @param id The operation's user data: the slot of its request, or a number of the handler's own.
   */
  operationDone?(id: number, result: number): void;
  /** Notes that all completions of a batch have been handled. Comes before the ring is entered. */
  batchEnd?(): void;
  /** Takes the completion of `KIND_WOKEN`. */
  woken?(result: number): void;
  /**
   * Cancels the operations that outlive their requests, once there are no more requests.
   *
   * @returns The number of operations still under way.
   */
  end?(): number;
  /**
   * Notes that the SQE before the `linked` operations has failed. None of them ran, and none will
   * complete (see `ZeroCopyPath`).
   */
  cancelled?(slot: number): void;
  /** The fast path that bypasses this interface for simple requests, if there is one. */
  express?(): Express | undefined;
  /** Notes that the device is to stop. See `givenUpUs` of {@linkcode expire}. */
  drain?(): void;
  /** Notes that the kernel has returned the slot, so none of its answers is under way. */
  returnedByKernel?(slot: number): void;
  /**
   * Answers requests older than `deadlineUs`, or begun before `givenUpUs`, with ETIMEDOUT, and
   * returns their number.
   */
  expire(nowUs: number, deadlineUs: number, givenUpUs?: number): number;
}
