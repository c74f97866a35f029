/**
 * Integrity metadata: extra bytes per block for requests that the block layer has marked
 * (`UBLK_IO_F_INTEGRITY`). They travel alongside the data, in a buffer of their own.
 *
 * @module
 */

import { asPromise, isLater } from "../disk/answers.ts";
import { assert } from "../uapi/error.ts";
import type { Backend } from "../disk/backend.ts";
import { UBLK_IO_F_INTEGRITY, UBLK_IO_OP_READ } from "../uapi/ublk_io.ts";
import { SlotBuffers } from "./buffers.ts";
import type { Slots } from "./slots.ts";

/** The buffers for metadata, one per slot. */
export class Metadata implements Disposable {
  readonly #slots: Slots;
  readonly #blockSize: number;
  readonly #metadataSize: number;
  readonly #buffers: SlotBuffers;

  /**
   * @param owner The number of slots, and the number of those that may still be written to.
   * @param metadataSize Bytes of metadata per block of `blockSize` bytes.
   */
  constructor(
    slots: Slots,
    owner: { readonly count: number; readonly live: number },
    maxIoBytes: number,
    blockSize: number,
    metadataSize: number,
  ) {
    assert(metadataSize > 0 && metadataSize <= 255, "a block's metadata is 1 to 255 bytes");
    assert(maxIoBytes % blockSize === 0, "the largest request is whole blocks");
    this.#slots = slots;
    this.#blockSize = blockSize;
    this.#metadataSize = metadataSize;
    this.#buffers = new SlotBuffers(owner, (maxIoBytes / blockSize) * metadataSize);
  }

  /** Bytes of metadata of the slot's request; 0 unless the block layer has marked it. */
  length(slot: number): number {
    if ((this.#slots.opFlags(slot) & UBLK_IO_F_INTEGRITY) === 0) return 0;
    return (this.#slots.bytes(slot) / this.#blockSize) * this.#metadataSize;
  }

  /** The address of the slot's metadata. */
  address(slot: number): number {
    return this.#buffers.address(slot);
  }

  /** As {@linkcode SlotBuffers.reserve}. */
  reserve(): void {
    this.#buffers.reserve();
  }

  /**
   * As {@linkcode SlotBuffers.quarantine}, for a Promise that may still use the slot's metadata.
   */
  quarantine(slot: number): () => void {
    return this.#buffers.quarantine(slot);
  }

  /**
   * Calls the backend's method for metadata, after the method for data has returned `value`. The
   * returned Promise settles after both have settled, since either may use the slot's buffers.
   */
  transfer(backend: Backend, slot: number, value: unknown): unknown {
    const bytes = this.length(slot);
    if (bytes === 0) return value;
    const view = this.#buffers.view(slot, bytes);
    const offset = this.#slots.offset(slot);
    let done: unknown;
    try {
      done = (this.#slots.opFlags(slot) & 0xff) === UBLK_IO_OP_READ
        ? backend.readMetadata?.(view, offset)
        : backend.writeMetadata?.(view, offset);
    } catch (thrown) {
      if (!isLater(value)) throw thrown;
      done = Promise.reject(thrown);
    }
    return isLater(done) ? bothOf(value, done) : value;
  }

  [Symbol.dispose](): void {
    this.#buffers[Symbol.dispose]();
  }
}

/** Waits for both to settle. Resolves with the first value, or rejects with the first failure. */
async function bothOf(first: unknown, second: unknown): Promise<unknown> {
  const both = [first, second].map(asPromise);
  await Promise.allSettled(both);
  return (await Promise.all(both))[0];
}
