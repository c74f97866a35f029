/**
 * The seam between how a request's data travels and what answers the request.
 *
 * A path is one file that implements {@linkcode DataPath}. The server calls it for each completion;
 * it calls the backend and answers through the {@linkcode Slots}. Nothing else knows which path
 * carries a device.
 *
 * @module
 */

/** How requests and their data get from the kernel to the backend and back. */
export interface DataPath extends Disposable {
  /**
   * The address of each slot's data, for whatever command is queued next: where a READ's data is,
   * and where the next WRITE's is to land. Zero where the path names no place.
   */
  readonly addresses: Float64Array<ArrayBuffer>;
  /** Requests that the backend has not answered yet. */
  readonly outstanding: number;
  /** The slot has a request, and its data if it is a WRITE. */
  request(slot: number): void;
  /** The slot has a WRITE whose data is still in the kernel (only with `NEED_GET_DATA`). */
  needData(slot: number): void;
  /** An operation that the path queued for the slot's request has completed. */
  operationDone?(slot: number, result: number): void;
  /**
   * Answers with ETIMEDOUT what is older than `deadlineUs` or began before `givenUpUs`; returns how
   * many that were.
   */
  expire(nowUs: number, deadlineUs: number, givenUpUs?: number): number;
}
