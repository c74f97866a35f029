/**
 * The interface of buckets of keys: values that are replaced by compare-and-swap, and forgotten some
 * time after they were last written.
 *
 * Keys are parts separated by `.`, each of `[A-Za-z0-9_=-]`. Revisions are numbers that only grow, over
 * the whole bucket.
 *
 * A method that fails with a {@linkcode KeyValueError} may have made its change, or may still make it:
 * the caller reads, and compares what it wrote.
 *
 * @module
 */

/** A key's value. */
export interface KeyValueEntry {
  /** The key. */
  readonly key: string;
  /** Its value. */
  readonly value: Uint8Array;
  /** The number of the write that made it. */
  readonly revision: number;
}

/** A change that a watcher is told. */
export interface KeyValueChange {
  /** The key. */
  readonly key: string;
  /** Its entry; undefined if it was deleted. That an entry ran out is told to nobody. */
  readonly entry: KeyValueEntry | undefined;
}

/** A bucket. Calls may overlap. */
export interface KeyValue {
  /** An entry is forgotten so long after it was last written, in milliseconds; 0 for never. */
  readonly ttlMs: number;
  /** Writes a key that has no value. @returns The revision; undefined if it has a value. */
  create(key: string, value: Uint8Array): Promise<number | undefined>;
  /** Reads a key. @returns Undefined if it has no value. */
  get(key: string): Promise<KeyValueEntry | undefined>;
  /**
   * Replaces a value that still has a revision.
   *
   * @returns The new revision; undefined if the key has another one, or no value.
   */
  update(key: string, value: Uint8Array, revision: number): Promise<number | undefined>;
  /** Deletes a value that still has a revision. @returns False if the key has another one, or no value. */
  delete(key: string, revision: number): Promise<boolean>;
  /** The keys that begin with some whole parts, or all for an empty text, in no order. */
  keys(parts: string): Promise<string[]>;
  /**
   * Tells changes of keys that begin with some whole parts, or of all for an empty text: what there is
   * (and perhaps what was deleted), and then what comes. Some may be missed while the server is away, so nobody relies on it alone.
   */
  watch(parts: string, changed: (change: KeyValueChange) => void): Promise<AsyncDisposable>;
}

/** A bucket's failure, in one line: it was not reached, or did not answer in time. */
export class KeyValueError extends Error {
  /** Always `"KeyValueError"`. */
  override readonly name = "KeyValueError";
}

const KEY = /^[A-Za-z0-9_=-]+(\.[A-Za-z0-9_=-]+)*$/;

/** Whether a text can be a key. */
export function isKey(text: string): boolean {
  return KEY.test(text);
}

/** Whether a key begins with whole parts. */
export function beginsWith(key: string, parts: string): boolean {
  return parts === "" || key.startsWith(`${parts}.`);
}
