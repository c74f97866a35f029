/**
 * A claim as it stands in its bucket: JSON under a key that is the volume's name.
 *
 * ```
 * {"owner":"node-7","generation":42,"acquired_at":"2026-11-30T10:00:00.000Z","nonce":"6f…"}
 * ```
 *
 * The first three fields are those of the platform that this one took over from, so that its nodes and
 * these exclude each other. `generation` is 0 until the first renewal: it is the revision that won, which
 * its writer learns by winning.
 *
 * @module
 */

/** The bucket of claims. */
export const CLAIMS_BUCKET = "VIPERBLOCK_VOLUME_LEASES";
/** The life of a claim, in milliseconds. It is renewed after a third of that. */
export const CLAIM_TTL_MS = 45_000;

/** A claim in its bucket. */
export interface ClaimRecord {
  /** The node. */
  readonly owner: string;
  /** See {@linkcode Claim.generation}; 0 for the revision of the entry. */
  readonly generation: number;
  /** When it was claimed, in ISO 8601, for people. */
  readonly acquiredAt: string;
  /** Random, and the same as long as the claim is. Empty for other platforms' claims. */
  readonly nonce: string;
}

/** The key of a volume: a dot in its name would separate parts. */
export function keyOf(volume: string): string {
  return volume.replaceAll(".", "=2E");
}

/** The volume of a key. */
export function volumeOf(key: string): string {
  return key.replaceAll("=2E", ".");
}

/** Encodes a claim. */
export function encodeClaim({ owner, generation, acquiredAt, nonce }: ClaimRecord): Uint8Array {
  const fields = { owner, generation, acquired_at: acquiredAt, nonce };
  return new TextEncoder().encode(JSON.stringify(fields));
}

/** Decodes a claim. Whatever stands under the key is one: its owner may be somebody unknown. */
export function decodeClaim(bytes: Uint8Array): ClaimRecord {
  const fields = fieldsOf(bytes);
  const text = (value: unknown, instead: string) =>
    typeof value === "string" && value !== "" ? value : instead;
  return {
    owner: text(fields.owner, "somebody"),
    generation: typeof fields.generation === "number" ? fields.generation : 0,
    acquiredAt: text(fields.acquired_at, ""),
    nonce: text(fields.nonce, ""),
  };
}

/** The fields of a JSON object; none if it is something else. */
export function fieldsOf(bytes: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
  } catch {
    return {};
  }
}
