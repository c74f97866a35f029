import { assert } from "@std/assert";
import { Dice } from "../../uapi/dice.ts";
import type { Manifest } from "../format/manifest.ts";
import { BESIDE_DRAIN, sparseChunks } from "./sparse.ts";

const BLOCK = 4096;
const CHUNK_BLOCKS = 1024;
const manifest = { blockSize: BLOCK, chunkSize: CHUNK_BLOCKS * BLOCK } as Manifest;

/** A volume's chunks, by what is in them. The store has a chunk until a collection sees it empty. */
class Model {
  readonly placeOf: Int32Array;
  readonly sizes = new Map<number, number>();
  readonly #blocks = new Map<number, Set<number>>();
  readonly needed = new Map<number, number>();
  movedBlocks = 0;
  #next = 1;

  constructor(blocks: number) {
    this.placeOf = new Int32Array(blocks);
    this.put(Array.from({ length: blocks }, (_, block) => block));
  }

  put(blocks: readonly number[]): void {
    for (let at = 0; at < blocks.length; at += CHUNK_BLOCKS) {
      const chunk = this.#next++;
      const some = new Set(blocks.slice(at, at + CHUNK_BLOCKS));
      this.sizes.set(chunk, some.size);
      this.#blocks.set(chunk, some);
      for (const block of some) {
        const before = this.placeOf[block];
        if (before > 0) this.needed.set(before, this.needed.get(before)! - 1);
        this.placeOf[block] = chunk;
      }
      this.needed.set(chunk, some.size);
    }
  }

  get stored(): number {
    return this.sizes.values().reduce((sum, size) => sum + size, 0);
  }

  /** Deletes what is empty, and chooses what is to be moved. */
  collect(growth: number): ReadonlySet<number> {
    for (const [chunk, needed] of this.needed) {
      if (needed > 0) continue;
      this.needed.delete(chunk);
      this.sizes.delete(chunk);
      this.#blocks.delete(chunk);
    }
    const held = [...this.needed].map(([chunk, needed]) => {
      return { chunk, neededBytes: needed * BLOCK, bytes: this.sizes.get(chunk)! * BLOCK };
    });
    const neededBytes = this.placeOf.length * BLOCK;
    const found = { held, manifest, neededBytes, storedBytes: this.stored * BLOCK };
    return sparseChunks(found, BESIDE_DRAIN, growth * BLOCK);
  }

  /** Moves what is still in chunks. */
  move(chunks: ReadonlySet<number>): void {
    const blocks = [...chunks].flatMap((chunk) =>
      [...this.#blocks.get(chunk)!].filter((block) => this.placeOf[block] === chunk)
    );
    this.movedBlocks += blocks.length;
    this.put(blocks);
  }
}

/** Overwrites 10 times the size; so much is written from one collection to the next. */
function overwritten(blocks: number, turn: number) {
  const dice = new Dice(1);
  const model = new Model(blocks);
  let [most, left] = [0, 0];
  for (let written = 0; written < 10 * blocks; written += turn) {
    const chunks = model.collect(turn);
    // At first all chunks are equally full, and to move those would cost the most.
    const isSteady = written > 2 * blocks;
    if (isSteady) left = Math.max(left, model.stored / blocks);
    model.put(Array.from({ length: turn }, () => dice.draw(blocks)));
    model.move(chunks);
    if (isSteady) most = Math.max(most, model.stored / blocks);
  }
  return { most, left, moved: model.movedBlocks / (10 * blocks) };
}

Deno.test("sparseChunks + overwrites of 10 times the size + at most 1.6 times, and 0.6 moved", () => {
  const blocks = 128 << 10;
  for (const part of [1 / 128, 1 / 64, 1 / 32, 1 / 16]) {
    const { most, left, moved } = overwritten(blocks, blocks * part);
    const words = `${part}: at most ${most}, left ${left}, moved ${moved}`;
    // What is left of 0.6 is for the map and the tables of chunks.
    assert(moved > 0.4 && moved < 0.58, words);
    assert(left <= 1.6, words);
    // Before a turn's garbage goes, what was written and moved meanwhile is there too.
    assert(most <= (part <= 1 / 64 ? 1.6 : 1.58 + 1.6 * part), words);
  }
});
