/**
 * Volumes with a past, all drawn from a seed: commits of several chunks, trims, writers that died
 * before their commit counted, with their journal and without it. And ways to damage them.
 *
 * @module
 */

import { CrashableProcess } from "../../files/crashable.ts";
import { CrashableMachine } from "../../files/crashable_machine.ts";
import { MemoryStore } from "../../store/memory.ts";
import { StoreError, type StoreTerms, type Version } from "../../store/store.ts";
import type { Dice } from "../../uapi/dice.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { Volume } from "../../volume/volume.ts";

// It stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();

/** Bytes of a block. */
export const BLOCK = 512;
/** Blocks of the disk. */
export const BLOCKS = 512;
/** The volume's name. */
export const NAME = "v";

/** A store in memory that can be told to take no more objects. */
export class FragileStore extends MemoryStore {
  /** Puts that succeed before all others fail. */
  left = Infinity;
  /** A put has failed. */
  hasFailed: Promise<void> = Promise.resolve();
  #failed = () => {};

  /** Fails all puts after so many. */
  breakAfter(puts: number): void {
    this.left = puts;
    this.hasFailed = new Promise((resolve) => this.#failed = resolve);
  }

  override putIfAbsent(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    terms?: StoreTerms,
  ): Promise<Version | undefined> {
    if (this.left-- > 0) return super.putIfAbsent(name, bytes, terms);
    this.#failed();
    return Promise.reject(new StoreError("unavailable", `put ${name}: the store is away`));
  }

  override replace(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    version: Version,
    terms?: StoreTerms,
  ): Promise<Version | undefined> {
    if (this.left > 0) return super.replace(name, bytes, version, terms);
    this.#failed();
    return Promise.reject(new StoreError("unavailable", `replace ${name}: the store is away`));
  }

  /** The names of all objects that begin so, sorted. */
  async names(prefix = ""): Promise<string[]> {
    const names = [];
    for await (const { name } of this.list(prefix)) names.push(name);
    return names.sort();
  }

  /** Flips bits of an object. */
  async flip(name: string, at: number, bits = 1): Promise<void> {
    const { bytes } = (await this.get(name))!;
    bytes[at] ^= bits;
    await this.delete(name);
    await super.putIfAbsent(name, bytes);
  }
}

const SIZES = { batchData: 64 << 10, batches: 3, openChunks: 4 };

/** Writes a volume's past. It is detached at the end, and its last writer has committed something. */
export async function aged(dice: Dice, store: FragileStore): Promise<void> {
  const machine = new CrashableMachine(1 + dice.draw(1 << 20), 16 << 20);
  const shape = { size: BLOCKS * BLOCK, blockSize: BLOCK, chunkSize: "64K" };
  await Volume.create(NAME, { store, ...shape });
  const lives = 2 + dice.draw(4);
  let journal = "/journal";
  for (let life = 0; life < lives; life++) {
    const files = new CrashableProcess(machine);
    const withoutJournal = dice.draw(2) === 0;
    if (withoutJournal) journal = `/journal-${life}`;
    const volume = await Volume.open(NAME, {
      ...{ store, files, sizes: SIZES, journal, journalSize: "2M", patienceMs: 1 },
      withoutJournal,
    });
    for (let round = dice.draw(5); round >= 0; round--) {
      await change(dice, volume);
      await volume.sync();
    }
    if (life < lives - 1 && dice.draw(2) === 0) {
      store.breakAfter(dice.draw(4));
      await change(dice, volume);
      const lost = volume.sync().catch(() => {});
      // The commit may have ended before.
      await Promise.race([store.hasFailed, lost]);
      machine.kill();
      await volume.close().catch(() => {});
      await lost;
      store.left = Infinity;
    } else await volume.close();
  }
}

/** Writes and trims; at least one block is written. */
async function change(dice: Dice, volume: Volume): Promise<void> {
  for (let nth = dice.draw(6); nth >= 0; nth--) {
    const block = dice.draw(BLOCKS);
    const most = dice.draw(4) === 0 ? 300 : 12;
    const length = Math.min(BLOCKS - block, 1 + dice.draw(most)) * BLOCK;
    if (nth > 0 && dice.draw(3) === 0) await volume.trim(block * BLOCK, length);
    else {
      const data = new Uint8Array(length);
      for (let at = 0; at < length; at += BLOCK) data.fill(1 + dice.draw(255), at, at + BLOCK);
      await volume.write(data, block * BLOCK);
    }
  }
}

/** The disk as its store has it, a byte for each block; -1 for a block that cannot be read. */
export async function contentsOf(store: FragileStore, name = NAME): Promise<number[]> {
  await using volume = await Volume.open(name, { store, readOnly: true });
  const found: number[] = [];
  const data = new Uint8Array(BLOCK);
  for (let block = 0; block * BLOCK < volume.size; block++) {
    try {
      await volume.read(data, block * BLOCK);
      found.push(data.every((byte) => byte === data[0]) ? data[0] : -2);
    } catch {
      found.push(-1);
    }
  }
  return found;
}
