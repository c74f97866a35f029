/**
 * Claims that need nothing but the volumes' store.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { readHead } from "../volume/committed.ts";
import { ObjectNames } from "../volume/names.ts";
import { EbsError } from "./error.ts";
import type { Claim, Exclusion, ExclusionTerms, Reason } from "./exclusion.ts";

/** How often a holder looks whether the volume has been taken, in milliseconds. */
const LOOK_MS = 15_000;

/**
 * Claims by the store alone: opening a volume raises its epoch, and needs its journal unless it was
 * left in order. So there is nothing to claim, and a holder only looks whether it has been taken.
 */
export class StoreExclusion implements Exclusion {
  readonly terms: ExclusionTerms = { scope: "cluster", claimTtlSeconds: 0, fencesLostClaim: true };
  readonly #store: Store;
  readonly #holder: string;
  readonly #lookMs: number;

  /**
   * For volumes of a store.
   *
   * @param lookMs How often a holder looks, in milliseconds.
   */
  constructor(store: Store, holder: string, lookMs: number = LOOK_MS) {
    this.#store = store;
    this.#holder = holder;
    this.#lookMs = lookMs;
  }

  async claim(volume: string): Promise<Claim> {
    const epochNow = async () => {
      return (await readHead(this.#store, new ObjectNames(volume)))?.head.epoch;
    };
    const epoch = await epochNow();
    if (epoch === undefined) throw new EbsError("not_found", `volume ${volume}: there is none`);
    const { promise: lost, resolve } = Promise.withResolvers<Reason>();
    // Whoever opens the volume raises the epoch by one: the holder first, and then a taker.
    const generation = epoch + 1;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isOver = false;
    const look = async () => {
      try {
        const now = await epochNow();
        if (now === undefined) return resolve("the volume was removed");
        if (now > generation) return resolve(`it was taken over (epoch ${now})`);
      } catch {
        // A store that is away says nothing. The volume's own lease decides then.
      }
      if (!isOver) timer = setTimeout(look, this.#lookMs);
    };
    timer = setTimeout(look, this.#lookMs);
    return {
      ...{ generation, holder: this.#holder, lost },
      release() {
        isOver = true;
        clearTimeout(timer);
        return Promise.resolve();
      },
    };
  }
}
