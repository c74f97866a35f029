/**
 * A node's connection to a store, over a simulated network: requests and answers take their time, and a
 * store may be away.
 *
 * @module
 */

import {
  type DeleteTerms,
  type GetTerms,
  type ListedObject,
  type Store,
  StoreError,
  type Version,
} from "../../store/store.ts";
import type { StoreConditions } from "./sim_store.ts";
import type { VirtualTime } from "./virtual_time.ts";

/** A request without an answer fails after so long, in milliseconds. */
const TIMEOUT_MS = 5000;

/** The parts of a {@linkcode StoreLink}. */
export interface StoreLinkParts {
  /** The store at the other end. */
  readonly store: Store;
  /** The time that passes. */
  readonly time: VirtualTime;
  /** The way there. */
  readonly conditions: StoreConditions;
  /** What is sent by a node that is not alive never comes back. */
  readonly isAlive: () => boolean;
  /** A request arrives at the store. */
  readonly count: () => void;
  /** An object was replaced. */
  readonly replaced: (name: string, bytes: Uint8Array<ArrayBuffer>) => void;
}

/** A store at the other end of a network. */
export class StoreLink implements Store {
  readonly url: string;
  readonly #parts: StoreLinkParts;

  /** Takes over the parts. */
  constructor(parts: StoreLinkParts) {
    this.#parts = parts;
    this.url = parts.store.url;
  }

  get(name: string, terms?: GetTerms): ReturnType<Store["get"]> {
    return this.#ask((store) => store.get(name, terms));
  }

  putIfAbsent(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<Version | undefined> {
    return this.#ask((store) => store.putIfAbsent(name, bytes));
  }

  replace(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    version: Version,
  ): Promise<Version | undefined> {
    return this.#ask(async (store) => {
      const put = await store.replace(name, bytes, version);
      if (put !== undefined) this.#parts.replaced(name, bytes);
      return put;
    });
  }

  async *list(prefix: string): AsyncIterable<ListedObject> {
    yield* await this.#ask((store) => Array.fromAsync(store.list(prefix)));
  }

  delete(name: string, { version }: DeleteTerms = {}): Promise<boolean> {
    return this.#ask((store) => store.delete(name, { version }));
  }

  /** Does nothing: the store is not the link's. */
  async [Symbol.asyncDispose](): Promise<void> {}

  #ask<T>(ask: (store: Store) => Promise<T>): Promise<T> {
    const { store, time, conditions, isAlive, count } = this.#parts;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const fail = () =>
      isAlive() && reject(new StoreError("unavailable", "the store does not answer"));
    time.after(conditions.isAway ? TIMEOUT_MS : conditions.delayMs(), async () => {
      if (conditions.isAway) return fail();
      if (!isAlive()) return;
      count();
      const answer = await ask(store);
      const isLost = conditions.isLost();
      time.after(isLost ? TIMEOUT_MS : conditions.delayMs(), () => {
        if (isLost || conditions.isAway) fail();
        else if (isAlive()) resolve(answer);
      });
    });
    return promise;
  }
}
