/**
 * Claims that need nothing but the volumes' store.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { readHead } from "../volume/state.ts";
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
    // A guess: the holder raises the epoch by one when it opens the volume. A resize in between raises it
    // too, and so does an attempt of the holder's own that seemed to have failed.
    const generation = epoch + 1;
    let held: number | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isOver = false;
    const look = async () => {
      try {
        const now = await epochNow();
        if (now === undefined) return resolve("the volume was removed");
        if (held !== undefined && now > held) return resolve(`it was taken over (epoch ${now})`);
      } catch {
        // A store that is away says nothing. The volume's own lease decides then.
      }
      if (!isOver) timer = setTimeout(look, this.#lookMs);
    };
    // By chance: volumes that are mounted together would else be looked at together for ever.
    timer = setTimeout(look, this.#lookMs * Math.random());
    return {
      ...{ generation, holder: this.#holder, lost },
      opened: (epoch) => void (held = epoch),
      release() {
        isOver = true;
        clearTimeout(timer);
        return Promise.resolve();
      },
    };
  }
}
