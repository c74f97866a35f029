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

/** A bucket in memory. Its methods do what they do at once, and never fail. */
export class MemoryKeyValue implements KeyValue {
  readonly ttlMs: number;
  readonly #now: () => number;
  readonly #kept = new Map<string, Kept>();
  /** The keys by all their parts but the last, so that a list need not look at all of them. */
  readonly #keys = new Map<string, Set<string>>();
  /** By the parts that they watch, so that a write does not ask all of them. */
  readonly #watchers = new Map<string, Set<(change: KeyValueChange) => void>>();
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
    this.#forget(key);
    this.#revision++;
    this.#tell({ key, entry: undefined });
    return Promise.resolve(true);
  }

  keys(parts: string): Promise<string[]> {
    const found: string[] = [];
    for (const [above, keys] of this.#keys) {
      if (above !== parts && !beginsWith(above, parts)) continue;
      for (const key of keys) if (this.#find(key) !== undefined) found.push(key);
    }
    return Promise.resolve(found);
  }

  async watch(parts: string, changed: (change: KeyValueChange) => void): Promise<AsyncDisposable> {
    for (const key of await this.keys(parts)) changed({ key, entry: this.#find(key) });
    const watchers = this.#watchersOf(parts);
    watchers.add(changed);
    return {
      [Symbol.asyncDispose]() {
        watchers.delete(changed);
        return Promise.resolve();
      },
    };
  }

  #find(key: string): KeyValueEntry | undefined {
    assert(isKey(key), "it is a key");
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    if (this.ttlMs === 0 || this.#now() < kept.at + this.ttlMs) return kept.entry;
    this.#forget(key);
    return undefined;
  }

  #forget(key: string): void {
    this.#kept.delete(key);
    const keys = this.#keys.get(aboveOf(key))!;
    keys.delete(key);
    if (keys.size === 0) this.#keys.delete(aboveOf(key));
  }

  #put(key: string, value: Uint8Array): number {
    const entry = { key, value: value.slice(), revision: ++this.#revision };
    this.#kept.set(key, { entry, at: this.#now() });
    let keys = this.#keys.get(aboveOf(key));
    if (keys === undefined) this.#keys.set(aboveOf(key), keys = new Set());
    keys.add(key);
    this.#tell({ key, entry });
    return entry.revision;
  }

  #watchersOf(parts: string): Set<(change: KeyValueChange) => void> {
    let watchers = this.#watchers.get(parts);
    if (watchers === undefined) this.#watchers.set(parts, watchers = new Set());
    return watchers;
  }

  #tell(change: KeyValueChange): void {
    for (let end = 0; end >= 0; end = change.key.indexOf(".", end + 1)) {
      const watchers = this.#watchers.get(change.key.slice(0, end));
      for (const changed of watchers ?? []) changed(change);
    }
  }
}

/** All parts of a key but the last; empty if it has one. */
function aboveOf(key: string): string {
  return key.slice(0, Math.max(0, key.lastIndexOf(".")));
}
