/**
 * A store in memory, for tests and for volumes that need not last.
 *
 * @module
 */

import { checkName, checkPrefix } from "./names.ts";
import { checkRange } from "./ranges.ts";
import type {
  DeleteTerms,
  GetTerms,
  ListedObject,
  Store,
  StoredObject,
  StoreTerms,
  Version,
} from "./store.ts";

/** An object in memory. Its bytes never change. */
interface Kept {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly version: Version;
}

/** The contents of a store, which outlive it if they have a name. */
class Contents {
  readonly objects = new Map<string, Kept>();
  /** Number of versions so far. */
  versions = 0;
}

const named = new Map<string, Contents>();

/**
 * A store in the memory of this thread.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { MemoryStore } from "./memory.ts";
 *
 * await using store = new MemoryStore();
 * await store.putIfAbsent("a/1", new Uint8Array([1, 2, 3]));
 * const found = await store.get("a/1", { range: { offset: 1, length: 2 } });
 * assertEquals(found?.bytes, new Uint8Array([2, 3]));
 * ```
 */
export class MemoryStore implements Store {
  readonly url: string;
  readonly #contents: Contents;

  /** @param name Stores of one name in one thread have the same contents; without, its own. */
  constructor(name?: string) {
    this.url = `memory:${name ?? ""}`;
    let contents = name === undefined ? new Contents() : named.get(name);
    if (contents === undefined) named.set(name!, contents = new Contents());
    this.#contents = contents;
  }

  // deno-lint-ignore require-await -- what throws here must reject
  async get(
    name: string,
    { range, signal }: GetTerms = {},
  ): Promise<StoredObject | undefined> {
    checkName(name);
    signal?.throwIfAborted();
    const found = this.#contents.objects.get(name);
    if (found === undefined) return undefined;
    const { bytes, version } = found;
    if (range === undefined) return { bytes: bytes.slice(), version, size: bytes.length };
    const length = checkRange(range, bytes.length, `get ${name} from ${this.url}`);
    const { offset } = range;
    return { bytes: bytes.slice(offset, offset + length), version: "", size: bytes.length };
  }

  // deno-lint-ignore require-await -- as above
  async putIfAbsent(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    { signal }: StoreTerms = {},
  ): Promise<Version | undefined> {
    checkName(name);
    signal?.throwIfAborted();
    return this.#contents.objects.has(name) ? undefined : this.#put(name, bytes);
  }

  // deno-lint-ignore require-await -- as above
  async replace(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    version: Version,
    { signal }: StoreTerms = {},
  ): Promise<Version | undefined> {
    checkName(name);
    signal?.throwIfAborted();
    const isIt = this.#contents.objects.get(name)?.version === version;
    return isIt ? this.#put(name, bytes) : undefined;
  }

  async *list(prefix: string, { signal }: StoreTerms = {}): AsyncIterable<ListedObject> {
    checkPrefix(prefix);
    signal?.throwIfAborted();
    for (const [name, { bytes }] of [...this.#contents.objects]) {
      if (name.startsWith(prefix)) yield { name, size: bytes.length };
    }
  }

  // deno-lint-ignore require-await -- as above
  async delete(name: string, { version, signal }: DeleteTerms = {}): Promise<boolean> {
    checkName(name);
    signal?.throwIfAborted();
    const found = this.#contents.objects.get(name)?.version;
    if (version !== undefined && found !== undefined && found !== version) return false;
    this.#contents.objects.delete(name);
    return true;
  }

  /** Does nothing: the contents of a named store stay until the thread ends. */
  async [Symbol.asyncDispose](): Promise<void> {}

  #put(name: string, bytes: Uint8Array<ArrayBuffer>): Version {
    const version = `${++this.#contents.versions}`;
    this.#contents.objects.set(name, { bytes: bytes.slice(), version });
    return version;
  }
}
