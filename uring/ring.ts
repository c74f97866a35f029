/**
 * An io_uring in TypeScript: the submission and completion queues as typed arrays over memory
 * shared with the kernel, and one system call that submits and waits.
 *
 * The two queues are rings with 32-bit indices that wrap around. Each side writes only its own end.
 * One atomic store or load per batch orders the accesses. The store of the SQ tail publishes every
 * SQE written before it. The load of the CQ tail makes every CQE before it readable. The store of
 * the CQ head frees the slots.
 *
 * A ring belongs to the thread that made it. The kernel's side is behind {@linkcode RingKernel}, so
 * that a fake with seeded faults can replace it.
 *
 * @module
 */

import { EAGAIN, EBUSY, EINTR, ENOMEM, ETIME } from "../uapi/errno.ts";
import { assert, fail } from "../uapi/error.ts";
import {
  IORING_CQ_EVENTFD_DISABLED,
  IORING_ENTER_GETEVENTS,
  IORING_SQ_CQ_OVERFLOW,
} from "../uapi/io_uring.ts";
import { IOSQE_IO_HARDLINK, IOSQE_IO_LINK } from "../uapi/io_uring_sqe.ts";
import { CQE_BYTES } from "../uapi/offsets.ts";
import { syscallError } from "./libc.ts";
import type { RingKernel, RingMemory } from "./ring_memory.ts";

export type { RingKernel, RingMemory } from "./ring_memory.ts";

/** 32-bit words in a CQE: `user_data` low and high, `res`, `flags`. */
export const CQE_WORDS = 4;
const CQE_SHIFT = 2;

// V8 inlines constants of this module. It loads and checks an imported one on each use.
const GETEVENTS = IORING_ENTER_GETEVENTS;

/**
 * Mask for the word index of an SQE: `IORING_MAX_ENTRIES` SQEs of 32 words. Hot code applies it to
 * the index, so that the compiler needs no overflow check for each word.
 */
export const SQE_INDEX_BITS = 0xfffff;

assert(CQE_WORDS === 1 << CQE_SHIFT, "a CQE's index is shifted, and not multiplied");
assert(CQE_WORDS * 4 === CQE_BYTES, "as large as the kernel's");

/** Maximum number of attempts of {@linkcode Ring.reserve} while the kernel has no memory: some 4 s. */
const RESERVE_TRIES = 1000;
/** The longest pause between two of them, in microseconds. The first ones are shorter. */
const RESERVE_PAUSE_US = 4000;

/** A ring: fill SQEs, submit them, read CQEs. */
export class Ring implements Disposable {
  /** The kernel's side. */
  readonly kernel: RingKernel;
  /** The SQEs as words. Write at the index that {@linkcode next} returns. */
  readonly sqes: Uint32Array<ArrayBuffer>;
  /** The CQEs as words. Read at the index that {@linkcode peek} returns. */
  readonly cqes: Int32Array<ArrayBuffer>;
  /** Number of SQEs. */
  readonly sqEntries: number;
  /** Number of CQEs. */
  readonly cqEntries: number;
  /** Words per SQE. */
  readonly sqeWords: 16 | 32;

  readonly #memory: RingMemory;
  readonly #sqMask: number;
  readonly #sqeShift: number;
  readonly #cqMask: number;
  // Our copies of the indices, as signed 32-bit numbers. `|0` makes them wrap like the kernel's.
  #tail: number;
  #submitted: number;
  #head: number;
  #cqTail: number;
  /** Number of shared SQEs; 0 once the ring is closed and its memory is gone. */
  #usable: number;
  /** The indirection array, present with {@linkcode own} SQEs. */
  readonly #array: Uint32Array<ArrayBuffer> | undefined;
  /** Number of SQEs that are reserved for {@linkcode own}. They come first. */
  readonly #ownSqes: number;
  /** Number of them that are in use. */
  #owned = 0;
  /** Index of the next shared SQE. */
  #shared: number;
  #closed = false;

  /**
   * Takes over shared memory and the kernel behind it. Normally call `openRing` instead.
   *
   * @param ownSqes Number of SQEs for {@linkcode own}, which needs the indirection array.
   */
  constructor(memory: RingMemory, kernel: RingKernel, ownSqes = 0) {
    this.kernel = kernel;
    this.#memory = memory;
    this.sqes = memory.sqes;
    this.cqes = memory.cqes;
    this.sqEntries = memory.sqEntries;
    this.cqEntries = memory.cqEntries;
    this.sqeWords = memory.sqeWords;
    this.#sqMask = memory.sqEntries - 1;
    this.#sqeShift = memory.sqeWords === 16 ? 4 : 5;
    this.#cqMask = memory.cqEntries - 1;
    this.#usable = memory.sqEntries - ownSqes;
    this.#ownSqes = ownSqes;
    this.#shared = ownSqes;
    const { sqArray } = memory;
    assert(isPowerOfTwo(memory.sqEntries), "the kernel rounds the SQEs up to a power of two");
    assert(isPowerOfTwo(memory.cqEntries), "and the CQEs");
    assert(memory.sqes.length === memory.sqEntries * memory.sqeWords, "all SQEs are mapped");
    assert(memory.sqes.length - 1 <= SQE_INDEX_BITS, "the mask leaves an SQE's index as it is");
    assert(memory.cqes.length === memory.cqEntries * CQE_WORDS, "all CQEs are mapped");
    // No shared SQEs would mean a closed ring.
    assert(ownSqes >= 0 && ownSqes < memory.sqEntries, "some SQEs are anybody's");
    assert(ownSqes === 0 || sqArray !== undefined, "the array says which SQE comes next");
    this.#array = ownSqes > 0 ? sqArray : undefined;
    if (ownSqes === 0) sqArray?.forEach((_, index) => sqArray[index] = index);
    this.#tail = Atomics.load(memory.sqTail, 0) | 0;
    this.#submitted = this.#tail;
    this.#head = Atomics.load(memory.cqHead, 0) | 0;
    this.#cqTail = this.#head;
  }

  /** Number of SQEs written and not yet taken by the kernel. */
  get pending(): number {
    return (this.#tail - this.#submitted) | 0;
  }

  /** Position of the next SQE in the queue, for {@linkcode isSubmitted}. */
  get position(): number {
    return this.#tail;
  }

  /** Whether the kernel has taken all SQEs before a position. */
  isSubmitted(position: number): boolean {
    if (((this.#tail - position) | 0) < 0) throw fail("the place is no later one than the next");
    return ((this.#submitted - position) | 0) >= 0;
  }

  /**
   * Takes a free SQE, which counts as filled from now on. The caller must write every word of it:
   * it still holds the words of its last use.
   *
   * @returns The word index, or -1 if the queue is full.
   */
  next(): number {
    const tail = this.#tail;
    if (((tail - this.#submitted) | 0) >= this.#usable) return -1;
    this.#tail = (tail + 1) | 0;
    const array = this.#array;
    if (array === undefined) return (tail & this.#sqMask) << this.#sqeShift;
    // Use them in turn. Fewer are pending than exist, so the next one has been submitted.
    const index = this.#shared;
    this.#shared = index + 1 < this.sqEntries ? index + 1 : this.#ownSqes;
    array[tail & this.#sqMask] = index;
    return index << this.#sqeShift;
  }

  /**
   * Takes SQEs for good. They keep their words, and {@linkcode again} queues them. A caller that
   * repeats an operation then writes only the words that differ.
   *
   * @returns The index of the first SQE, or -1 if not enough are left.
   */
  own(count: number): number {
    assert(count >= 0, "so many SQEs");
    const first = this.#owned;
    if (first + count > this.#ownSqes) return -1;
    this.#owned += count;
    return first;
  }

  /**
   * Queues an own SQE again. It must have been submitted since it was last queued.
   *
   * @returns Its word index. Write the words that differ before the next `enter`.
   */
  again(index: number): number {
    const tail = this.#tail;
    if (this.#usable === 0) throw fail("the ring is open");
    if (index >= this.#owned) throw fail("an SQE that is queued again has an owner");
    // Holds if each own SQE is queued at most once, because shared ones never exceed their number.
    if (((tail - this.#submitted) | 0) >= this.sqEntries) throw fail("it was submitted before");
    this.#tail = (tail + 1) | 0;
    this.#array![tail & this.#sqMask] = index;
    return index << this.#sqeShift;
  }

  /** {@linkcode again} for the first `count` SQEs of a list. Write the words that differ before. */
  againMany(indices: Int32Array<ArrayBuffer>, count: number): void {
    if (this.#usable === 0) throw fail("the ring is open");
    const array = this.#array!;
    const mask = this.#sqMask;
    const tail = this.#tail;
    const pending = (tail + count - this.#submitted) | 0;
    if (pending > this.sqEntries) throw fail("there is room for so many");
    for (let nth = 0; nth < count; nth++) array[tail + nth & mask] = indices[nth];
    this.#tail = (tail + count) | 0;
  }

  /** The word index of an own SQE. */
  wordOf(index: number): number {
    return index << this.#sqeShift;
  }

  /** Like {@linkcode next}, but submits a full queue first, so there always is a free SQE. */
  place(): number {
    const at = this.next();
    if (at >= 0) return at;
    this.reserve(1);
    return this.next();
  }

  /**
   * Makes room for `count` more SQEs, by submitting the pending ones if necessary. The new SQEs
   * then go to the kernel in one system call, because links do not extend from one call into the
   * next.
   */
  reserve(count: number): void {
    if (this.pending + count > this.#usable) this.#makeRoom(count);
  }

  // A separate function, so that the compiler still inlines the check in `reserve`.
  #makeRoom(count: number): void {
    assert(count <= this.sqEntries - this.#ownSqes, "so many SQEs can ever go at once");
    // The kernel takes all SQEs unless it is out of memory, as at the limit of a cgroup. That may be
    // over in a moment, or once others have been killed for it.
    for (let tries = 0; tries < RESERVE_TRIES; tries++) {
      const taken = this.enter(0);
      if (this.pending + count <= this.#usable) return;
      // More completions than can come: a wait that only time ends.
      const pauseUs = Math.min(2 ** tries, RESERVE_PAUSE_US);
      if (taken === 0) this.kernel.enterTimeout(0, this.cqEntries, GETEVENTS, pauseUs);
    }
    throw new Error("the kernel takes no SQEs");
  }

  /** Number of unread CQEs, at {@linkcode cqeWord} 0 and following. */
  ready(): number {
    if (this.#head === this.#cqTail && !this.#closed) {
      // The batch has been read, so look for new CQEs. `enter` frees the slots of the batch.
      this.#cqTail = Atomics.load(this.#memory.cqTail, 0) | 0;
      // The kernel never writes such a tail, but memory that replaced a ring's may contain one.
      if (((this.#cqTail - this.#head) >>> 0) > this.cqEntries) {
        throw fail("the completion queue is the kernel's");
      }
    }
    return (this.#cqTail - this.#head) | 0;
  }

  /** The word index of the `nth` unread CQE. */
  cqeWord(nth: number): number {
    return ((this.#head + nth) & this.#cqMask) << CQE_SHIFT;
  }

  /** The word index of the oldest unread CQE, or -1. Call {@linkcode seen} once it is read. */
  peek(): number {
    return this.ready() === 0 ? -1 : this.cqeWord(0);
  }

  /** Marks the oldest CQEs as read. */
  seen(count = 1): void {
    // A ring that was closed in the meantime has no unread CQEs.
    if (count > ((this.#cqTail - this.#head) | 0) && !this.#closed) {
      throw fail("CQEs were ready before");
    }
    this.#head = (this.#head + count) | 0;
  }

  /** Whether completions have overflowed the CQ. The next `enter` fetches them. */
  get overflowed(): boolean {
    if (this.#closed) return false;
    return (Atomics.load(this.#memory.sqFlags, 0) & IORING_SQ_CQ_OVERFLOW) !== 0;
  }

  /**
   * Whether completions signal the registered eventfd. While this thread reads completions anyway,
   * signals would only cost the kernel time. After switching them on, {@linkcode enter} once more
   * and read what is there: completions posted before were not signalled.
   */
  signals(wanted: boolean): void {
    assert(!this.#closed, "the ring is open");
    Atomics.store(this.#memory.cqFlags, 0, wanted ? 0 : IORING_CQ_EVENTFD_DISABLED);
  }

  /**
   * Submits the pending SQEs and waits for `minComplete` completions, in one system call.
   *
   * It may return with fewer, after a signal or if the kernel could not take more SQEs at the
   * moment. Read the CQEs and call again.
   *
   * @returns The number of SQEs that the kernel took.
   * @throws {UblkError} `SYSCALL_FAILED` on what no retry can cure (a closed ring, a bad SQE
   *   array).
   */
  enter(minComplete: number): number {
    const toSubmit = this.#publish();
    // GETEVENTS always: it is what runs deferred task work and fetches overflowed completions.
    return this.#taken(this.kernel.enter(toSubmit, minComplete, GETEVENTS));
  }

  /** Like {@linkcode enter}, but waits at most `timeoutUs` microseconds. */
  enterTimeout(minComplete: number, timeoutUs: number): number {
    const toSubmit = this.#publish();
    return this.#taken(this.kernel.enterTimeout(toSubmit, minComplete, GETEVENTS, timeoutUs));
  }

  #publish(): number {
    // After closing, the memory may belong to something else, so do not rely on the kernel to
    // refuse.
    if (this.#usable <= 0) throw fail("the ring is open");
    Atomics.store(this.#memory.cqHead, 0, this.#head);
    // Not atomic: only this thread's system call reads it (see `openRing`). That saves 130
    // instructions.
    this.#memory.sqTail[0] = this.#tail | 0;
    return (this.#tail - this.#submitted) | 0;
  }

  #taken(result: number): number {
    if (result >= 0) {
      if (result > this.pending) throw fail("the kernel takes no more than it is given");
      this.#submitted = (this.#submitted + result) | 0;
      if (result > 0 && this.#submitted !== this.#tail) this.#checkChain();
      return result;
    }
    switch (-result) {
      case EINTR: // A signal before anything was submitted.
      case ETIME: // The timeout has elapsed; the SQEs have been submitted, see below.
      case EAGAIN: // The kernel has no memory for a request at the moment.
      case EBUSY: // Overflowed completions must be read before more SQEs are taken.
        // After ETIME the kernel reports only the wait. The SQ head shows which SQEs it took.
        this.#submitted = Atomics.load(this.#memory.sqHead, 0) | 0;
        // A call that takes nothing runs no completions either (io_uring_enter in
        // io_uring/io_uring.c), and those give back requests that the kernel can use again.
        if (result === -EAGAIN) this.kernel.enter(0, 0, GETEVENTS);
        return 0;
    }
    throw syscallError("io_uring_enter", undefined, -result);
  }

  /**
   * Called if the kernel ran out of memory during a submission. If that split a chain, its first
   * part already runs, and the rest would not wait for it: for instance, an answer would run before
   * the transfer of its data. That cannot be repaired, so nothing more is submitted.
   */
  #checkChain(): void {
    const place = (this.#submitted - 1) & this.#sqMask;
    const index = this.#array === undefined ? place : this.#array[place];
    const flags = this.sqes[index << this.#sqeShift] >>> 8;
    if ((flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) === 0) return;
    this.#usable = 0;
    throw syscallError("io_uring_enter (amid a chain of operations)", undefined, ENOMEM);
  }

  /** Releases the ring. The kernel cancels operations in flight. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    // From here on no method touches the memory: no SQE is free and no CQE is unread.
    this.#usable = 0;
    this.#submitted = this.#tail;
    this.#head = this.#cqTail;
    this.kernel.close();
  }
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}
