/**
 * The writes to a simulated volume, and the blocks that may be found after a crash.
 *
 * Each write has a number, which each of its blocks is filled with; 0 is a hole. Writes to one block
 * are never made at the same time, so the last one before a crash is known.
 *
 * - A **killed** server: an answered write is there.
 * - A **power cut**: a write is there if it was answered before a flush began that was answered, or
 *   had FUA. And what is there is a prefix: a write that was answered before another one was made is
 *   there if that other one is.
 * - A **size** is there if it was answered, whatever is lost; blocks beyond a smaller one are holes.
 * - A **lost journal**: a write is there if it was answered before a commit to the store that has
 *   succeeded. And what is there is a prefix.
 *
 * @module
 */

/** A write of one block. */
interface BlockWrite {
  /** The number in the block's bytes; 0 for a hole. */
  readonly id: number;
  /** When it was made. */
  readonly made: number;
  /** When it was answered with success. */
  answered: number;
  /** It must survive a power cut. */
  durable: boolean;
  /** It must survive the loss of the journal. */
  stored: boolean;
  /** When it was answered, by the machine's clock. */
  time: number;
}

const NEVER_WRITTEN: BlockWrite = {
  id: 0,
  made: 0,
  answered: 0,
  durable: true,
  stored: true,
  time: 0,
};

/** How a server ended: `store` is the loss of its journal. */
export type Ending = "killed" | "power" | "store";

const KEPT: Readonly<Record<Ending, (write: BlockWrite) => boolean>> = {
  killed: ({ answered }) => answered < Infinity,
  power: ({ durable }) => durable,
  store: ({ stored }) => stored,
};

/** A promise that was broken, in words. */
export class BrokenPromise extends Error {}

/** The history of a volume. */
export class VolumeHistory {
  readonly #blocks: BlockWrite[][];
  /** Sizes in blocks that the disk may have: one, unless it is being resized. */
  sizes: ReadonlySet<number>;
  /** A flush is answered once the store has what it covers: it survives the loss of the journal. */
  isDurableInStore = false;
  /** The machine's clock. */
  now: () => number = () => 0;
  /** How often the disk was given another size. */
  sizesGiven = 0;
  #time = 0;
  #id = 0;

  /**
   * Of a new volume, which reads as zeroes.
   *
   * @param most Most blocks that it ever has.
   */
  constructor(blocks: number, most: number) {
    this.sizes = new Set([blocks]);
    this.#blocks = Array.from({ length: most }, () => [{ ...NEVER_WRITTEN }]);
  }

  /** The disk is about to have another size: what is beyond a smaller one is gone for good. */
  resizes(blocks: number): void {
    this.sizes = new Set([...this.sizes, blocks]);
    this.sizesGiven++;
    for (let block = blocks; block < this.#blocks.length; block++) {
      this.#blocks[block] = [{ ...NEVER_WRITTEN }];
    }
  }

  /** The writes that were answered by now. */
  answeredWrites(): ReadonlySet<unknown> {
    const now = this.#time;
    const answered = (writes: readonly BlockWrite[]) => writes.filter((one) => one.answered <= now);
    return new Set(this.#blocks.flatMap(answered));
  }

  /** These writes have been made durable, as by a flush. */
  flushed(kept: ReadonlySet<unknown>): void {
    for (const writes of this.#blocks) {
      for (const write of writes) if (kept.has(write)) this.#flushed(write);
    }
  }

  #flushed(write: BlockWrite): void {
    write.durable = true;
    if (this.isDurableInStore) write.stored = true;
  }

  /** The history of another server, which goes on from here by itself. */
  fork(): VolumeHistory {
    const copy = new VolumeHistory(0, 0);
    copy.sizes = this.sizes;
    copy.#time = this.#time;
    copy.isDurableInStore = this.isDurableInStore;
    copy.now = this.now;
    // Numbers tell who wrote what.
    copy.#id = this.#id + 0x10_0000;
    for (const writes of this.#blocks) copy.#blocks.push(writes.map((write) => ({ ...write })));
    return copy;
  }

  /** The number for the next write. */
  nextId(): number {
    return ++this.#id;
  }

  /** A moment. */
  tick(): number {
    return ++this.#time;
  }

  /** Notes a write that is made. @returns Takes its answer. */
  write(block: number, count: number, id: number): (fua: boolean) => void {
    const made = this.tick();
    const writes = Array.from({ length: count }, () => ({
      ...{ id, made, answered: Infinity, durable: false, stored: false, time: Infinity },
    }));
    writes.forEach((write, nth) => this.#blocks[block + nth].push(write));
    return (fua) => {
      const answered = this.tick();
      const time = this.now();
      for (const write of writes) {
        write.answered = answered;
        write.time = time;
        if (fua) this.#flushed(write);
      }
    };
  }

  /** Notes a flush that is made. @returns Called when it has succeeded. */
  flush(): () => void {
    const made = this.tick();
    return () => {
      for (const writes of this.#blocks) {
        for (const write of writes) if (write.answered < made) this.#flushed(write);
      }
    };
  }

  /** The store has all that was answered before a moment. */
  stored(before: number): void {
    for (const writes of this.#blocks) {
      for (const write of writes) {
        if (write.answered < before) write.durable = write.stored = true;
      }
    }
  }

  /**
   * Whether a block may read as a number, if the read was made at a moment and is over now: as the
   * last write that was answered before, or any that was made since or not answered.
   */
  mayRead(block: number, id: number, made: number): boolean {
    const writes = this.#blocks[block];
    const last = writes.findLastIndex((write) => write.answered < made);
    return writes.slice(Math.max(0, last)).some((write) => write.id === id);
  }

  /** The numbers that a block may read as now, for a report. */
  idsOf(block: number): string {
    return this.#blocks[block].map(({ id, answered }) => answered < Infinity ? id : `(${id})`)
      .join(", ");
  }

  /** Blocks of data that were written and need not be in the store. */
  get blocksAhead(): number {
    let ahead = 0;
    for (const writes of this.#blocks) {
      for (const { id, stored } of writes) if (id !== 0 && !stored) ahead++;
    }
    return ahead;
  }

  /**
   * Compares what was found after a server's end with what was promised. From then on what was found
   * counts, and nothing that was not found may come back.
   *
   * @param asOf It is said that what was answered before this moment is there.
   */
  check(found: readonly number[], ending: Ending, asOf = 0): void {
    if (!this.sizes.has(found.length)) {
      throw new BrokenPromise(
        `it has ${found.length} blocks, and not ${[...this.sizes].join(", ")}`,
      );
    }
    this.sizes = new Set([found.length]);
    const there = this.#verify(found, KEPT[ending], asOf);
    const now = this.tick();
    there.forEach((last, block) => {
      const writes = this.#blocks[block];
      // Earlier writes stay, for the case that the journal is lost.
      writes.length = writes.indexOf(last) + 1;
      last.answered = Math.min(last.answered, now);
      last.durable = true;
    });
  }

  /** All blocks have other contents now, for good, and nothing that was written counts any more. */
  becomes(ids: readonly number[]): void {
    this.sizes = new Set([ids.length]);
    this.sizesGiven++;
    const now = this.tick();
    for (let block = 0; block < this.#blocks.length; block++) {
      const write = { ...NEVER_WRITTEN, id: ids[block] ?? 0, made: now, answered: now };
      this.#blocks[block] = [write];
    }
  }

  /** The writes that the store has now. */
  storedWrites(): ReadonlySet<unknown> {
    return new Set(this.#blocks.flatMap((writes) => writes.filter(({ stored }) => stored)));
  }

  /**
   * Compares a state of the volume with what it must be: a prefix, which has certain writes, and none
   * that was made after a moment. Nothing follows from what it has.
   */
  checkState(found: readonly number[], kept: ReadonlySet<unknown>, before = Infinity): void {
    this.#verify(found, (write) => kept.has(write), 0, before);
  }

  /** @returns Of each block, the last write that it may be. */
  #verify(
    found: readonly number[],
    isKept: (write: BlockWrite) => boolean,
    asOf: number,
    before = Infinity,
  ): BlockWrite[] {
    /** When the latest write was made that is surely there. */
    let latest = 0;
    let latestId = 0;
    const there = found.map((id, block) => {
      const writes = this.#blocks[block];
      const candidates = writes.filter((write) => write.id === id && write.made < before);
      if (candidates.length === 0) {
        throw new BrokenPromise(
          `block ${block} has ${id}, which nobody had written to it: ` +
            writes.map((write) => write.id).join(", "),
        );
      }
      const earliest = candidates[0];
      if (earliest.made > latest) {
        latest = earliest.made;
        latestId = id;
      }
      return candidates.at(-1)!;
    });
    found.forEach((id, block) => {
      const last = there[block];
      for (const write of this.#blocks[block]) {
        if (write.made <= last.made) continue;
        const words = `block ${block} has ${id}, and not ${write.id}`;
        if (write.time < asOf) throw new BrokenPromise(`${words}, which was said to be there`);
        if (isKept(write)) throw new BrokenPromise(`${words}, which was promised`);
        if (write.answered < latest) {
          throw new BrokenPromise(`${words}, which was answered before ${latestId} was written`);
        }
      }
    });
    return there;
  }
}

/** A snapshot that somebody has asked for. */
export interface AskedSnapshot {
  /** Its name. */
  readonly name: string;
  /** Its id. */
  readonly id: string;
  /** The clients' knowledge of the volume. */
  readonly history: VolumeHistory;
  /** How often the disk had got another size by then. */
  readonly sizesGiven: number;
  /** What had been answered by then. */
  readonly kept: ReadonlySet<unknown>;
  /** When it was answered; {@linkcode Infinity} if nobody was told. */
  taken: number;
}
