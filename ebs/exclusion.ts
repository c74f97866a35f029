/**
 * Who may have a volume for writing. A claim tells others; what protects the volume is its own lease
 * and epoch in the store.
 *
 * @module
 */

/** Why a claim was lost, in words. */
export type Reason = string;

/** A volume that is claimed. */
export interface Claim {
  /** Rises with each claim of the volume. */
  readonly generation: number;
  /** Who holds it: the node's name. */
  readonly holder: string;
  /** Resolves once the claim is lost. The volume must not be served from then on. Never rejects. */
  readonly lost: Promise<Reason>;
  /**
   * Tells that the volume is open, with the epoch of its hold. Whoever raises that has taken it.
   *
   * @default The claim does not depend on it
   */
  opened?(epoch: number): void;
  /** Gives the claim up. */
  release(): Promise<void>;
}

/** What a control plane may rely on. */
export interface ExclusionTerms {
  /** How far it reaches. */
  readonly scope: "none" | "node" | "cluster";
  /** How long a claim outlives its holder, in seconds; 0 if it never ends by itself. */
  readonly claimTtlSeconds: number;
  /** Whether a writer that lost its claim is stopped. */
  readonly fencesLostClaim: boolean;
}

/** Decides who may have volumes. */
export interface Exclusion {
  /** What it guarantees. */
  readonly terms: ExclusionTerms;
  /** Claims a volume. @throws {UblkError} `VOLUME_BUSY` if somebody else has it. */
  claim(volume: string): Promise<Claim>;
  /**
   * The holder of a volume's claim; undefined if there is none.
   *
   * @default Nobody can tell
   */
  holder?(volume: string): Promise<{ readonly owner: string } | undefined>;
}
