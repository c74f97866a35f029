/**
 * Claims that tell others, and what the store says besides: a volume may be taken without a claim, by
 * somebody at its console.
 *
 * @module
 */

import type { Claim, Exclusion, ExclusionTerms } from "./exclusion.ts";

/** Claims a volume in two places. It is lost once it is lost in one. */
export class JointExclusion implements Exclusion {
  readonly terms: ExclusionTerms;
  readonly #told: Exclusion;
  readonly #stored: Exclusion;

  /**
   * Joins two.
   *
   * @param told Where others look, and whose terms count.
   * @param stored What protects the volume.
   */
  constructor(told: Exclusion, stored: Exclusion) {
    this.terms = told.terms;
    this.#told = told;
    this.#stored = stored;
  }

  async holder(volume: string): Promise<{ readonly owner: string } | undefined> {
    return await this.#told.holder?.(volume);
  }

  async claim(volume: string): Promise<Claim> {
    const told = await this.#told.claim(volume);
    try {
      const stored = await this.#stored.claim(volume);
      const { generation, holder } = told;
      return {
        ...{ generation, holder, lost: Promise.race([told.lost, stored.lost]) },
        opened(epoch) {
          told.opened?.(epoch);
          stored.opened?.(epoch);
        },
        async release() {
          await stored.release();
          await told.release();
        },
      };
    } catch (error) {
      await told.release();
      throw error;
    }
  }
}
