/**
 * A disk with limited speed.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { monotonicUs } from "../../uring/libc.ts";
import type { Answer, Backend, OpenContext, Sharing, WriteOptions } from "../../disk/backend.ts";
import type { Size } from "../../disk/geometry.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { Passing, sameExtents } from "../../disk/passing.ts";
import { Waiting } from "../../disk/waiting.ts";
import { checkOptions, refused, type Time, type Wrapper } from "../../disk/wrapper.ts";

/** One thread counts the tokens. */
export const sharing: Sharing = "single";

/** Options of {@linkcode rate}: at least one limit. */
export interface RateOptions {
  /**
   * Limit of bytes per second, read and written together: a number, or a text such as `"10MiB"`.
   *
   * @default No limit
   */
  readonly bytes?: Size;
  /**
   * Limit of requests of any kind per second.
   *
   * @default No limit
   */
  readonly iops?: number;
  /**
   * Amount of the limits that may be used at once after a pause, as a time.
   *
   * @default "1s"
   */
  readonly burst?: Time;
}

/**
 * A disk with limits on bytes and requests per second, by a token bucket each. Requests beyond the
 * limits wait for their turn, in order of arrival. One thread with an event loop serves the disk,
 * whatever the inner disk.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if an option is not possible.
 *
 * @example
 * ```ts
 * import { memory, rate } from "@ublk/ublk";
 * import { assertThrows } from "@std/assert";
 *
 * rate(memory("1GiB"), { bytes: "10MiB", iops: 500 });
 * assertThrows(() => rate(memory("1GiB"), {}), Error, "give bytes or iops");
 * ```
 */
export function rate(inner: BackendSpec, options: RateOptions): BackendSpec {
  const checked = checkOptions<StoredOptions>(wrapper, options);
  if (checked.bytes === undefined && checked.iops === undefined) {
    throw refused("rate", "there is no limit", "give bytes or iops, or both");
  }
  return { module: import.meta.url, options: checked, inner: [inner] };
}

interface StoredOptions {
  readonly bytes?: number;
  readonly iops?: number;
  readonly burst?: number;
}

/** Opens the wrapper around the inner disk. */
export function open(options: unknown, { inner: [disk] }: Pick<OpenContext, "inner">): Backend {
  return new Limited(disk, options as StoredOptions);
}

/** A token bucket, stored as the time at which it is full, so no tokens are ever added. */
export class Bucket {
  readonly #msPerToken: number;
  readonly #burstMs: number;
  /** The time at which the bucket has regained all tokens taken so far. */
  #paidMs = -Infinity;

  /** Makes a full bucket, which gains `perSecond` tokens and holds those of `burstMs`. */
  constructor(perSecond: number, burstMs: number) {
    assert(perSecond > 0 && burstMs >= 0, "some tokens are poured in");
    this.#msPerToken = 1000 / perSecond;
    this.#burstMs = burstMs;
  }

  /**
   * Takes tokens. A request may take more than there are; the requests behind it wait for that. Even
   * requests that take none wait, so that none overtakes another.
   *
   * @returns The milliseconds to wait before going on.
   */
  take(tokens: number, nowMs: number): number {
    const paid = Math.max(this.#paidMs, nowMs - this.#burstMs);
    this.#paidMs = paid + tokens * this.#msPerToken;
    return Math.max(0, paid - nowMs);
  }
}

class Limited extends Passing {
  readonly #waiting = new Waiting();
  /** Number of requests that have not begun. */
  #queued = 0;
  /** Resolves when the last of them has begun. */
  #last: Promise<void> = Promise.resolve();
  readonly #bytes: Bucket | undefined;
  readonly #requests: Bucket | undefined;

  constructor(inner: Backend, { bytes, iops, burst = 1000 }: StoredOptions) {
    super(inner);
    this.#bytes = bytes === undefined ? undefined : new Bucket(bytes, burst);
    this.#requests = iops === undefined ? undefined : new Bucket(iops, burst);
    this.synchronous = false;
    this.extentAt = sameExtents(inner);
    this.close = () => this.#waiting.close();
    this.flush = inner.flush && (() => this.#admit(0, () => inner.flush!()));
    this.trim = inner.trim &&
      ((offset, length) => this.#admit(0, () => inner.trim!(offset, length)));
    this.writeZeroes = inner.writeZeroes &&
      ((offset, length, how) => this.#admit(0, () => inner.writeZeroes!(offset, length, how)));
  }

  override readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    return this.#admit(buffer.length, () => this.inner.readAt(buffer, offset));
  }

  override writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number, how: WriteOptions): Answer {
    return this.#admit(buffer.length, () => this.inner.writeAt(buffer, offset, how));
  }

  #admit(bytes: number, work: () => Answer): Answer {
    const nowMs = monotonicUs() / 1000;
    const ms = Math.max(
      this.#requests === undefined ? 0 : this.#requests.take(1, nowMs),
      this.#bytes === undefined ? 0 : this.#bytes.take(bytes, nowMs),
    );
    if (ms === 0 && this.#queued === 0) return work();
    this.#queued++;
    // Timers are up to a millisecond off: with one timer each, waiting requests overtook each other.
    const turn = this.#last.then(() => this.#waiting.wait(nowMs + ms - monotonicUs() / 1000));
    const answer = turn.then(work);
    const begun = () => {
      assert(this.#queued > 0, "a request begins once");
      this.#queued--;
    };
    this.#last = turn.then(begun, begun);
    return answer;
  }
}

/** `rate` on a command line. */
export const wrapper: Wrapper = {
  name: "rate",
  summary: "limits bytes and requests per second",
  options: [
    { name: "bytes", kind: "size", min: 512, first: true, help: "Bytes per second." },
    { name: "iops", kind: "number", min: 0.1, help: "Requests per second." },
    {
      name: "burst",
      kind: "time",
      max: 3_600_000,
      help: "The longest pause that may be made up for. Default: 1s.",
    },
  ],
  spec: (inner, given) => rate(inner, given as RateOptions),
};
