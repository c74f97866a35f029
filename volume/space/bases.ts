/**
 * The states of an attached volume that a collection of garbage may judge by: those that the engine
 * has taken over, and that none of its reads is older than.
 *
 * @module
 */

import type { ManifestName } from "../state.ts";
import type { SortedRuns } from "../map/block_map.ts";

interface State {
  readonly name: ManifestName;
  /** It is reached once the engine is quiet after so many commits. */
  readonly commits: number;
  /** The entries that it has changed; undefined if none. */
  readonly extents: SortedRuns | undefined;
}

/** The states since the last one that is reached. */
export class Bases {
  readonly #states: State[];
  #handedOver = 0;

  /** @param first The state that the engine began with. */
  constructor(first: ManifestName) {
    this.#states = [{ name: first, commits: 0, extents: undefined }];
  }

  /** A commit is about to be handed over to the engine, after which the store has a state. */
  handedOver(name: ManifestName, extents: SortedRuns): void {
    this.#states.push({ name, commits: ++this.#handedOver, extents });
  }

  /** The store has another state, in which all data is where it was. */
  replaced(name: ManifestName): void {
    this.#states.push({ name, commits: this.#handedOver, extents: undefined });
  }

  /** All reads of the engine are newer than so many commits. */
  quiet(commits: number): void {
    while (this.#states.length > 1 && this.#states[1].commits <= commits) this.#states.shift();
  }

  /** The newest state that is reached. */
  get newest(): ManifestName {
    return this.#states[0].name;
  }

  /** The entries that have changed since {@linkcode newest}. */
  get since(): SortedRuns[] {
    return this.#states.slice(1).flatMap(({ extents }) => extents ?? []);
  }
}
