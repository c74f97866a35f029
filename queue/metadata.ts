/**
 * Integrity metadata: some bytes per block that travel beside the data of requests that the block
 * layer has marked (`UBLK_IO_F_INTEGRITY`), through a place of their own.
 *
 * @module
 */

import { asPromise, isLater } from "../disk/answers.ts";
import { assert } from "../uapi/error.ts";
import type { Backend } from "../disk/backend.ts";
import { UBLK_IO_F_INTEGRITY, UBLK_IO_OP_READ } from "../uapi/ublk_io.ts";
import { SlotBuffers } from "./buffers.ts";
import type { Slots } from "./slots.ts";

/** A place for each slot's metadata. */
export class Metadata implements Disposable {
  readonly #slots: Slots;
  readonly #blockSize: number;
  readonly #metadataSize: number;
  readonly #buffers: SlotBuffers;

  /**
   * @param owner How many slots there are, and how many may still be written to.
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

  /** Bytes of metadata that go with the slot's request: 0 unless the block layer has marked it. */
  length(slot: number): number {
    if ((this.#slots.opFlags(slot) & UBLK_IO_F_INTEGRITY) === 0) return 0;
    return (this.#slots.bytes(slot) / this.#blockSize) * this.#metadataSize;
  }

  /** Where the slot's metadata is. */
  address(slot: number): number {
    return this.#buffers.address(slot);
  }

  /** As {@linkcode SlotBuffers.reserve}. */
  reserve(): void {
    this.#buffers.reserve();
  }

  /** As {@linkcode SlotBuffers.quarantine}: a Promise has the slot's place. */
  quarantine(slot: number): () => void {
    return this.#buffers.quarantine(slot);
  }

  /**
   * Calls the backend's method for metadata, after that for data has returned `value`. What it
   * returns settles when both have: until then either may still work on the slot's places.
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

/** What the first is or resolves to, once both have settled; the first failure of the two. */
async function bothOf(first: unknown, second: unknown): Promise<unknown> {
  const both = [first, second].map(asPromise);
  await Promise.allSettled(both);
  return (await Promise.all(both))[0];
}
