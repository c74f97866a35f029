/**
 * Ring methods that pass everything on to another backend's: what wrappers begin with that leave the
 * way through the ring open. Each overrides what it is for.
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
  /** None, even where there is one inside: a wrapper would not hear of the requests to it. */
  readonly plainFd: undefined = undefined;
  /** What is inside. */
  protected readonly inner: RingMethods;

  /** Around the ring methods of another backend. */
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

/** A request that is made once, and filled anew each time. */
export class FilledRequest implements EachOf<RingRequest> {
  op = 0;
  offset = 0;
  length = 0;
  fua = false;
  mayUnmap = false;
  metadataLength = 0;
  state = 0;
}
