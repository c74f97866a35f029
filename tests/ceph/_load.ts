/**
 * Writes to a volume, and a model that knows what must be read.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { Dice } from "../../uapi/dice.ts";
import type { Volume } from "../../volume/volume.ts";

const BLOCK = 4096;

/** Blocks of a volume with the number of the last write to each. */
export class Load {
  readonly #dice: Dice;
  readonly #written = new Map<number, number>();
  readonly #blocks: number;
  #writes = 0;

  /** For a volume of so many blocks of 4 KiB. */
  constructor(dice: Dice, blocks: number) {
    this.#dice = dice;
    this.#blocks = blocks;
  }

  /** Writes blocks at random. */
  async write(volume: Volume, count: number): Promise<void> {
    for (let nth = 0; nth < count; nth++) {
      const block = this.#dice.draw(this.#blocks);
      const write = ++this.#writes;
      await volume.write(contents(block, write), block * BLOCK);
      this.#written.set(block, write);
    }
  }

  /** Reads every block, and compares. */
  async compare(volume: Volume): Promise<void> {
    const read = new Uint8Array(BLOCK);
    for (let block = 0; block < this.#blocks; block++) {
      await volume.read(read, block * BLOCK);
      const write = this.#written.get(block);
      const want = write === undefined ? new Uint8Array(BLOCK) : contents(block, write);
      assertEquals(read, want, `block ${block}, write ${write}`);
    }
  }
}

function contents(block: number, write: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(BLOCK);
  new Uint32Array(bytes.buffer).forEach((_, at, words) =>
    words[at] = block * 4099 + write * 7 + at
  );
  return bytes;
}
