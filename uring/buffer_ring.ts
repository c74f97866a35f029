/**
 * A ring of provided buffers with a single buffer that is consumed incrementally. A multishot
 * command writes to it, completion after completion, until it is full.
 *
 * @module
 */

import { IORING_REGISTER_PBUF_RING, IOU_PBUF_RING_INC } from "../uapi/io_uring_register.ts";
import { assert } from "../uapi/error.ts";
import { syscallError } from "./libc.ts";
import { Mapping, pageBytes } from "./mapping.ts";
import type { Ring } from "./ring.ts";

const TWO_32 = 0x1_0000_0000;

/** One provided buffer. Close the ring before disposing of it. */
export class BufferRing implements Disposable {
  /** The buffer's memory. */
  readonly buffer: ArrayBuffer;
  readonly #memory: Mapping;
  readonly #ring: Mapping;
  /** `struct io_uring_buf[1]`, whose `resv` is the ring's tail. */
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #tail: Uint16Array<ArrayBuffer>;

  /**
   * Registers the ring as group `group`. Call {@linkcode provide} next.
   *
   * @param bytes Size of the buffer, in whole pages.
   * @throws {UblkError} `SYSCALL_FAILED` if the kernel lacks such rings (before Linux 6.12).
   */
  constructor(ring: Ring, group: number, bytes: number) {
    assert(bytes > 0 && bytes % pageBytes() === 0, "a provided buffer is whole pages");
    assert(group >= 0 && group <= 0xffff, "the number of a group fits 16 bits");
    using stack = new DisposableStack();
    this.#memory = stack.use(Mapping.anonymous(bytes));
    this.#ring = stack.use(Mapping.anonymous(pageBytes()));
    this.buffer = this.#memory.buffer();
    this.#words = new Uint32Array(this.#ring.buffer());
    this.#tail = new Uint16Array(this.#ring.buffer());
    // struct io_uring_buf_reg { u64 ring_addr; u32 ring_entries; u16 bgid, flags; u64 resv[3]; }
    const words = new Uint32Array(10);
    words[0] = this.#ring.address >>> 0;
    words[1] = this.#ring.address / TWO_32;
    words[2] = 1;
    words[3] = group | (IOU_PBUF_RING_INC << 16);
    const result = ring.kernel.register(
      IORING_REGISTER_PBUF_RING,
      new Uint8Array(words.buffer),
      1,
    );
    if (result < 0) throw syscallError("register a buffer ring", undefined, -result);
    stack.move();
  }

  /** Hands the whole buffer to the kernel; call it again once the buffer is used up. */
  provide(): void {
    const words = this.#words;
    words[0] = this.#memory.address >>> 0;
    words[1] = this.#memory.address / TWO_32;
    words[2] = this.#memory.bytes;
    // `bid` is 0. The tail beside it is published last, with a store that nothing is reordered
    // past.
    const tail = (this.#tail[7] + 1) & 0xffff;
    Atomics.store(words, 3, tail << 16);
  }

  /** Releases the memory. */
  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
    this.#ring[Symbol.dispose]();
  }
}
