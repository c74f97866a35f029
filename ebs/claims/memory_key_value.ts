/**
 * A bucket in memory, for tests and simulations: its clock is given.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import {
  beginsWith,
  isKey,
  type KeyValue,
  type KeyValueChange,
  type KeyValueEntry,
} from "./key_value.ts";

/** An entry, and when it was written. */
interface Kept {
  readonly entry: KeyValueEntry;
  readonly at: number;
}

interface Watcher {
  readonly parts: string;
  readonly changed: (change: KeyValueChange) => void;
}

/** A bucket in memory. Its methods do what they do at once, and never fail. */
export class MemoryKeyValue implements KeyValue {
  readonly ttlMs: number;
  readonly #now: () => number;
  readonly #kept = new Map<string, Kept>();
  /** By the parts that they watch, so that a write does not ask all of them. */
  readonly #watchers = new Map<string, Set<Watcher>>();
  #revision = 0;

  /**
   * @param ttlMs An entry's life in milliseconds; 0 for ever.
   * @param now A clock in milliseconds that never goes back.
   */
  constructor(ttlMs: number, now: () => number) {
    this.ttlMs = ttlMs;
    this.#now = now;
  }

  create(key: string, value: Uint8Array): Promise<number | undefined> {
    return Promise.resolve(this.#find(key) === undefined ? this.#put(key, value) : undefined);
  }

  get(key: string): Promise<KeyValueEntry | undefined> {
    return Promise.resolve(this.#find(key));
  }

  update(key: string, value: Uint8Array, revision: number): Promise<number | undefined> {
    const isSame = this.#find(key)?.revision === revision;
    return Promise.resolve(isSame ? this.#put(key, value) : undefined);
  }

  delete(key: string, revision: number): Promise<boolean> {
    if (this.#find(key)?.revision !== revision) return Promise.resolve(false);
    this.#kept.delete(key);
    this.#revision++;
    this.#tell({ key, entry: undefined });
    return Promise.resolve(true);
  }

  keys(parts: string): Promise<string[]> {
    const keys = [...this.#kept.keys()];
    return Promise.resolve(
      keys.filter((key) => beginsWith(key, parts) && this.#find(key) !== undefined),
    );
  }

  async watch(parts: string, changed: (change: KeyValueChange) => void): Promise<AsyncDisposable> {
    const watcher = { parts, changed };
    for (const key of await this.keys(parts)) changed({ key, entry: this.#find(key) });
    const watchers = this.#watchersOf(parts);
    watchers.add(watcher);
    return {
      [Symbol.asyncDispose]() {
        watchers.delete(watcher);
        return Promise.resolve();
      },
    };
  }

  #find(key: string): KeyValueEntry | undefined {
    assert(isKey(key), "it is a key");
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    if (this.ttlMs === 0 || this.#now() < kept.at + this.ttlMs) return kept.entry;
    this.#kept.delete(key);
    return undefined;
  }

  #put(key: string, value: Uint8Array): number {
    const entry = { key, value: value.slice(), revision: ++this.#revision };
    this.#kept.set(key, { entry, at: this.#now() });
    this.#tell({ key, entry });
    return entry.revision;
  }

  #watchersOf(parts: string): Set<Watcher> {
    let watchers = this.#watchers.get(parts);
    if (watchers === undefined) this.#watchers.set(parts, watchers = new Set());
    return watchers;
  }

  #tell(change: KeyValueChange): void {
    for (let end = 0; end >= 0; end = change.key.indexOf(".", end + 1)) {
      const watchers = this.#watchers.get(change.key.slice(0, end));
      for (const { changed } of watchers ?? []) changed(change);
    }
  }
}
