/**
 * An io_uring in TypeScript: the submission and completion queues as typed arrays over the memory
 * that the kernel shares, and one system call that submits and waits.
 *
 * The two queues are rings of 32-bit indices that wrap around; each side writes only its own end.
 * What orders the accesses is one atomic store or load per batch: the store of the SQ tail
 * publishes every SQE written before it, the load of the CQ tail makes every CQE before it
 * readable, and the store of the CQ head gives the slots back.
 *
 * A ring belongs to the thread that made it. The kernel side is behind {@linkcode RingKernel}, so
 * that a fake with seeded faults can stand where the kernel stands.
 *
 * @module
 */

import { EAGAIN, EBUSY, EINTR, ENOMEM, ETIME } from "../uapi/errno.ts";
import { assert, fail } from "../uapi/error.ts";
import { IORING_ENTER_GETEVENTS, IORING_SQ_CQ_OVERFLOW } from "../uapi/io_uring.ts";
import { IOSQE_IO_HARDLINK, IOSQE_IO_LINK } from "../uapi/io_uring_sqe.ts";
import { CQE_BYTES } from "../uapi/offsets.ts";
import { syscallError } from "./libc.ts";
import type { RingKernel, RingMemory } from "./ring_memory.ts";

export type { RingKernel, RingMemory } from "./ring_memory.ts";

/** 32-bit words in a CQE: `user_data` low and high, `res`, `flags`. */
export const CQE_WORDS = 4;
const CQE_SHIFT = 2;

/**
 * Which bits the word index of an SQE may have: `IORING_MAX_ENTRIES` SQEs of 32 words. Who fills many
 * SQEs takes it over the index, and spares the compiler a check for overflow with each word.
 */
export const SQE_INDEX_BITS = 0xfffff;

assert(CQE_WORDS === 1 << CQE_SHIFT, "a CQE's index is shifted, and not multiplied");
assert(CQE_WORDS * 4 === CQE_BYTES, "as large as the kernel's");

/** How often {@linkcode Ring.reserve} asks a kernel whose memory is exhausted. */
const RESERVE_TRIES = 1000;

/** One ring: fill SQEs, submit them, read CQEs. */
export class Ring implements Disposable {
  /** The kernel's side. */
  readonly kernel: RingKernel;
  /** The SQEs as words; write at the index that {@linkcode next} returns. */
  readonly sqes: Uint32Array<ArrayBuffer>;
  /** The CQEs as words; read at the index that {@linkcode peek} returns. */
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
  // Our copies of the indices, as signed 32-bit numbers: `|0` makes them wrap as the kernel's do.
  #tail: number;
  #submitted: number;
  #head: number;
  #cqTail: number;
  /** SQEs that anybody may fill: none once the ring is closed and its memory is gone. */
  #usable: number;
  /** The indirection array, with {@linkcode own} SQEs. */
  readonly #array: Uint32Array<ArrayBuffer> | undefined;
  /** How many SQEs are somebody's own, or are to be. They are the first. */
  readonly #ownSqes: number;
  /** How many of them somebody has. */
  #owned = 0;
  /** The next of those that anybody may fill. */
  #shared: number;
  #closed = false;

  /**
   * Takes over shared memory and the kernel behind it. See `openRing` for the usual way.
   *
   * @param ownSqes How many of the SQEs are for {@linkcode own}, which takes the array.
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
    // None at all is what a closed ring has.
    assert(ownSqes >= 0 && ownSqes < memory.sqEntries, "some SQEs are anybody's");
    assert(ownSqes === 0 || sqArray !== undefined, "the array says which SQE comes next");
    this.#array = ownSqes > 0 ? sqArray : undefined;
    if (ownSqes === 0) sqArray?.forEach((_, index) => sqArray[index] = index);
    this.#tail = Atomics.load(memory.sqTail, 0) | 0;
    this.#submitted = this.#tail;
    this.#head = Atomics.load(memory.cqHead, 0) | 0;
    this.#cqTail = this.#head;
  }

  /** SQEs written and not yet taken by the kernel. */
  get pending(): number {
    return (this.#tail - this.#submitted) | 0;
  }

  /** The place in the queue that the next SQE will have: for {@linkcode isSubmitted}. */
  get position(): number {
    return this.#tail;
  }

  /** Whether the kernel has taken all SQEs that were before this place. */
  isSubmitted(position: number): boolean {
    assert(((this.#tail - position) | 0) >= 0, "the place is no later one than the next");
    return ((this.#submitted - position) | 0) >= 0;
  }

  /**
   * The word index of a free SQE, which counts as filled from now on, or -1 when the queue is
   * full. Every word of it is the caller's to write: it holds what its last user left there.
   */
  next(): number {
    const tail = this.#tail;
    if (((tail - this.#submitted) | 0) >= this.#usable) return -1;
    this.#tail = (tail + 1) | 0;
    const array = this.#array;
    if (array === undefined) return (tail & this.#sqMask) << this.#sqeShift;
    // In turn. Fewer are pending than there are, so that the next one has been submitted.
    const index = this.#shared;
    this.#shared = index + 1 < this.sqEntries ? index + 1 : this.#ownSqes;
    array[tail & this.#sqMask] = index;
    return index << this.#sqeShift;
  }

  /**
   * Takes SQEs for good: they keep what is written into them, and {@linkcode again} queues them.
   * What does the same again and again then writes the words that differ and no others.
   *
   * @returns The number of the first, or -1 where not so many are left.
   */
  own(count: number): number {
    assert(count >= 0, "so many SQEs");
    const first = this.#owned;
    if (first + count > this.#ownSqes) return -1;
    this.#owned += count;
    return first;
  }

  /**
   * Queues an SQE of one's own, which must have been submitted since it was queued last.
   *
   * @returns Its word index. What differs is to be written before the next `enter`.
   */
  again(index: number): number {
    const tail = this.#tail;
    if (this.#usable === 0) fail("the ring is open");
    if (index >= this.#owned) fail("an SQE that is queued again has an owner");
    // Each of one's own once, and of the others no more than there are.
    if (((tail - this.#submitted) | 0) >= this.sqEntries) fail("it was submitted before");
    this.#tail = (tail + 1) | 0;
    this.#array![tail & this.#sqMask] = index;
    return index << this.#sqeShift;
  }

  /** {@linkcode again} for the first `count` of a list, with what differs written before. */
  againMany(indices: Int32Array<ArrayBuffer>, count: number): void {
    if (this.#usable === 0) fail("the ring is open");
    const array = this.#array!;
    const mask = this.#sqMask;
    const tail = this.#tail;
    if (((tail + count - this.#submitted) | 0) > this.sqEntries) fail("there is room for so many");
    for (let nth = 0; nth < count; nth++) array[tail + nth & mask] = indices[nth];
    this.#tail = (tail + count) | 0;
  }

  /** Where an SQE of one's own is, by word. */
  wordOf(index: number): number {
    return index << this.#sqeShift;
  }

  /** {@linkcode next} where there must be one: a full queue is submitted first. */
  place(): number {
    const at = this.next();
    if (at >= 0) return at;
    this.reserve(1);
    return this.next();
  }

  /**
   * Submits what is pending unless there is room for `count` further SQEs, which then go to the
   * kernel in one system call: links do not reach from one into the next.
   */
  reserve(count: number): void {
    if (this.pending + count > this.#usable) this.#makeRoom(count);
  }

  // By itself, so that the compiler still takes the look before it into its callers.
  #makeRoom(count: number): void {
    assert(count <= this.sqEntries - this.#ownSqes, "so many SQEs can ever go at once");
    // The kernel takes all, or its memory is exhausted, which may be over at the next moment.
    for (let tries = 0; tries < RESERVE_TRIES; tries++) {
      this.enter(0);
      if (this.pending + count <= this.#usable) return;
    }
    throw new Error("the kernel takes no SQEs");
  }

  /** How many CQEs are there to be read, at {@linkcode cqeWord} 0 and on. */
  ready(): number {
    if (this.#head === this.#cqTail && !this.#closed) {
      // The batch is read: look for what came in meanwhile. `enter` gives its places back.
      this.#cqTail = Atomics.load(this.#memory.cqTail, 0) | 0;
      // No kernel writes such a tail, but memory that was put in the place of a ring may hold it.
      if (((this.#cqTail - this.#head) >>> 0) > this.cqEntries) {
        fail("the completion queue is the kernel's");
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

  /** Passes over the oldest CQEs. */
  seen(count = 1): void {
    // A ring that was closed meanwhile has none unread.
    if (count > ((this.#cqTail - this.#head) | 0) && !this.#closed) fail("CQEs were ready before");
    this.#head = (this.#head + count) | 0;
  }

  /** Whether the kernel keeps completions that found the CQ full; the next `enter` fetches them. */
  get overflowed(): boolean {
    if (this.#closed) return false;
    return (Atomics.load(this.#memory.sqFlags, 0) & IORING_SQ_CQ_OVERFLOW) !== 0;
  }

  /**
   * Submits what is pending and waits for `minComplete` completions, all in one system call.
   *
   * It may return with fewer: a signal came, or the kernel could not take more for the moment.
   * Read what is there and call again.
   *
   * @returns The number of SQEs that the kernel took.
   * @throws {UblkError} `SYSCALL_FAILED` on what no retry can cure (a closed ring, a bad SQE array).
   */
  enter(minComplete: number): number {
    const toSubmit = this.#publish();
    // GETEVENTS always: it is what runs deferred task work and fetches overflowed completions.
    return this.#taken(this.kernel.enter(toSubmit, minComplete, IORING_ENTER_GETEVENTS));
  }

  /** {@linkcode enter} that waits no longer than `timeoutUs` microseconds. */
  enterTimeout(minComplete: number, timeoutUs: number): number {
    const toSubmit = this.#publish();
    const flags = IORING_ENTER_GETEVENTS;
    return this.#taken(this.kernel.enterTimeout(toSubmit, minComplete, flags, timeoutUs));
  }

  #publish(): number {
    // The memory may belong to somebody else by now, so this must not be left to the kernel.
    assert(this.#usable > 0, "the ring is open");
    Atomics.store(this.#memory.cqHead, 0, this.#head);
    Atomics.store(this.#memory.sqTail, 0, this.#tail);
    return (this.#tail - this.#submitted) | 0;
  }

  #taken(result: number): number {
    if (result >= 0) {
      if (result > this.pending) fail("the kernel takes no more than it is given");
      this.#submitted = (this.#submitted + result) | 0;
      if (result > 0 && this.#submitted !== this.#tail) this.#checkChain();
      return result;
    }
    switch (-result) {
      case EINTR: // A signal before anything was submitted.
      case ETIME: // The time is up; what was to be submitted has been, see below.
      case EAGAIN: // No memory for a request right now.
      case EBUSY: // Overflowed completions must be read before more is taken.
        // After ETIME the kernel reports only the wait. What it took it shows in the SQ head.
        this.#submitted = Atomics.load(this.#memory.sqHead, 0) | 0;
        return 0;
    }
    throw syscallError("io_uring_enter", undefined, -result);
  }

  /**
   * The kernel's memory was exhausted amid what was submitted. If that was amid a chain, what was
   * taken of it runs by itself, and the rest would run without waiting for it: an answer, say, before
   * the data it is about. There is no way to mend that, so nothing more is submitted.
   */
  #checkChain(): void {
    const place = (this.#submitted - 1) & this.#sqMask;
    const index = this.#array === undefined ? place : this.#array[place];
    const flags = this.sqes[index << this.#sqeShift] >>> 8;
    if ((flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) === 0) return;
    this.#usable = 0;
    throw syscallError("io_uring_enter (amid a chain of operations)", undefined, ENOMEM);
  }

  /** Releases the ring; what is in flight is cancelled by the kernel. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    // From here on no method touches the memory: there is no free SQE and no unread CQE.
    this.#usable = 0;
    this.#submitted = this.#tail;
    this.#head = this.#cqTail;
    this.kernel.close();
  }
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}
