/**
 * The foundation of a `Ring`: the kernel or a fake of it, and the memory shared with it.
 *
 * @module
 */

/** The kernel's side of the shared memory. */
export interface RingKernel {
  /** The ring's descriptor; -1 for a fake ring. */
  readonly fd: number;
  /** `io_uring_enter`. Returns the number of SQEs taken, or a negative errno. */
  enter(toSubmit: number, minComplete: number, flags: number): number;
  /** Like `enter`, but returns -ETIME after `timeoutUs` microseconds without enough completions. */
  enterTimeout(toSubmit: number, minComplete: number, flags: number, timeoutUs: number): number;
  /** `io_uring_register`. Returns the call's result, or a negative errno. */
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
  /**
   * The indirection array: the SQE at each position of the queue. Without it, SQEs are in order.
   */
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
  /** `IORING_CQ_*`, written by us. */
  readonly cqFlags: Uint32Array<ArrayBuffer>;
}
