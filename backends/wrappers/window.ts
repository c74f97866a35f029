/**
 * A part of a disk as a disk: the common part of `offset` and `partition`. Requests that bypass the
 * methods still can: their offsets are shifted too.
 *
 * @module
 */

import type {
  Answer,
  Backend,
  RingMethods,
  RingOperations,
  RingRequest,
  WriteOptions,
} from "../../disk/backend.ts";
import { shifted } from "../../disk/device_limits.ts";
import { Passing } from "../../disk/passing.ts";
import { FilledRequest, PassingRing } from "../../disk/passing_ring.ts";

/** The part from `start` on, of `length` bytes or up to the end. */
export class Window extends Passing {
  readonly #start: number;
  readonly #length: number | undefined;

  /** Makes the part. Start and length must be whole blocks within the disk. */
  constructor(inner: Backend, start: number, length?: number) {
    super(inner, {
      ring: inner.ring && new ShiftedRing(inner.ring, start),
      address: inner.address === undefined ? undefined : inner.address + start,
    });
    this.#start = start;
    this.#length = length;
    this.topology = inner.topology && shifted(inner.topology, start, this.blockSize);
    this.extentAt = inner.extentAt &&
      ((offset, bytes) => inner.extentAt!(start + offset, bytes));
    this.trim = inner.trim && ((offset, bytes) => inner.trim!(start + offset, bytes));
    this.writeZeroes = inner.writeZeroes &&
      ((offset, bytes, options) => inner.writeZeroes!(start + offset, bytes, options));
    this.readMetadata = inner.readMetadata &&
      ((buffer, offset) => inner.readMetadata!(buffer, start + offset));
    this.writeMetadata = inner.writeMetadata &&
      ((buffer, offset) => inner.writeMetadata!(buffer, start + offset));
    this.resize = length === undefined && inner.resize !== undefined
      ? (size) => inner.resize!(start + size)
      : undefined;
  }

  override get size(): number {
    return this.#length ?? this.inner.size - this.#start;
  }

  override readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    return this.inner.readAt(buffer, this.#start + offset);
  }

  override writeAt(
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    options: WriteOptions,
  ): Answer {
    return this.inner.writeAt(buffer, this.#start + offset, options);
  }
}

class ShiftedRing extends PassingRing {
  readonly #start: number;
  /**
   * The requests that the inner disk sees, by request. A thread reuses the same few requests, one per
   * slot.
   */
  readonly #shifted = new WeakMap<RingRequest, FilledRequest>();

  constructor(inner: RingMethods, start: number) {
    super(inner);
    this.#start = start;
  }

  override prepare(request: RingRequest, ring: RingOperations): number | void {
    let shifted = this.#shifted.get(request);
    if (shifted === undefined) this.#shifted.set(request, shifted = new FilledRequest());
    shifted.op = request.op;
    shifted.offset = this.#start + request.offset;
    shifted.length = request.length;
    shifted.fua = request.fua;
    shifted.mayUnmap = request.mayUnmap;
    shifted.metadataLength = request.metadataLength;
    shifted.state = 0;
    return this.inner.prepare(shifted, ring);
  }

  override complete(request: RingRequest, result: number, ring: RingOperations): number | void {
    return this.inner.complete(this.#shifted.get(request)!, result, ring);
  }
}
