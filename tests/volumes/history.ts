/**
 * What was written to a simulated volume, and what may be found after a crash.
 *
 * Each write has a number, which each of its blocks is filled with; 0 is a hole. Writes to one block
 * are never made at the same time, so the last one before a crash is known.
 *
 * - A **killed** server: an answered write is there.
 * - A **power cut**: a write is there if it was answered before a flush began that was answered, or
 *   had FUA. And what is there is a prefix: a write that was answered before another one was made is
 *   there if that other one is.
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
}

/** How a server ended. */
export type Ending = "killed" | "power" | "store";

/** A promise that was broken, in words. */
export class BrokenPromise extends Error {}

/** The history of a volume. */
export class VolumeHistory {
  readonly #blocks: BlockWrite[][];
  #time = 0;
  #id = 0;

  /** Of a new volume, which reads as zeroes. */
  constructor(blocks: number) {
    this.#blocks = Array.from({ length: blocks }, () => [
      { id: 0, made: 0, answered: 0, durable: true },
    ]);
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
      ...{ id, made, answered: Infinity, durable: false },
    }));
    writes.forEach((write, nth) => this.#blocks[block + nth].push(write));
    return (fua) => {
      const answered = this.tick();
      for (const write of writes) {
        write.answered = answered;
        if (fua) write.durable = true;
      }
    };
  }

  /** Notes a flush that is made. @returns Called when it has succeeded. */
  flush(): () => void {
    const made = this.tick();
    return () => {
      for (const writes of this.#blocks) {
        for (const write of writes) if (write.answered < made) write.durable = true;
      }
    };
  }

  /** What a block must read as while nobody writes to it; undefined if its last write is open. */
  expected(block: number): number | undefined {
    const last = this.#blocks[block].at(-1)!;
    return last.answered === Infinity ? undefined : last.id;
  }

  /**
   * Compares what was found after a server's end with what was promised. From then on what was found
   * counts, and nothing that was not found may come back.
   */
  check(found: readonly number[], ending: Ending): void {
    /** When the latest write was made that is surely there. */
    let latest = 0;
    let latestId = 0;
    const there = found.map((id, block) => {
      const writes = this.#blocks[block];
      const candidates = writes.filter((write) => write.id === id);
      if (candidates.length === 0) {
        throw new BrokenPromise(
          `block ${block} has ${id}, which nobody wrote to it: ` +
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
        const must = ending === "killed" ? write.answered < Infinity : write.durable;
        const words = `block ${block} has ${id}, and not ${write.id}`;
        if (must && ending !== "store") throw new BrokenPromise(`${words}, which was promised`);
        if (write.answered < latest) {
          throw new BrokenPromise(`${words}, which was answered before ${latestId} was written`);
        }
      }
    });
    this.#blocks.forEach((writes, block) => {
      const { id } = there[block];
      writes.splice(0, writes.length, { id, made: 0, answered: 0, durable: true });
    });
  }
}
