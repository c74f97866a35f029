/**
 * A store that is read at a limited rate, so that whoever else uses it is not disturbed.
 *
 * @module
 */

import type {
  ByteRange,
  ListedObject,
  Store,
  StoredObject,
  StoreTerms,
  Version,
} from "../../store/store.ts";
import { MACHINE, type Seam } from "../seam.ts";

/** The longest pause at a time, in milliseconds. */
const PAUSE_MS = 1000;

/** Reads go through it, and are paid for in time. All other calls are passed on. */
export class PacedStore implements Store {
  readonly url: string;
  readonly localPath: Store["localPath"];
  readonly #store: Store;
  readonly #bytesPerMs: number;
  readonly #seam: Pick<Seam, "clock">;
  readonly #wait: (ms: number) => Promise<void>;
  /** When everything that was read has been paid for. */
  #paidMs = -Infinity;

  /**
   * Paces a store, which stays open.
   *
   * @param bytesPerSecond No limit if undefined.
   * @param wait Waits, for tests.
   */
  constructor(
    store: Store,
    bytesPerSecond: number = Infinity,
    seam: Pick<Seam, "clock"> = MACHINE,
    wait: (ms: number) => Promise<void> = (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  ) {
    this.url = store.url;
    this.localPath = store.localPath?.bind(store);
    this.#store = store;
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#seam = seam;
    this.#wait = wait;
  }

  async get(
    name: string,
    terms?: StoreTerms & { range?: ByteRange },
  ): Promise<StoredObject | undefined> {
    const found = await this.#store.get(name, terms);
    if (found !== undefined) await this.#pay(found.bytes.length);
    return found;
  }

  async #pay(bytes: number): Promise<void> {
    this.#paidMs = Math.max(this.#paidMs, this.#seam.clock()) + bytes / this.#bytesPerMs;
    for (const end = this.#paidMs;;) {
      const ms = end - this.#seam.clock();
      if (ms <= 0) return;
      await this.#wait(Math.min(ms, PAUSE_MS));
    }
  }

  putIfAbsent(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    terms?: StoreTerms,
  ): Promise<Version | undefined> {
    return this.#store.putIfAbsent(name, bytes, terms);
  }

  replace(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    version: Version,
    terms?: StoreTerms,
  ): Promise<Version | undefined> {
    return this.#store.replace(name, bytes, version, terms);
  }

  list(prefix: string, terms?: StoreTerms): AsyncIterable<ListedObject> {
    return this.#store.list(prefix, terms);
  }

  delete(name: string, terms?: StoreTerms): Promise<void> {
    return this.#store.delete(name, terms);
  }

  /** Does nothing: whoever opened the store closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
