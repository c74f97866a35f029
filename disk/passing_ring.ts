/**
 * Ring methods that pass everything on to another backend's: the base class for wrappers that keep
 * the ring available. Each wrapper overrides only its own part.
 *
 * @module
 */

import type { RingMethods, RingOperations, RingRequest } from "./backend.ts";
import type { EachOf } from "./passing.ts";

/** Passes all requests on. */
export class PassingRing implements EachOf<RingMethods> {
  readonly operations: number | undefined;
  readonly metadata: boolean | undefined;
  readonly forZeroCopyOnly: boolean | undefined;
  readonly preferZeroCopy: boolean | undefined;
  /** Always undefined: requests to the inner `plainFd` would bypass the wrapper. */
  readonly plainFd: undefined = undefined;
  /** The inner backend's ring methods. */
  protected readonly inner: RingMethods;

  /** Wraps the ring methods of another backend. */
  constructor(inner: RingMethods) {
    this.inner = inner;
    this.operations = inner.operations;
    this.metadata = inner.metadata;
    this.forZeroCopyOnly = inner.forZeroCopyOnly;
    this.preferZeroCopy = inner.preferZeroCopy;
  }

  prepare(request: RingRequest, ring: RingOperations): number | void {
    return this.inner.prepare(request, ring);
  }

  complete(request: RingRequest, result: number, ring: RingOperations): number | void {
    return this.inner.complete(request, result, ring);
  }
}

/** A request object that is made once and reused for each request. */
export class FilledRequest implements EachOf<RingRequest> {
  op = 0;
  offset = 0;
  length = 0;
  fua = false;
  mayUnmap = false;
  metadataLength = 0;
  state = 0;
}
