/**
 * Fake FETCHes of a device with `UBLK_F_BATCH_IO`, and the buffers that receive their tags. Models
 * `ublk_batch_attach` and `ublk_batch_dispatch`, over rings of provided buffers that are consumed
 * incrementally.
 *
 * @module
 */

import { ENOBUFS } from "../uapi/errno.ts";
import { IORING_CQE_F_BUFFER, IORING_CQE_F_MORE } from "../uapi/io_uring_cqe.ts";
import { IORING_REGISTER_PBUF_RING, IOU_PBUF_RING_INC } from "../uapi/io_uring_register.ts";
import { UBLK_IO_RES_ABORT } from "../uapi/ublk_io.ts";
import { assert } from "../uapi/error.ts";
import type { FakeKernel, FakeSqe } from "../uring/fake_ring.ts";
import { bufferAt } from "../uring/mapping.ts";

const TWO_32 = 0x1_0000_0000;
/** `MAX_NR_TAG`: maximum of tags in one completion. */
const MAX_TAGS = 128;

/** The kernel's view of a ring of provided buffers with one entry. */
class ProvidedBuffer {
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #tail: Uint16Array<ArrayBuffer>;
  #head = 0;
  #used = 0;

  constructor(address: number) {
    this.#words = new Uint32Array(bufferAt(address, 16));
    this.#tail = new Uint16Array(bufferAt(address, 16));
  }

  /** Bytes left in the buffer, of which at most `limit` are used; 0 if there is no buffer. */
  left(limit: number): number {
    if (this.#tail[7] === (this.#head & 0xffff)) return 0;
    return Math.min(this.#words[2], limit - this.#used);
  }

  /** Writes tags to the buffer, which counts as consumed after `limit` bytes. */
  put(tags: readonly number[], limit: number): void {
    const words = this.#words;
    const bytes = tags.length * 2;
    const address = words[0] + words[1] * TWO_32;
    new Uint16Array(bufferAt(address, bytes)).set(tags);
    this.#used += bytes;
    const rest = this.#used >= limit ? 0 : words[2] - bytes;
    words[0] = (address + bytes) >>> 0;
    words[1] = (address + bytes) / TWO_32;
    words[2] = rest;
    if (rest > 0) return;
    this.#head++;
    this.#used = 0;
  }
}

interface Fetch {
  readonly userData: number;
  readonly kind: number;
  readonly kernel: FakeKernel;
  readonly buffer: ProvidedBuffer;
}

/** The FETCHes of one queue and the tags that wait for them. */
export class FakeBatchQueue {
  /** Tags with requests that are not delivered yet. */
  readonly waiting: number[] = [];
  readonly #fetches: Fetch[] = [];

  /** Number of FETCHes that the driver holds. */
  get fetches(): number {
    return this.#fetches.length;
  }

  /** Accepts a FETCH. */
  attach(sqe: FakeSqe, kernel: FakeKernel, buffer: ProvidedBuffer): void {
    this.#fetches.push({ userData: sqe.userData, kind: sqe.kind, kernel, buffer });
  }

  /**
   * Delivers waiting tags, all through the oldest FETCH while it has a buffer.
   *
   * @param prepare Prepares a tag's request; returns false if the request was ended instead.
   * @param limit Bytes after which a buffer counts as consumed.
   */
  dispatch(prepare: (tag: number, kernel: FakeKernel) => boolean, limit: number): void {
    while (this.waiting.length > 0 && this.#fetches.length > 0) {
      const { userData, kind, kernel, buffer } = this.#fetches[0];
      const count = Math.min(MAX_TAGS, Math.floor(buffer.left(limit) / 2));
      if (count === 0) {
        this.#fetches.shift();
        kernel.complete(userData, kind, -ENOBUFS);
        continue;
      }
      const tags = this.waiting.splice(0, count).filter((tag) => prepare(tag, kernel));
      if (tags.length === 0) continue;
      buffer.put(tags, limit);
      kernel.complete(userData, kind, tags.length * 2, IORING_CQE_F_MORE | IORING_CQE_F_BUFFER);
    }
  }

  /** Ends the oldest FETCH with a result, as the kernel may at any time. */
  end(result: number): void {
    const { userData, kind, kernel } = this.#fetches.shift()!;
    kernel.complete(userData, kind, result);
  }

  /** Aborts all FETCHes at the end of the device. */
  abort(): void {
    while (this.#fetches.length > 0) this.end(UBLK_IO_RES_ABORT);
  }
}

/** The groups of provided buffers that rings have registered. */
export class FakeBufferGroups {
  readonly #groups = new Map<FakeKernel, Map<number, ProvidedBuffer>>();

  /** Records a group: a handler for {@linkcode FakeKernel.onRegister}. */
  onRegister(kernel: FakeKernel, opcode: number, argument: Uint8Array<ArrayBuffer>): void {
    if (opcode !== IORING_REGISTER_PBUF_RING) return;
    const words = new Uint32Array(argument.slice().buffer);
    assert(words[2] === 1 && words[3] >>> 16 === IOU_PBUF_RING_INC, "one buffer, little by little");
    const groups = this.#groups.get(kernel) ?? new Map<number, ProvidedBuffer>();
    this.#groups.set(kernel, groups);
    groups.set(words[3] & 0xffff, new ProvidedBuffer(words[0] + words[1] * TWO_32));
  }

  /** The buffer of a group. */
  of(kernel: FakeKernel, group: number): ProvidedBuffer | undefined {
    return this.#groups.get(kernel)?.get(group);
  }
}

/** An element of a PREP or COMMIT. */
export interface BatchElement {
  readonly tag: number;
  readonly bufferIndex: number;
  readonly result: number;
  readonly address: number;
}

/** The elements of a PREP or COMMIT. */
export function batchElements({ words }: FakeSqe): BatchElement[] {
  const [count, bytes] = [words[13] & 0xffff, (words[13] >>> 16) & 0xff];
  assert(words[6] === count * bytes, "the length is that of the elements");
  const memory = new Uint32Array(bufferAt(words[4] + words[5] * TWO_32, count * bytes)).slice();
  return Array.from({ length: count }, (_, index) => {
    const at = index * bytes / 4;
    return {
      tag: memory[at] & 0xffff,
      bufferIndex: memory[at] >>> 16,
      result: memory[at + 1] | 0,
      address: bytes >= 16 ? memory[at + 2] + memory[at + 3] * TWO_32 : 0,
    };
  });
}
