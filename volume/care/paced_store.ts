/**
 * A store that is read at a limited rate, so that whoever else uses it is not disturbed.
 *
 * @module
 */

import type {
  DeleteTerms,
  GetTerms,
  ListedObject,
  Store,
  StoredObject,
  StoreTerms,
  Version,
} from "../../store/store.ts";
import { Pace } from "../../store/pace.ts";
import { MACHINE, type Seam } from "../seam.ts";

/** Reads go through it, and are paid for in time. All other calls are passed on. */
export class PacedStore implements Store {
  readonly url: string;
  readonly localPath: Store["localPath"];
  readonly #store: Store;
  readonly #pace: Pace;

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
    wait?: (ms: number) => Promise<void>,
  ) {
    this.url = store.url;
    this.localPath = store.localPath?.bind(store);
    this.#store = store;
    this.#pace = new Pace(bytesPerSecond, () => seam.clock(), wait);
  }

  async get(
    name: string,
    terms?: GetTerms,
  ): Promise<StoredObject | undefined> {
    const found = await this.#store.get(name, terms);
    if (found !== undefined) await this.#pace.pay(found.bytes.length, terms?.signal);
    return found;
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

  delete(name: string, terms?: DeleteTerms): Promise<boolean> {
    return this.#store.delete(name, terms);
  }

  /** Does nothing: whoever opened the store closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
