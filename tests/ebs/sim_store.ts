/**
 * A store of volumes, as far as leases and epochs go: each volume is its head. It is the judge of who may
 * write: a mount that another one replaced must not answer any more.
 *
 * @module
 */

import { StoreError } from "../../store/store.ts";
import type { VirtualTime } from "./virtual_time.ts";

/** A volume's head. Each is another object. */
export interface SimHead {
  /** Another one for each volume of a name. */
  readonly uuid: number;
  readonly epoch: number;
  /** Who has it attached; empty for nobody. */
  readonly owner: string;
  readonly leaseMs: number;
}

/** How a store behaves. It may be changed at any time. */
export interface StoreConditions {
  /** Requests do not arrive, or answers do not come back. */
  isAway: boolean;
  /** The time of one way, in milliseconds. */
  delayMs(): number;
  /** Whether an answer is lost. */
  isLost(): boolean;
}

/** All volumes' heads. */
export class SimStore {
  /** The heads by the volumes' names. */
  readonly heads = new Map<string, SimHead>();
  /** Called whenever a head has another epoch. */
  judge: (volume: string, head: SimHead | undefined) => void = () => {};
  /** Called for each request. */
  count: () => void = () => {};
}

/** A node's connection to the store. */
export class SimStoreLink {
  readonly #store: SimStore;
  readonly #time: VirtualTime;
  readonly #conditions: StoreConditions;
  readonly #isAlive: () => boolean;

  constructor(
    store: SimStore,
    time: VirtualTime,
    conditions: StoreConditions,
    isAlive: () => boolean,
  ) {
    this.#store = store;
    this.#time = time;
    this.#conditions = conditions;
    this.#isAlive = isAlive;
  }

  /** A volume's head. */
  read(volume: string): Promise<SimHead | undefined> {
    return this.#ask(() => this.#store.heads.get(volume));
  }

  /** Replaces a head that is still the same. @returns False if it is another one. */
  replace(volume: string, before: SimHead, after: SimHead): Promise<boolean> {
    return this.#ask(() => {
      if (this.#store.heads.get(volume) !== before) return false;
      this.#store.heads.set(volume, after);
      if (after.epoch !== before.epoch) this.#store.judge(volume, after);
      return true;
    });
  }

  /** Deletes a volume, if it is still the one of a UUID. */
  delete(volume: string, uuid: number): Promise<void> {
    return this.#ask(() => {
      if (this.#store.heads.get(volume)?.uuid !== uuid) return;
      this.#store.heads.delete(volume);
      this.#store.judge(volume, undefined);
    });
  }

  #ask<T>(ask: () => T): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const conditions = this.#conditions;
    const fail = () => reject(new StoreError("unavailable", "the store does not answer"));
    const toStore = conditions.isAway ? 5000 : conditions.delayMs();
    this.#time.after(toStore, () => {
      if (conditions.isAway || !this.#isAlive()) return fail();
      this.#store.count();
      const answer = ask();
      const isLost = conditions.isLost();
      this.#time.after(isLost ? 5000 : conditions.delayMs(), () => {
        if (isLost || conditions.isAway) fail();
        else resolve(answer);
      });
    });
    return promise;
  }
}
