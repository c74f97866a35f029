/**
 * A backend that observes each request of another one, and its outcome: the common part of `stats` and
 * `log`. Requests through the ring are observed there.
 *
 * @module
 */

import { EIO } from "../../uapi/errno.ts";
import { monotonicUs } from "../../uring/libc.ts";
import type {
  Answer,
  Backend,
  RingMethods,
  RingOperations,
  RingRequest,
  WriteOptions,
} from "../../disk/backend.ts";
import { isLater } from "../../disk/answers.ts";
import { claimedErrno } from "../../disk/errno_of.ts";
import { Passing, sameExtents } from "../../disk/passing.ts";
import { PassingRing } from "../../disk/passing_ring.ts";
import { OPERATION_NAMES, OPERATION_NUMBERS } from "../../disk/operations.ts";

/** The index in {@linkcode OPERATION_NAMES} of each `UBLK_IO_OP_*`. */
const OP_INDEX = new Int8Array(256).fill(-1);
OPERATION_NAMES.forEach((name, index) => OP_INDEX[OPERATION_NUMBERS[name]] = index);

const [READ, WRITE, FLUSH, TRIM, ZERO] = OPERATION_NAMES.keys();

/** The observer of requests. */
export interface Observer {
  /**
   * Called when a request has its answer.
   *
   * @param op The index in {@linkcode OPERATION_NAMES}.
   * @param us The duration in microseconds.
   * @param errno 0, or the positive errno of its failure.
   */
  seen(
    op: number,
    offset: number,
    length: number,
    fua: boolean,
    us: number,
    errno: number,
  ): void;
}

/** The same disk, observed. It does not offer direct access to its memory, which cannot be observed. */
export class Observing extends Passing {
  readonly #observer: Observer;

  /** Observes a disk; the caller still owns the observer. */
  constructor(inner: Backend, observer: Observer) {
    super(inner, { ring: inner.ring && new ObservedRing(inner.ring, observer) });
    this.#observer = observer;
    this.extentAt = sameExtents(inner);
    this.flush = inner.flush &&
      (() => this.#look(FLUSH, 0, 0, false, () => inner.flush!()));
    this.trim = inner.trim &&
      ((offset, length) =>
        this.#look(TRIM, offset, length, false, () => inner.trim!(offset, length)));
    this.writeZeroes = inner.writeZeroes &&
      ((offset, length, how) =>
        this.#look(ZERO, offset, length, false, () => inner.writeZeroes!(offset, length, how)));
  }

  override readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    const startUs = monotonicUs();
    let answer: Answer;
    try {
      answer = this.inner.readAt(buffer, offset);
    } catch (thrown) {
      this.#failed(READ, offset, buffer.length, false, startUs, thrown);
    }
    return this.#answered(READ, offset, buffer.length, false, startUs, answer);
  }

  override writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number, how: WriteOptions): Answer {
    const startUs = monotonicUs();
    let answer: Answer;
    try {
      answer = this.inner.writeAt(buffer, offset, how);
    } catch (thrown) {
      this.#failed(WRITE, offset, buffer.length, how.fua, startUs, thrown);
    }
    return this.#answered(WRITE, offset, buffer.length, how.fua, startUs, answer);
  }

  #look(op: number, offset: number, length: number, fua: boolean, work: () => Answer): Answer {
    const startUs = monotonicUs();
    let answer: Answer;
    try {
      answer = work();
    } catch (thrown) {
      this.#failed(op, offset, length, fua, startUs, thrown);
    }
    return this.#answered(op, offset, length, fua, startUs, answer);
  }

  #answered(
    op: number,
    offset: number,
    length: number,
    fua: boolean,
    startUs: number,
    answer: Answer,
  ): Answer {
    if (isLater(answer)) {
      return answer.then(
        () => this.#observer.seen(op, offset, length, fua, monotonicUs() - startUs, 0),
        (thrown) => this.#failed(op, offset, length, fua, startUs, thrown),
      );
    }
    this.#observer.seen(op, offset, length, fua, monotonicUs() - startUs, 0);
  }

  #failed(
    op: number,
    offset: number,
    length: number,
    fua: boolean,
    startUs: number,
    thrown: unknown,
  ): never {
    const us = monotonicUs() - startUs;
    this.#observer.seen(op, offset, length, fua, us, claimedErrno(thrown) ?? EIO);
    throw thrown;
  }
}

/** The start time of a slot's request; negative once it was reported. */
class Begun {
  us = -1;
}

class ObservedRing extends PassingRing {
  readonly #observer: Observer;
  /** By request. A thread reuses the same few requests, one per slot. */
  readonly #begun = new WeakMap<RingRequest, Begun>();

  constructor(inner: RingMethods, observer: Observer) {
    super(inner);
    this.#observer = observer;
  }

  override prepare(request: RingRequest, ring: RingOperations): number | void {
    let begun = this.#begun.get(request);
    if (begun === undefined) this.#begun.set(request, begun = new Begun());
    begun.us = monotonicUs();
    return this.#look(request, begun, this.inner.prepare(request, ring));
  }

  override complete(request: RingRequest, result: number, ring: RingOperations): number | void {
    const answer = this.inner.complete(request, result, ring);
    return this.#look(request, this.#begun.get(request)!, answer);
  }

  #look(request: RingRequest, begun: Begun, answer: number | void): number | void {
    if (answer === undefined || begun.us < 0) return answer;
    const us = monotonicUs() - begun.us;
    begun.us = -1;
    const { op, offset, length, fua } = request;
    this.#observer.seen(OP_INDEX[op], offset, length, fua, us, answer < 0 ? -answer : 0);
    return answer;
  }
}
