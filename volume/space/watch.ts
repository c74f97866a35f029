/**
 * Has the garbage of an attached volume collected that no commit makes: what an earlier attachment has
 * left, and what snapshots, clones and readers have needed that are gone. Anybody may remove those, on
 * any machine, and the volume itself may be idle. So the catalog is looked at now and then.
 *
 * @module
 */

import { startIdleTimer } from "../../store/timer.ts";
import { catalogOf } from "../catalog.ts";
import type { Committed } from "../committed.ts";
import type { SpaceKeeper } from "./keeper.ts";

/** Time until the first collection, in milliseconds: an attachment has better things to do at first. */
const FIRST_MS = 10_000;
/** A part of this is added: volumes that are attached together do not all begin at once. */
const SPREAD_MS = 50_000;
/** Time between two looks at the catalog, in milliseconds. */
const LOOK_MS = 600_000;

/** The parts of a {@linkcode GarbageWatch}. */
export interface GarbageWatchParts {
  /** The hold on the volume. */
  readonly committed: Pick<Committed, "store" | "names" | "head">;
  /** Collects. */
  readonly keeper: Pick<SpaceKeeper, "mayFree">;
  /** Waits, for tests. @default A timer that does not keep the process */
  readonly timer?: (ms: number, call: () => void) => () => void;
  /** From 0 to 1, for tests. @default {Math.random} */
  readonly random?: () => number;
}

/** Looks at the catalog of an attached volume, from its making to its {@linkcode close}. */
export class GarbageWatch {
  readonly #parts: GarbageWatchParts;
  readonly #timer: (ms: number, call: () => void) => () => void;
  /**
   * Of the catalog that was seen last. A change of entries changes it, and so does a collection by a newer
   * state: there is one collection too many then, after the usual pause.
   */
  #nonce = "";
  #cancel: () => void;
  #underWay: Promise<void> = Promise.resolve();
  #isClosed = false;

  /** Begins. */
  constructor(parts: GarbageWatchParts) {
    const { timer = startIdleTimer, random = Math.random } = parts;
    this.#parts = parts;
    this.#timer = timer;
    this.#cancel = timer(FIRST_MS + SPREAD_MS * random(), () => this.#begin());
  }

  #begin(): void {
    this.#underWay = this.#look().catch(() => {
      // A store that is away is looked at the next time. If it stays away, the drain says so.
    }).then(() => {
      if (!this.#isClosed) this.#cancel = this.#timer(LOOK_MS, () => this.#begin());
    });
  }

  async #look(): Promise<void> {
    const { committed: { store, names, head }, keeper } = this.#parts;
    const { nonce } = await catalogOf(store, names, head.volume);
    if (nonce === this.#nonce || this.#isClosed) return;
    this.#nonce = nonce;
    keeper.mayFree();
  }

  /** Looks no more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancel();
    await this.#underWay;
  }
}
