/**
 * Opens a ring on the running kernel, with the flags that suit a single-threaded server best. If
 * the kernel lacks a flag, it falls back to fewer.
 *
 * @module
 */

import { EINVAL, ENOMEM, ENOSYS, EPERM } from "../uapi/errno.ts";
import { assert, fail, UblkError } from "../uapi/error.ts";
import { MIN_KERNEL } from "../uapi/features.ts";
import { CQE_BYTES } from "../uapi/offsets.ts";
import { decode, encode } from "../uapi/struct.ts";
import {
  io_uring_params,
  IORING_ENTER_EXT_ARG,
  IORING_FEAT_SINGLE_MMAP,
  IORING_OFF_SQ_RING,
  IORING_OFF_SQES,
  IORING_SETUP_COOP_TASKRUN,
  IORING_SETUP_CQSIZE,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_NO_SQARRAY,
  IORING_SETUP_SINGLE_ISSUER,
  IORING_SETUP_SQE128,
  IORING_SETUP_SQPOLL,
  IORING_SETUP_SUBMIT_ALL,
} from "../uapi/io_uring.ts";
import {
  addressOf,
  closeFd,
  errno,
  libc,
  SYS_io_uring_enter,
  SYS_io_uring_register,
  SYS_io_uring_setup,
  syscallError,
} from "./libc.ts";
import { Mapping, pageAlign } from "./mapping.ts";
import { CQE_WORDS, Ring, type RingKernel, type RingMemory } from "./ring.ts";

/** Options of {@linkcode openRing}. */
export interface RingOptions {
  /** Number of SQEs; rounded up to a power of two. */
  entries: number;
  /** Number of additional SQEs that are filled once and queued many times: see `Ring.own`. */
  ownSqes?: number;
  /**
   * Number of CQEs.
   *
   * @default Twice the entries
   */
  cqEntries?: number;
  /** Use 128-byte SQEs, which control commands need. */
  sqe128?: boolean;
  /** Use exactly these `IORING_SETUP_*` flags, without a fallback. */
  setupFlags?: number;
}

/**
 * The sets of flags to try, best first.
 *
 * `DEFER_TASKRUN` (Linux 6.1) runs completions when the thread asks for them instead of
 * interrupting it, and requires `SINGLE_ISSUER` (6.0). `NO_SQARRAY` (6.6) removes an indirection.
 * `COOP_TASKRUN` and `SUBMIT_ALL` came with 5.18–5.19.
 */
export const SETUP_STEPS: readonly number[] = [
  IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
  IORING_SETUP_NO_SQARRAY,
  IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,
  0,
];

/** An open ring, with everything another thread needs to tear it down. */
export interface OpenRing {
  /** The ring. */
  readonly ring: Ring;
  /** The `IORING_SETUP_*` flags in force. */
  readonly setupFlags: number;
  /** The kernel's `IORING_FEAT_*` flags. */
  readonly features: number;
  /** The ring's mappings. */
  readonly mappings: readonly Mapping[];
}

/**
 * Opens a ring.
 *
 * @throws {UblkError} `IO_URING_FORBIDDEN`, `KERNEL_TOO_OLD`, `MEMORY_LIMIT` or `SYSCALL_FAILED`.
 */
export function openRing(options: RingOptions): OpenRing {
  const { fd, params } = setup(options);
  const mappings: Mapping[] = [];
  try {
    if ((params.features & IORING_FEAT_SINGLE_MMAP) === 0) {
      throw new UblkError("KERNEL_TOO_OLD", {
        operation: "io_uring_setup",
        reason: "the kernel lacks IORING_FEAT_SINGLE_MMAP (Linux 5.4)",
        hint: `use Linux ${MIN_KERNEL} or newer`,
      });
    }
    const { entries, ownSqes = 0 } = options;
    assert(params.sq_entries >= entries + ownSqes, "the kernel rounds up, and never down");
    // A thread of the kernel would read the ring's tail while it changes.
    assert((params.flags & IORING_SETUP_SQPOLL) === 0, "SQEs are taken in io_uring_enter only");
    const memory = mapRing(fd, params, mappings);
    const ring = new Ring(memory, new LinuxRing(fd, mappings), options.ownSqes);
    return { ring, setupFlags: params.flags, features: params.features, mappings };
  } catch (error) {
    for (const mapping of mappings) mapping[Symbol.dispose]();
    closeFd(fd);
    throw error;
  }
}

type Params = ReturnType<typeof decodeParams>;

function decodeParams(bytes: Uint8Array) {
  return decode(io_uring_params, bytes);
}

function setup(options: RingOptions): { fd: number; params: Params } {
  const wanted = (options.cqEntries === undefined ? 0 : IORING_SETUP_CQSIZE) |
    (options.sqe128 ? IORING_SETUP_SQE128 : 0);
  const { entries, ownSqes = 0 } = options;
  assert(ownSqes >= 0, "so many SQEs are somebody's own");
  const chosen = options.setupFlags === undefined ? SETUP_STEPS : [options.setupFlags];
  // Own SQEs need the indirection array, which says which SQE comes next.
  const steps = ownSqes > 0 ? chosen.map((step) => step & ~IORING_SETUP_NO_SQARRAY) : chosen;
  for (const step of steps) {
    const bytes = new Uint8Array(io_uring_params.size);
    encode(io_uring_params, bytes, { flags: step | wanted, cq_entries: options.cqEntries ?? 0 });
    const fd = libc().setup(SYS_io_uring_setup, entries + ownSqes, bytes);
    if (fd >= 0) return { fd, params: decodeParams(bytes) };
    const number = errno();
    if (number !== EINVAL || step === steps[steps.length - 1]) throw setupError(number, options);
  }
  fail("the last step returned or threw");
}

function setupError(number: number, options: RingOptions): UblkError {
  const operation = "io_uring_setup";
  switch (number) {
    case EPERM:
      return new UblkError("IO_URING_FORBIDDEN", {
        operation,
        reason: "this system forbids io_uring",
        errno: number,
        hint: "set `sysctl kernel.io_uring_disabled=0`, or let the container's seccomp profile " +
          "allow io_uring_setup, io_uring_enter and io_uring_register",
      });
    case ENOSYS:
      return new UblkError("KERNEL_TOO_OLD", {
        operation,
        reason: "the kernel has no io_uring, or a seccomp profile hides it",
        errno: number,
        hint: `use Linux ${MIN_KERNEL} or newer, outside the container's seccomp profile`,
      });
    case ENOMEM:
      return memlockError(operation, number);
    case EINVAL:
      return new UblkError("INVALID_ARGUMENT", {
        operation,
        reason: `the kernel refuses ${options.entries} entries with these flags`,
        errno: number,
        hint: "the limit is 32768 submission entries",
      });
  }
  return syscallError(operation, undefined, number);
}

/** The error for memory that could not be locked or pinned. */
export function memlockError(operation: string, number: number = ENOMEM): UblkError {
  return new UblkError("MEMORY_LIMIT", {
    operation,
    reason: "not enough memory, or more than RLIMIT_MEMLOCK allows",
    errno: number,
    hint: "raise `ulimit -l` (or LimitMEMLOCK= in a systemd unit), or ask for less",
  });
}

function mapRing(fd: number, params: Params, mappings: Mapping[]): RingMemory {
  const { sq_off, cq_off } = params;
  assert(params.cq_entries >= params.sq_entries, "the kernel makes no fewer CQEs than SQEs");
  assert(cq_off.cqes % CQE_BYTES === 0, "CQEs are aligned to their size");
  const words = [sq_off.head, sq_off.tail, sq_off.flags, sq_off.array, cq_off.head, cq_off.tail];
  assert(words.every((offset) => offset % 4 === 0), "all that is shared are whole words");
  const sqeWords = (params.flags & IORING_SETUP_SQE128) === 0 ? 16 : 32;
  const ringBytes = pageAlign(Math.max(
    sq_off.array + params.sq_entries * 4,
    cq_off.cqes + params.cq_entries * CQE_WORDS * 4,
  ));
  const shared = Mapping.ofFile(fd, IORING_OFF_SQ_RING, ringBytes, {
    writable: true,
    operation: "mmap the rings",
  });
  mappings.push(shared);
  const sqes = Mapping.ofFile(fd, IORING_OFF_SQES, pageAlign(params.sq_entries * sqeWords * 4), {
    writable: true,
    operation: "mmap the SQEs",
  });
  mappings.push(sqes);
  const buffer = shared.buffer();
  const hasArray = (params.flags & IORING_SETUP_NO_SQARRAY) === 0;
  return {
    sqArray: hasArray ? new Uint32Array(buffer, sq_off.array, params.sq_entries) : undefined,
    sqes: new Uint32Array(sqes.buffer(), 0, params.sq_entries * sqeWords),
    sqeWords,
    sqEntries: params.sq_entries,
    sqHead: new Uint32Array(buffer, sq_off.head, 1),
    sqTail: new Uint32Array(buffer, sq_off.tail, 1),
    sqFlags: new Uint32Array(buffer, sq_off.flags, 1),
    cqes: new Int32Array(buffer, cq_off.cqes, params.cq_entries * CQE_WORDS),
    cqEntries: params.cq_entries,
    cqHead: new Uint32Array(buffer, cq_off.head, 1),
    cqTail: new Uint32Array(buffer, cq_off.tail, 1),
    cqFlags: new Uint32Array(buffer, cq_off.flags, 1),
  };
}

/** The size of `struct io_uring_getevents_arg`; a bigint, see `enterArg` in `libc.ts`. */
const ARGUMENT_BYTES = 24n;

/** Words of the buffer with the argument and its timespec. V8 moves buffers of 64 bytes or less. */
const ARGUMENT_BUFFER_WORDS = 32;
const TIMESPEC_WORD = 8;

// V8 inlines constants of this module. It loads and checks an imported one on each use.
const SYS_ENTER = SYS_io_uring_enter;

/** The running kernel behind a ring. */
class LinuxRing implements RingKernel {
  readonly fd: number;
  readonly #mappings: readonly Mapping[];
  readonly #enter = libc().enter;
  readonly #enterArg = libc().enterArg;
  // The struct io_uring_getevents_arg, and the struct __kernel_timespec that it points to: in one
  // buffer that V8 never moves, since it is too large for V8's own heap.
  readonly #argument = new Uint32Array(ARGUMENT_BUFFER_WORDS);

  constructor(fd: number, mappings: readonly Mapping[]) {
    this.fd = fd;
    this.#mappings = mappings;
    const timespec = this.#argument.subarray(TIMESPEC_WORD);
    new BigUint64Array(this.#argument.buffer)[2] = addressOf(timespec);
  }

  enter(toSubmit: number, minComplete: number, flags: number): number {
    const enter = this.#enter;
    const result = enter(SYS_ENTER, this.fd, toSubmit, minComplete, flags, null, 0);
    return result < 0 ? -errno() : result;
  }

  enterTimeout(toSubmit: number, minComplete: number, flags: number, timeoutUs: number): number {
    assert(timeoutUs >= 0, "a wait has a length");
    const seconds = Math.floor(timeoutUs / 1e6);
    // Low words; the high ones stay 0. A bigint would be garbage.
    this.#argument[TIMESPEC_WORD] = seconds;
    this.#argument[TIMESPEC_WORD + 2] = Math.floor((timeoutUs - seconds * 1e6) * 1e3);
    const enterArg = this.#enterArg;
    const result = enterArg(
      SYS_ENTER,
      this.fd,
      toSubmit,
      minComplete,
      flags | IORING_ENTER_EXT_ARG,
      this.#argument,
      ARGUMENT_BYTES,
    );
    return result < 0 ? -errno() : result;
  }

  register(opcode: number, argument: Uint8Array<ArrayBuffer> | null, count: number): number {
    const result = argument === null
      ? libc().registerNone(SYS_io_uring_register, this.fd, opcode, null, count)
      : libc().register(SYS_io_uring_register, this.fd, opcode, argument, count);
    return result < 0 ? -errno() : result;
  }

  close(): void {
    for (const mapping of this.#mappings) mapping[Symbol.dispose]();
    closeFd(this.fd);
  }
}
