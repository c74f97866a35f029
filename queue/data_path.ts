/**
 * The seams of a serving thread.
 *
 * Requests arrive and leave through the {@linkcode Slots}. A {@linkcode DataPath} carries their
 * data; a {@linkcode Places} knows where it lies; a {@linkcode Handler} answers. A path is one file
 * and knows nothing of what answers, a handler is one file and does not ask which path carries it.
 *
 * @module
 */

/** What the commands of a slot tell the driver about its data. Read at each command. */
export interface SlotPlaces {
  /**
   * Each slot's address for whatever command is queued next: where a READ's data is, and where the
   * next WRITE's is to land. Zero where the data path names none. A place and not an argument,
   * because addresses are beyond 32 bits, and V8 allocates for such a number whenever it is passed
   * to a function.
   */
  readonly addresses: Float64Array<ArrayBuffer>;
  /**
   * Each slot's `struct ublk_auto_buf_reg` for automatic registration: the index in the low 16
   * bits, `UBLK_AUTO_BUF_REG_*` above.
   */
  readonly autoBuffers?: Uint32Array<ArrayBuffer>;
  /** An address is the sector at which the slot's zone append landed. */
  readonly areSectors?: boolean;
}

/**
 * Handles completions of a batch as long as they are what it knows.
 *
 * @param nth The number in the batch of the first to look at.
 * @param count How many the batch has.
 * @returns The number of the first that is something else, or `count`.
 */
export type Express = (nth: number, count: number) => number;

/** Where the data of each slot's request is, for whatever works on it. */
export interface Places extends Disposable {
  /**
   * Settles where the data of the request at hand is. Called once for each, before anything moves.
   *
   * @returns Whether there is such a place: a request beyond the end of a disk has none.
   */
  locate(slot: number): boolean;
  /** The address of the data; with a {@linkcode bufferIndex}, the distance from its start. */
  address(slot: number): number;
  /** The number of the ring's registered buffer that the data is in, or -1 for plain memory. */
  bufferIndex(slot: number): number;
  /** The data as bytes. Not for registered buffers, which nobody in user space can see. */
  view(slot: number, bytes: number): Uint8Array<ArrayBuffer>;
}

/** How requests' data gets from the kernel to what answers, and back. */
export interface DataPath extends Disposable {
  /** What the slots' commands tell the driver. */
  readonly commands: SlotPlaces;
  /**
   * Between an operation on the data and the answer nothing is to be done, so that the kernel may be
   * told of both at once (see `PlainTransfers`).
   */
  readonly mayFollow?: boolean;
  /** The slot has a request, and on paths with a copy by the kernel its data if it is a WRITE. */
  request(slot: number): void;
  /** The slot has a WRITE whose data is still in the kernel (only with `NEED_GET_DATA`). */
  needData?(slot: number): void;
  /** An operation that the path queued for the slot's request has completed. */
  operationDone?(slot: number, result: number, step: number): void;
  /** The request has its answer: bytes done or a negative errno. A READ's data is in its place. */
  finish(slot: number, result: number): void;
}

/** What answers requests, through {@linkcode DataPath.finish}. */
export interface Handler extends Disposable {
  /** Requests that have been handled and not answered yet. */
  readonly outstanding: number;
  /** It goes by when each request came: all are to be timed. */
  readonly timesAll?: boolean;
  /**
   * Works on the slot's request. A WRITE's data is in its place.
   *
   * @param linked What it queues now must follow the SQE before, as one chain.
   */
  handle(slot: number, linked: boolean): void;
  /** An operation that the backend queued for the slot's request has completed. */
  operationDone?(slot: number, result: number): void;
  /**
   * The SQE before what was queued as `linked` has failed. None of it was done, and no completion
   * will tell (see `ZeroCopyPath`).
   */
  cancelled?(slot: number): void;
  /** The lane past all this for requests that need none of it, if there is one. */
  express?(): Express | undefined;
  /** The kernel has given back the slot: no answer of it is on its way any more. */
  gone?(slot: number): void;
  /**
   * Answers with ETIMEDOUT what is older than `deadlineUs` or began before `givenUpUs`; returns how
   * many that were.
   */
  expire(nowUs: number, deadlineUs: number, givenUpUs?: number): number;
}
