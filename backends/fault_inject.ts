/**
 * A disk of zeroes that answers late, fails, hangs, or kills its server, as its options say. It is
 * for testing software that uses a disk, and for testing this project.
 *
 * @module
 */

import { isBlkErrno } from "../uapi/blk_errors.ts";
import { errnoNumber } from "../uapi/errno.ts";
import { invalidIn, UblkError } from "../uapi/error.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import { Dice } from "../uapi/dice.ts";
import { killSelf } from "../uring/libc.ts";
import type {
  Answer,
  Backend,
  OpenContext,
  RingMethods,
  RingOperations,
  RingRequest,
} from "../disk/backend.ts";
import type { Sharing } from "../disk/backend.ts";
import { type ByteRange, geometryOf, type GeometryOptions, type Size } from "../disk/geometry.ts";
import { type Option, OptionError, readValue } from "../disk/option.ts";
import type { BackendSpec } from "../disk/spec.ts";
import type { Target } from "../disk/target.ts";
import { ZeroReads } from "./zero_reads.ts";

const invalid = invalidIn("fault_inject");

/** Each queue's thread draws its own faults. */
export const sharing: Sharing = "per-queue";

/** Options of {@linkcode faultInject}. */
export interface FaultInjectOptions extends Omit<GeometryOptions, "size"> {
  /**
   * The size of the disk.
   *
   * @default "250GiB"
   */
  readonly size?: Size;
  /**
   * The delay of every answer, in microseconds.
   *
   * @default 0
   */
  readonly delayUs?: number;
  /**
   * The share of requests that fail, from 0 to 1.
   *
   * @default 0
   */
  readonly errorRate?: number;
  /** Requests that touch this range always fail. A range, or `"from-to"` with sizes. */
  readonly errorRange?: ByteRange | string;
  /**
   * The errno's name for failing requests. The block layer must pass it on.
   *
   * @default "EIO"
   */
  readonly errno?: string;
  /**
   * The share of requests that are never answered, from 0 to 1. `true`: all of them.
   *
   * @default 0
   */
  readonly hang?: number | boolean;
  /**
   * Seed of the random draws, which are reproducible per queue.
   *
   * @default 1
   */
  readonly seed?: number;
  /**
   * Kill the server after it has fetched the first tag of a queue.
   *
   * @default false
   */
  readonly dieDuringFetch?: boolean;
}

interface StoredOptions extends Required<GeometryOptions> {
  readonly size: number;
  readonly delayUs: number;
  readonly errorRate: number;
  readonly errorRange: ByteRange;
  readonly errno: number;
  readonly hangRate: number;
  readonly seed: number;
  readonly dieDuringFetch: boolean;
}

const ERROR_RANGE: Option = {
  name: "error-range",
  kind: "range",
  help: "Requests that touch these bytes fail: 1M-2M.",
};

const DEFAULT_SIZE = 250 * 2 ** 30;
const MAX_DELAY_US = 3.6e9;
/** Practically never: ten years, in microseconds. */
const NEVER_US = 10 * 365 * 86400 * 1e6;

/**
 * A disk that reads as zeroes, keeps nothing, and has the given faults.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if a fault is not possible.
 * @throws {RangeError} If the size or block size is invalid.
 *
 * @example A disk on which one request in ten fails
 * ```ts
 * import { faultInject } from "@ublk/ublk";
 * import { assertThrows } from "@std/assert";
 *
 * faultInject({ size: "1GiB", errorRate: 0.1, errno: "ENOSPC", seed: 7 });
 * assertThrows(() => faultInject({ errno: "ENOENT" }), Error, "block layer");
 * ```
 */
export function faultInject(options: FaultInjectOptions = {}): BackendSpec {
  const { delayUs = 0, errorRate = 0, errorRange, errno: name = "EIO", hang = 0 } = options;
  const { size = DEFAULT_SIZE, blockSize, readOnly, seed = 1, dieDuringFetch = false } = options;
  const errno = errnoNumber(name);
  if (errno === undefined || !isBlkErrno(errno)) {
    const hint = "use EIO, ENOSPC, ETIMEDOUT, ENODATA, EOPNOTSUPP, …";
    throw invalid(`the block layer passes on no ${JSON.stringify(name)}`, hint);
  }
  if (!Number.isInteger(delayUs) || delayUs < 0 || delayUs > MAX_DELAY_US) {
    const hint = `use 0 to ${MAX_DELAY_US} microseconds`;
    throw invalid(`a delay of ${delayUs} is out of range`, hint);
  }
  if (!Number.isSafeInteger(seed)) throw invalid(`seed ${seed}`, "use a whole number");
  const stored: StoredOptions = {
    ...geometryOf({ size, blockSize, readOnly }),
    delayUs,
    errorRate: checkRate("errorRate", errorRate),
    errorRange: rangeOf(errorRange),
    errno,
    hangRate: checkRate("hang", Number(hang)),
    seed,
    dieDuringFetch,
  };
  return { module: import.meta.url, options: stored };
}

function checkRate(what: string, rate: number): number {
  if (rate >= 0 && rate <= 1) return rate;
  throw invalid(`${what} ${rate} is out of range`, "use 0 to 1");
}

function rangeOf(range: ByteRange | string | undefined): ByteRange {
  if (range === undefined) return { offset: 0, length: 0 };
  try {
    return readValue(ERROR_RANGE, range) as ByteRange;
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    throw invalid(error.message, error.remedy!);
  }
}

/** A decision of {@linkcode FaultDecisions}: the request succeeds. */
export const GOES_WELL = 0;
/** The request is never answered. */
export const HANGS: number = -1;

/** Decides the outcome of each request: a positive errno, or one of the constants above. */
export class FaultDecisions {
  readonly #options: Omit<StoredOptions, "size" | "blockSize" | "readOnly">;
  readonly #dice: Dice;

  /** Makes the decisions of one queue. */
  constructor(options: unknown, queue: number) {
    this.#options = options as StoredOptions;
    // Each queue draws for itself, so that its load does not change another queue's faults.
    this.#dice = new Dice(this.#options.seed + queue * 0x9e3779b1);
  }

  /** Decides the outcome of the next request. */
  decide(op: number, offset: number, length: number): number {
    const { errorRange, errorRate, hangRate, errno } = this.#options;
    if (this.#draws(hangRate)) return HANGS;
    const end = errorRange.offset + errorRange.length;
    const touches = offset < end && offset + length > errorRange.offset;
    if (touches && errorRange.length > 0 && op !== UBLK_IO_OP_FLUSH) return errno;
    return this.#draws(errorRate) ? errno : GOES_WELL;
  }

  #draws(rate: number): boolean {
    return rate > 0 && this.#dice.draw(1e6) < rate * 1e6;
  }
}

/** A waiting request has `request.state` below 0: this, less its later errno (0: success). */
const WAITS = -1;

class FaultyRequests implements RingMethods {
  readonly operations = 1;
  readonly #decisions: FaultDecisions;
  readonly #delayUs: number;
  readonly #zeroes: ZeroReads;

  constructor(decisions: FaultDecisions, delayUs: number, zeroes: ZeroReads) {
    this.#decisions = decisions;
    this.#delayUs = delayUs;
    this.#zeroes = zeroes;
  }

  prepare(request: RingRequest, ring: RingOperations): number | void {
    const fate = this.#decisions.decide(request.op, request.offset, request.length);
    if (fate === HANGS) return ring.timeout(NEVER_US);
    if (this.#delayUs === 0) return this.#answer(request, fate, ring);
    request.state = WAITS - fate;
    ring.timeout(this.#delayUs);
  }

  complete(request: RingRequest, result: number, ring: RingOperations): number | void {
    if (request.state >= 0) return this.#zeroes.continue(request, result, ring);
    return this.#answer(request, WAITS - request.state, ring);
  }

  #answer(request: RingRequest, errno: number, ring: RingOperations): number | void {
    if (errno > 0) return -errno;
    if (request.op === UBLK_IO_OP_READ) return this.#zeroes.start(request, ring);
    return request.op === UBLK_IO_OP_WRITE ? request.length : 0;
  }
}

/**
 * Requests that do not come through the ring: those of a wrapper that has a way of its own, or of a
 * host. Its thread may block, so that a late answer is waited for.
 */
function byteMethods(
  decisions: FaultDecisions,
  delayUs: number,
): Pick<Backend, "readAt" | "writeAt" | "flush" | "trim" | "writeZeroes"> {
  const answer = (op: number, offset: number, length: number): Answer => {
    const fate = decisions.decide(op, offset, length);
    if (fate === HANGS) return new Promise(() => {});
    if (delayUs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delayUs / 1000);
    if (fate === GOES_WELL) return;
    throw new UblkError("SYSCALL_FAILED", { operation: "fault_inject", errno: fate });
  };
  return {
    readAt(buffer, offset) {
      const answered = answer(UBLK_IO_OP_READ, offset, buffer.length);
      buffer.fill(0);
      return answered;
    },
    writeAt: (buffer, offset) => answer(UBLK_IO_OP_WRITE, offset, buffer.length),
    flush: () => answer(UBLK_IO_OP_FLUSH, 0, 0),
    trim: (offset, length) => answer(UBLK_IO_OP_DISCARD, offset, length),
    writeZeroes: (offset, length) => answer(UBLK_IO_OP_WRITE_ZEROES, offset, length),
  };
}

/** Opens the disk in one queue's thread. */
export function open(options: unknown, { queue }: Pick<OpenContext, "queue">): Backend {
  const { size, blockSize, readOnly, delayUs, dieDuringFetch } = options as StoredOptions;
  const zeroes = new ZeroReads();
  const decisions = new FaultDecisions(options, queue);
  let bytes = size;
  return {
    get size() {
      return bytes;
    },
    resize(size) {
      bytes = size;
    },
    blockSize,
    readOnly,
    synchronous: true,
    ...byteMethods(decisions, delayUs),
    fua: true,
    // No data can be lost.
    persistent: true,
    ring: new FaultyRequests(decisions, delayUs, zeroes),
    beforeFetch(_queue, tag) {
      // Each queue fetches its tags in order, so the kernel holds some tags now and not others.
      if (dieDuringFetch && tag === 1) killSelf();
    },
    close: () => zeroes.close(),
  };
}

/** `fault_inject` on a command line. */
export const target: Target = {
  name: "fault_inject",
  aliases: ["fault-inject"],
  summary: "a disk of zeroes that delays, fails or hangs requests, or kills its server",
  // No data can be lost.
  persistent: true,
  files: { min: 0, max: 0 },
  options: [
    { name: "size", kind: "size", help: "The disk's size. Default: 250GiB." },
    {
      name: "delay-us",
      kind: "integer",
      min: 0,
      max: MAX_DELAY_US,
      help: "Delay every answer by this many microseconds.",
    },
    {
      name: "error-rate",
      kind: "number",
      min: 0,
      max: 1,
      help: "The share of requests that fail, 0 to 1.",
    },
    ERROR_RANGE,
    { name: "errno", kind: "text", placeholder: "NAME", help: "The error. Default: EIO." },
    {
      name: "hang",
      kind: "number",
      min: 0,
      max: 1,
      help: "The share of requests that are never answered.",
    },
    { name: "seed", kind: "integer", help: "The seed of the random faults." },
    {
      name: "die-during-fetch",
      kind: "integer",
      choices: [0, 1],
      help: "1: the server is killed while it fetches.",
    },
  ],
  spec: (values) =>
    faultInject({
      size: values.size as number | undefined,
      delayUs: values["delay-us"] as number | undefined,
      errorRate: values["error-rate"] as number | undefined,
      errorRange: values["error-range"] as ByteRange | undefined,
      errno: values.errno as string | undefined,
      hang: values.hang as number | undefined,
      seed: values.seed as number | undefined,
      dieDuringFetch: values["die-during-fetch"] === 1,
      blockSize: values["block-size"],
      readOnly: values["read-only"],
    }),
};
