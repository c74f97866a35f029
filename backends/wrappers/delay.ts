/**
 * A disk that answers late.
 *
 * @module
 */

import type { Answer, Backend, OpenContext, Sharing, WriteOptions } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { Passing, sameExtents } from "../../disk/passing.ts";
import { Waiting } from "../../disk/waiting.ts";
import { OPERATION_NAMES, type OperationName } from "../../disk/operations.ts";
import { checkOptions, type Time, type Wrapper } from "../../disk/wrapper.ts";

/** Each request waits independently. */
export const sharing: Sharing = "per-queue";

/** Options of {@linkcode delay}: times in milliseconds, or texts such as `"10ms"`. */
export interface DelayOptions extends Partial<Record<OperationName, Time>> {
  /**
   * The delay of all other operations.
   *
   * @default 0
   */
  readonly all?: Time;
}

/** Deno's timers accept at most 2^31 - 1 ms. An hour is beyond any deadline. */
const MAX_DELAY_MS = 3_600_000;

/**
 * A disk that begins each request after a delay. An event loop serves it, whatever the inner disk.
 * Requests wait side by side: the delay adds latency, not work.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if a time is invalid.
 *
 * @example
 * ```ts
 * import { delay, memory } from "@ublk/ublk";
 * import { assertEquals } from "@std/assert";
 *
 * const slow = delay(memory("1GiB"), { read: "10ms", write: 5 });
 * assertEquals(slow.options, { read: 10, write: 5 });
 * ```
 */
export function delay(inner: BackendSpec, options: DelayOptions): BackendSpec {
  return { module: import.meta.url, options: checkOptions(wrapper, options), inner: [inner] };
}

/** Opens the wrapper around the inner disk. */
export function open(options: unknown, { inner: [disk] }: Pick<OpenContext, "inner">): Backend {
  return new Late(disk, options as Partial<Record<OperationName | "all", number>>);
}

class Late extends Passing {
  readonly #waiting = new Waiting();
  readonly #readMs: number;
  readonly #writeMs: number;

  constructor(inner: Backend, times: Partial<Record<OperationName | "all", number>>) {
    super(inner);
    const all = times.all ?? 0;
    this.synchronous = false;
    this.extentAt = sameExtents(inner);
    this.#readMs = times.read ?? all;
    this.#writeMs = times.write ?? all;
    this.close = () => this.#waiting.close();
    this.flush = inner.flush &&
      (() => this.#waiting.later(times.flush ?? all, () => inner.flush!()));
    this.trim = inner.trim &&
      ((offset, length) =>
        this.#waiting.later(times.trim ?? all, () => inner.trim!(offset, length)));
    this.writeZeroes = inner.writeZeroes &&
      ((offset, length, how) =>
        this.#waiting.later(times.zero ?? all, () => inner.writeZeroes!(offset, length, how)));
  }

  override readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    return this.#waiting.later(this.#readMs, () => this.inner.readAt(buffer, offset));
  }

  override writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number, how: WriteOptions): Answer {
    return this.#waiting.later(this.#writeMs, () => this.inner.writeAt(buffer, offset, how));
  }
}

/** `delay` on a command line. */
export const wrapper: Wrapper = {
  name: "delay",
  summary: "delays answers",
  options: [
    {
      name: "all",
      kind: "time",
      first: true,
      max: MAX_DELAY_MS,
      help: "The delay of operations without one of their own. Default: 0.",
    },
    ...OPERATION_NAMES.map((name) => ({
      name,
      kind: "time" as const,
      max: MAX_DELAY_MS,
      help: `The delay of each ${name}.`,
    })),
  ],
  spec: (inner, given) => delay(inner, given as DelayOptions),
};
