/**
 * How large chunks are in their plain form: how sparse one is is judged by its blocks, not by what
 * compression has made of them. Only the chunk's header says it, which is read once.
 *
 * @module
 */

import { type Store, StoreError } from "../../store/store.ts";
import { sideBySide } from "../drain/side_by_side.ts";
import {
  CHUNK_HEADER_BYTES,
  dataOffset,
  isPackedChunk,
  shapeOfChunk,
  tableBytesOf,
} from "../format/chunk.ts";
import { FormatError, isSealedRecord } from "../format/record.ts";
import type { ObjectNames } from "../names.ts";
import { innerOf } from "../opened_store.ts";
import type { Collected } from "./collect.ts";

/** Headers that are read at once. */
const AT_ONCE = 16;

/** The sizes of a volume's chunks in their plain form, as far as they are known. */
export class PlainSizes {
  readonly #known = new Map<number, number>();

  /**
   * What a collection has found, in sizes of the plain form. Of a volume that does not compress, these are
   * the sizes of the objects, and nothing is read.
   *
   * @param isOver Whether to leave it at that, asked before each call to the store.
   */
  async of(
    store: Store,
    names: ObjectNames,
    collected: Collected,
    isOver: () => boolean = () => false,
  ): Promise<Collected> {
    if (collected.manifest.compression === undefined) return collected;
    const sizes = new Map<number, number>();
    await sideBySide(collected.left, AT_ONCE, async ({ number, bytes }) => {
      let size = this.#known.get(number);
      if (size === undefined && !isOver()) size = await readSize(store, names.chunk(number));
      // At once: a store that fails meanwhile is asked for the others alone the next time.
      if (size !== undefined) this.#known.set(number, size);
      sizes.set(number, size ?? bytes);
    });
    for (const number of this.#known.keys()) if (!sizes.has(number)) this.#known.delete(number);
    const held = collected.held.map((one) => ({ ...one, bytes: sizes.get(one.chunk)! }));
    const storedBytes = sizes.values().reduce((sum, size) => sum + size, 0);
    return { ...collected, held, storedBytes };
  }
}

/** The size of a chunk in its plain form; undefined if it is gone, or nobody can tell. */
async function readSize(store: Store, name: string): Promise<number | undefined> {
  const range = { offset: 0, length: CHUNK_HEADER_BYTES, mayEnd: true };
  try {
    const found = await innerOf(store).get(name, { range });
    if (found === undefined) return undefined;
    tableBytesOf(found.bytes);
    if (!isPackedChunk(found.bytes)) return found.size;
    const { frames, blocks, blockSize } = shapeOfChunk(found.bytes);
    return dataOffset(frames, blocks, isSealedRecord(found.bytes)) + blocks * blockSize;
  } catch (error) {
    // One that is damaged does not keep the others from being judged.
    const isDamaged = error instanceof StoreError && error.fault === "corrupt";
    if (error instanceof FormatError || isDamaged) return undefined;
    throw error;
  }
}
