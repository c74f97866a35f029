/**
 * A store with faults that a real one cannot be made to have, for tests and simulation.
 *
 * @module
 */

import { Dice } from "../uapi/dice.ts";
import { assert } from "../uapi/error.ts";
import { FAULTS_OF, type StoreCall, type StoreCallFault, type StoreCallName } from "./faults.ts";
import type { StoreFaults } from "./faults.ts";
import {
  type DeleteTerms,
  type GetTerms,
  type ListedObject,
  type Store,
  type StoredObject,
  StoreError,
  type StoreTerms,
  type Version,
} from "./store.ts";

/** Number of calls that the log keeps. */
const LOGGED = 400;
/** Number of changes that a stale list may lack. */
const FRESH = 8;

/** Options of a {@linkcode FaultyStore}. */
export interface FaultyStoreOptions {
  /**
   * Decides how a fault turns out: which bytes, which entries, when. One seed and the same calls give
   * the same run.
   *
   * @default Dice of seed 1
   */
  readonly dice?: Dice;
  /**
   * Decides which calls have a fault.
   *
   * @default None
   */
  readonly faults?: StoreFaults;
  /**
   * Called before each call reaches the store, and again before its answer leaves. The call waits for
   * it, so a simulated clock can make a store slow.
   *
   * @default No pause
   */
  readonly pause?: (call: StoreCall, when: "before" | "after") => Promise<void> | void;
}

/** A change of an object that a stale list may lack. */
interface Change {
  readonly name: string;
  /** Undefined if the object was deleted. */
  readonly size: number | undefined;
}

/**
 * A store around another whose calls fail as {@linkcode FaultyStore.faults} decides.
 *
 * @example A put whose answer is lost
 * ```ts
 * import { assert, assertRejects } from "@std/assert";
 * import { FaultyStore } from "./faulty.ts";
 * import { MemoryStore } from "./memory.ts";
 * import { StoreError } from "./store.ts";
 *
 * const faults = ({ number }: { number: number }) => number === 1 ? "lost answer" as const : undefined;
 * await using store = new FaultyStore(new MemoryStore(), { faults });
 * await assertRejects(() => store.putIfAbsent("a", new Uint8Array(1)), StoreError, "lost");
 * assert(await store.get("a") !== undefined);
 * ```
 */
export class FaultyStore implements Store {
  /** Decides which calls have a fault. */
  faults: StoreFaults | undefined;
  readonly #inner: Store;
  readonly #dice: Dice;
  readonly #pause: FaultyStoreOptions["pause"];
  #calls = 0;
  /** Calls that failed and are still to be done. */
  #late: (() => Promise<unknown>)[] = [];
  readonly #fresh: Change[] = [];
  readonly #log: string[] = [];

  /** Takes over a store, which it closes. */
  constructor(inner: Store, options: FaultyStoreOptions = {}) {
    this.#inner = inner;
    this.#dice = options.dice ?? new Dice(1);
    this.faults = options.faults;
    this.#pause = options.pause;
  }

  get url(): string {
    return this.#inner.url;
  }

  /** Number of calls so far. */
  get calls(): number {
    return this.#calls;
  }

  /** The latest calls with their faults, one line each. */
  get log(): readonly string[] {
    return this.#log;
  }

  async get(
    name: string,
    terms: GetTerms = {},
  ): Promise<StoredObject | undefined> {
    const { call, fault } = await this.#begin("get", name);
    if (fault === "unavailable") throw failure(call, this.url, "nothing was done");
    const found = await this.#inner.get(name, terms);
    await this.#pause?.(call, "after");
    if (found === undefined || found.bytes.length === 0) return found;
    if (fault === "short") {
      return { ...found, bytes: found.bytes.slice(0, this.#dice.draw(found.bytes.length)) };
    }
    if (fault === "flipped") {
      found.bytes[this.#dice.draw(found.bytes.length)] ^= 1 << this.#dice.draw(8);
    }
    return found;
  }

  async putIfAbsent(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    terms: StoreTerms = {},
  ): Promise<Version | undefined> {
    const put = async (bytes: Uint8Array<ArrayBuffer>, terms: StoreTerms) => {
      const version = await this.#inner.putIfAbsent(name, bytes, terms);
      if (version !== undefined) this.#changed({ name, size: bytes.length });
      return version;
    };
    return await this.#change("put", name, () => put(bytes, terms), () => {
      const kept = bytes.slice();
      return () => put(kept, {});
    });
  }

  async replace(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    version: Version,
    terms: StoreTerms = {},
  ): Promise<Version | undefined> {
    return await this.#change(
      "replace",
      name,
      () => this.#inner.replace(name, bytes, version, terms),
      () => {
        const kept = bytes.slice();
        return () => this.#inner.replace(name, kept, version);
      },
    );
  }

  async *list(prefix: string, terms: StoreTerms = {}): AsyncIterable<ListedObject> {
    const { call, fault } = await this.#begin("list", prefix);
    const entries = new Map<string, number>();
    for await (const { name, size } of this.#inner.list(prefix, terms)) entries.set(name, size);
    await this.#pause?.(call, "after");
    if (fault === "stale") this.#makeStale(prefix, entries);
    const end = fault === "unavailable" ? this.#dice.draw(entries.size + 1) : Infinity;
    let count = 0;
    for (const [name, size] of entries) {
      if (count++ === end) break;
      yield { name, size };
    }
    if (fault === "unavailable") throw failure(call, this.url, "some entries are missing");
  }

  async delete(name: string, terms: DeleteTerms = {}): Promise<boolean> {
    const remove = async (terms: DeleteTerms) => {
      const isGone = await this.#inner.delete(name, terms);
      if (isGone) this.#changed({ name, size: undefined });
      return isGone;
    };
    const { version } = terms;
    const later = () => () => remove({ version });
    // No race of it is lost: it has no such fault.
    return (await this.#change("delete", name, () => remove(terms), later))!;
  }

  /** Does all that is late now. */
  async arrive(): Promise<void> {
    for (const work of this.#late.splice(0)) await this.#doLate(work);
  }

  /** Closes the inner store. Whatever is late is never done. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#late = [];
    await this.#inner[Symbol.asyncDispose]();
  }

  async #change<T>(
    name: StoreCallName,
    object: string,
    work: () => Promise<T>,
    later: () => () => Promise<unknown>,
  ): Promise<T | undefined> {
    const { call, fault } = await this.#begin(name, object);
    if (fault === "late") {
      this.#late.push(later());
      throw failure(call, this.url, "it may be done later");
    }
    if (fault === "unavailable") throw failure(call, this.url, "nothing was done");
    if (fault === "full") {
      throw new StoreError("full", `${name} ${object} in ${this.url}: no room (injected)`);
    }
    const result = await work();
    await this.#pause?.(call, "after");
    if (fault === "lost answer") throw failure(call, this.url, "the answer was lost");
    return fault === "lost race" ? undefined : result;
  }

  /** Counts a call, decides its fault, and may do before it what is late. */
  async #begin(
    name: StoreCallName,
    object: string,
  ): Promise<{ call: StoreCall; fault: StoreCallFault | undefined }> {
    const call = { number: ++this.#calls, name, object };
    const fault = this.faults?.(call);
    assert(fault === undefined || FAULTS_OF[name].includes(fault), "this call can have the fault");
    this.#note(`${call.number} ${name} ${object}${fault === undefined ? "" : ` (${fault})`}`);
    await this.#pause?.(call, "before");
    const due = this.#late.filter(() => this.#dice.draw(4) === 0);
    this.#late = this.#late.filter((work) => !due.includes(work));
    for (const work of due) await this.#doLate(work);
    return { call, fault };
  }

  async #doLate(work: () => Promise<unknown>): Promise<void> {
    this.#note("something late is done");
    try {
      await work();
    } catch (error) {
      // Nobody waits for the answer.
      if (!(error instanceof StoreError)) throw error;
    }
  }

  #changed(change: Change): void {
    this.#fresh.push(change);
    if (this.#fresh.length > FRESH) this.#fresh.shift();
  }

  #makeStale(prefix: string, entries: Map<string, number>): void {
    const sizes = new Map<string, number>();
    for (const { name, size } of this.#fresh) {
      if (size !== undefined) sizes.set(name, size);
      if (!name.startsWith(prefix) || this.#dice.draw(2) === 0) continue;
      if (size !== undefined) entries.delete(name);
      else entries.set(name, sizes.get(name) ?? 0);
    }
  }

  #note(line: string): void {
    this.#log.push(line);
    if (this.#log.length > LOGGED) this.#log.splice(0, LOGGED / 2);
  }
}

function failure({ name, object }: StoreCall, url: string, outcome: string): StoreError {
  return new StoreError("unavailable", `${name} ${object} in ${url}: ${outcome} (injected)`);
}
