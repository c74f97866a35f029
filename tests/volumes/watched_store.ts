/**
 * A store that tells what was read of it, and can make readers wait.
 *
 * @module
 */

import { MemoryStore } from "../../store/memory.ts";
import type { ByteRange, GetTerms, StoredObject } from "../../store/store.ts";

/** A read of a chunk. */
export interface WatchedGet {
  /** The object's name. */
  readonly name: string;
  /** Which part of it. */
  readonly range: ByteRange;
}

/** A store in memory. */
export class WatchedStore extends MemoryStore {
  /** The reads of chunks so far. */
  gets: WatchedGet[] = [];
  /** Reads of chunks wait for this. */
  gate: Promise<void> = Promise.resolve();

  override async get(
    name: string,
    terms: GetTerms = {},
  ): Promise<StoredObject | undefined> {
    if (name.includes("/chunks/") && terms.range !== undefined) {
      this.gets.push({ name, range: terms.range });
      await this.gate;
    }
    return await super.get(name, terms);
  }

  /** All objects, for a store that is brought back from a copy. */
  async copy(): Promise<WatchedStore> {
    const copy = new WatchedStore();
    for await (const { name } of this.list("")) {
      await copy.putIfAbsent(name, (await super.get(name))!.bytes);
    }
    return copy;
  }
}
