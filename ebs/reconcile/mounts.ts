/**
 * What a node can do with volumes: the part of its service that the reconcile loop drives.
 *
 * @module
 */

import type { Claim } from "../exclusion.ts";

/** The mounts of a node. */
export interface Mounts {
  /** The volumes that are mounted, or were and have not been unmounted. */
  mounted(): Iterable<string>;
  /** Whether a volume is among them. */
  isMounted(volume: string): boolean;
  /** Mounts a volume under a claim. What the claim's loss ends may end by itself too. */
  mount(volume: string, claim: Claim): Promise<void>;
  /**
   * Ends a mount. Once it resolves, nothing is answered any more. Idempotent, and may be called while
   * a mount or another call of it is under way.
   *
   * @param isLost The claim is lost: end at once, and leave to the journal what the store does not have.
   */
  unmount(volume: string, isLost: boolean): Promise<void>;
  /** Whether the store has a volume. */
  exists(volume: string): Promise<boolean>;
  /**
   * Deletes a volume from the store. Idempotent. What it asks of the store may arrive late, when there is
   * another volume of the name: that one must stay, as it does with the names of `volume/names.ts`.
   */
  destroy(volume: string): Promise<void>;
}
