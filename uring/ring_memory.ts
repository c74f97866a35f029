/**
 * What a `Ring` stands on: the kernel, or a fake of it, and the memory that the two share.
 *
 * @module
 */

/** What stands on the other side of the shared memory. */
export interface RingKernel {
  /** The ring's descriptor, or -1 for one that the kernel does not know. */
  readonly fd: number;
  /** `io_uring_enter`: SQEs taken, or a negative errno. */
  enter(toSubmit: number, minComplete: number, flags: number): number;
  /** `enter` that also returns, with -ETIME, after `timeoutUs` without enough completions. */
  enterTimeout(toSubmit: number, minComplete: number, flags: number, timeoutUs: number): number;
  /** `io_uring_register`: the call's result, or a negative errno. */
  register(opcode: number, argument: Uint8Array<ArrayBuffer> | null, count: number): number;
  /** Releases the descriptor and the mappings. */
  close(): void;
}

/** The shared memory of a ring. Head, tail and flags are arrays of one word. */
export interface RingMemory {
  /** The SQEs. */
  readonly sqes: Uint32Array<ArrayBuffer>;
  /** 16 words for 64-byte SQEs, 32 for 128-byte ones. */
  readonly sqeWords: 16 | 32;
  /** Number of SQEs, a power of two. */
  readonly sqEntries: number;
  /** Which SQE is at which place of the queue; without it, the one of the same number. */
  readonly sqArray?: Uint32Array<ArrayBuffer>;
  /** Written by the kernel. */
  readonly sqHead: Uint32Array<ArrayBuffer>;
  /** Written by us. */
  readonly sqTail: Uint32Array<ArrayBuffer>;
  /** `IORING_SQ_*`, written by the kernel. */
  readonly sqFlags: Uint32Array<ArrayBuffer>;
  /** The CQEs. */
  readonly cqes: Int32Array<ArrayBuffer>;
  /** Number of CQEs, a power of two. */
  readonly cqEntries: number;
  /** Written by us. */
  readonly cqHead: Uint32Array<ArrayBuffer>;
  /** Written by the kernel. */
  readonly cqTail: Uint32Array<ArrayBuffer>;
}
