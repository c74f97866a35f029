/**
 * Reads blocks straight from the chunks of a store, without an engine.
 *
 * @module
 */

import { type Store, StoreError } from "../../store/store.ts";
import { isUblkError } from "../../uapi/error.ts";
import { damaged } from "../state.ts";
import type { ChunkTable } from "../format/chunk.ts";
import { chunkOf, MAX_CHUNK_BLOCKS, nthOf } from "../format/place.ts";
import { sumOf } from "../format/sum.ts";
import type { ObjectNames } from "../names.ts";
import { type Ancestry, ownerOfChunk } from "../owners.ts";
import { readTable } from "./remains.ts";

/** Tables that are kept. */
const TABLES = 64;
/** How often bytes are fetched that are not what they should be: as often as the engine does. */
const MOST_TRIES = 3;

/** Reads verified blocks of one volume. */
export class ChunkData {
  readonly #store: Store;
  readonly #names: ObjectNames;
  readonly #ancestry: Ancestry;
  readonly #tables = new Map<number, ChunkTable>();

  /** Of the state of a manifest. */
  constructor(store: Store, names: ObjectNames, ancestry: Ancestry) {
    this.#store = store;
    this.#names = names;
    this.#ancestry = ancestry;
  }

  /**
   * Reads blocks whose places follow each other. What comes damaged is fetched anew: it may be sound in the
   * store.
   *
   * @throws {UblkError} `VOLUME_DAMAGED`
   */
  async read(place: number, count: number, blockSize: number): Promise<Uint8Array<ArrayBuffer>> {
    const data = new Uint8Array(count * blockSize);
    for (let done = 0; done < count;) {
      const nth = nthOf(place + done);
      const length = Math.min(count - done, MAX_CHUNK_BLOCKS - nth);
      const part = data.subarray(done * blockSize, (done + length) * blockSize);
      await repeated(() => this.#readChunk(chunkOf(place + done), nth, part, blockSize));
      done += length;
    }
    return data;
  }

  async #readChunk(
    chunk: number,
    nth: number,
    target: Uint8Array<ArrayBuffer>,
    blockSize: number,
  ): Promise<void> {
    const name = ownerOfChunk(this.#names, this.#ancestry, chunk).names.chunk(chunk);
    const { dataAt, sums } = await this.#table(chunk);
    const range = { offset: dataAt + nth * blockSize, length: target.length };
    const found = await this.#store.get(name, { range });
    if (found === undefined) throw damaged(this.#store, name, "is missing, and is needed");
    if (found.bytes.length < target.length) {
      throw damaged(this.#store, name, `: block ${nth} and those after it came cut off`);
    }
    for (let at = 0, block = nth; at < target.length; at += blockSize, block++) {
      if (sumOf(found.bytes.subarray(at, at + blockSize)) === sums[block]) continue;
      throw damaged(this.#store, name, `: block ${block} has a wrong checksum`);
    }
    target.set(found.bytes);
  }

  async #table(chunk: number): Promise<ChunkTable> {
    const known = this.#tables.get(chunk);
    if (known !== undefined) return known;
    const { names, volume } = ownerOfChunk(this.#names, this.#ancestry, chunk);
    const table = await readTable(this.#store, names, volume, chunk);
    if (table === undefined) {
      throw damaged(this.#store, names.chunk(chunk), "is missing or damaged, and is needed");
    }
    if (this.#tables.size === TABLES) this.#tables.delete(this.#tables.keys().next().value!);
    this.#tables.set(chunk, table);
    return table;
  }
}

/** Does something that reads anew if it finds damage. */
async function repeated(read: () => Promise<void>): Promise<void> {
  for (let tries = 1;; tries++) {
    try {
      return await read();
    } catch (error) {
      const isDamage = error instanceof StoreError
        ? error.fault === "corrupt"
        : isUblkError(error) && error.code === "VOLUME_DAMAGED";
      if (!isDamage || tries === MOST_TRIES) throw error;
    }
  }
}
