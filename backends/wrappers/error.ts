/**
 * A disk on which some requests fail.
 *
 * @module
 */

import { isBlkErrno } from "../../uapi/blk_errors.ts";
import { errnoName, errnoNumber } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../../uapi/ublk_io.ts";
import { Dice } from "../../uapi/dice.ts";
import type {
  Answer,
  Backend,
  OpenContext,
  RingMethods,
  RingOperations,
  RingRequest,
  Sharing,
  WriteOptions,
} from "../../disk/backend.ts";
import type { ByteRange } from "../../disk/geometry.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { Passing, sameExtents } from "../../disk/passing.ts";
import { PassingRing } from "../../disk/passing_ring.ts";
import { OPERATION_NAMES, OPERATION_NUMBERS, type OperationName } from "../../disk/operations.ts";
import { checkOptions, refused, type Wrapper } from "../../disk/wrapper.ts";

/** Each queue's thread draws its own faults. */
export const sharing: Sharing = "per-queue";

/** Options of {@linkcode error}. */
export interface ErrorOptions {
  /**
   * The errno's name. The block layer must pass it on.
   *
   * @default "EIO"
   */
  readonly errno?: string;
  /**
   * The share of requests that fail, from 0 to 1.
   *
   * @default 1
   */
  readonly rate?: number;
  /**
   * Operations that may fail.
   *
   * @default All operations
   */
  readonly ops?: readonly OperationName[] | string;
  /**
   * Only requests that touch this range fail: a range, or `"1M-2M"`. A flush touches none.
   *
   * @default The whole disk, and flushes
   */
  readonly range?: ByteRange | string;
  /**
   * Seed of the random draws, which are reproducible per queue.
   *
   * @default 1
   */
  readonly seed?: number;
}

/**
 * A disk on which the chosen requests fail, before any part of them is carried out.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if an option is not possible.
 *
 * @example One write in ten finds the disk full
 * ```ts
 * import { error, memory } from "@ublk/ublk";
 * import { assertThrows } from "@std/assert";
 *
 * error(memory("1GiB"), { errno: "ENOSPC", rate: 0.1, ops: ["write"], seed: 7 });
 * assertThrows(() => error(memory("1GiB"), { errno: "ENOENT" }), Error, "block layer");
 * ```
 */
export function error(inner: BackendSpec, options: ErrorOptions = {}): BackendSpec {
  const checked = checkOptions<StoredOptions>(wrapper, options);
  const { errno = "EIO" } = checked;
  const number = errnoNumber(errno);
  if (number === undefined || !isBlkErrno(number)) {
    const hint = "use EIO, ENOSPC, ETIMEDOUT, ENODATA, EOPNOTSUPP, …";
    throw refused("error", `the block layer passes on no ${errno}`, hint);
  }
  return { module: import.meta.url, options: checked, inner: [inner] };
}

interface StoredOptions {
  readonly errno?: string;
  readonly rate?: number;
  readonly ops?: readonly OperationName[];
  readonly range?: ByteRange;
  readonly seed?: number;
}

/** Opens the wrapper around the inner disk. */
export function open(
  options: unknown,
  { inner: [disk], queue }: Pick<OpenContext, "inner" | "queue">,
): Backend {
  return new Failing(disk, new Verdicts(options as StoredOptions, queue));
}

/** Decides which requests fail. */
class Verdicts {
  /** The positive errno of failing requests. */
  readonly errno: number;
  readonly #ops: readonly number[];
  readonly #rate: number;
  readonly #from: number;
  readonly #to: number;
  readonly #everywhere: boolean;
  readonly #dice: Dice;

  constructor({ errno = "EIO", rate = 1, ops, range, seed = 1 }: StoredOptions, queue: number) {
    this.errno = errnoNumber(errno)!;
    this.#ops = (ops ?? OPERATION_NAMES).map((name) => OPERATION_NUMBERS[name]);
    this.#rate = rate;
    this.#everywhere = range === undefined;
    this.#from = range?.offset ?? 0;
    this.#to = this.#from + (range?.length ?? 0);
    // Each queue draws for itself, so that its load does not change another queue's faults.
    this.#dice = new Dice(seed + queue * 0x9e3779b1);
  }

  fails(op: number, offset: number, length: number): boolean {
    if (!this.#ops.includes(op)) return false;
    const touches = op !== UBLK_IO_OP_FLUSH && offset < this.#to && offset + length > this.#from;
    if (!this.#everywhere && !touches) return false;
    return this.#rate === 1 || this.#dice.draw(1e6) < this.#rate * 1e6;
  }

  check(op: number, offset: number, length: number): void {
    if (!this.fails(op, offset, length)) return;
    const { errno } = this;
    const reason = `${errnoName(errno)}, as was asked for`;
    throw new UblkError("SYSCALL_FAILED", { operation: "wrapper error", reason, errno });
  }
}

class Failing extends Passing {
  readonly #verdicts: Verdicts;

  constructor(inner: Backend, verdicts: Verdicts) {
    super(inner, { ring: inner.ring && new FailingRing(inner.ring, verdicts) });
    this.#verdicts = verdicts;
    this.extentAt = sameExtents(inner);
    this.flush = inner.flush && (() => {
      verdicts.check(UBLK_IO_OP_FLUSH, 0, 0);
      return inner.flush!();
    });
    this.trim = inner.trim && ((offset, length) => {
      verdicts.check(UBLK_IO_OP_DISCARD, offset, length);
      return inner.trim!(offset, length);
    });
    this.writeZeroes = inner.writeZeroes && ((offset, length, how) => {
      verdicts.check(UBLK_IO_OP_WRITE_ZEROES, offset, length);
      return inner.writeZeroes!(offset, length, how);
    });
  }

  override readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    this.#verdicts.check(UBLK_IO_OP_READ, offset, buffer.length);
    return this.inner.readAt(buffer, offset);
  }

  override writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number, how: WriteOptions): Answer {
    this.#verdicts.check(UBLK_IO_OP_WRITE, offset, buffer.length);
    return this.inner.writeAt(buffer, offset, how);
  }
}

class FailingRing extends PassingRing {
  readonly #verdicts: Verdicts;

  constructor(inner: RingMethods, verdicts: Verdicts) {
    super(inner);
    this.#verdicts = verdicts;
  }

  override prepare(request: RingRequest, ring: RingOperations): number | void {
    const { op, offset, length } = request;
    if (this.#verdicts.fails(op, offset, length)) return -this.#verdicts.errno;
    return this.inner.prepare(request, ring);
  }
}

/** `error` on a command line. */
export const wrapper: Wrapper = {
  name: "error",
  summary: "fails requests",
  options: [
    { name: "errno", kind: "text", first: true, help: "The error. Default: EIO." },
    {
      name: "rate",
      kind: "number",
      max: 1,
      help: "The share of requests that fail, 0 to 1. Default: 1.",
    },
    {
      name: "ops",
      kind: "names",
      choices: OPERATION_NAMES,
      help: "Only these operations, joined by +: read+write. Default: all.",
    },
    { name: "range", kind: "range", help: "Only requests that touch these bytes: 1M-2M." },
    { name: "seed", kind: "integer", help: "The seed of the random choice." },
  ],
  spec: (inner, given) => error(inner, given as ErrorOptions),
};
