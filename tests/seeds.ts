/**
 * The seeds of a property test: so many in an ordinary run, and others by `UBLK_SEEDS`.
 *
 * @module
 */

/** Seeds in a row. */
export interface SeedRange {
  /** The first. */
  readonly first: number;
  /** The last. */
  readonly last: number;
}

/** `UBLK_SEEDS=7` is one seed, and `UBLK_SEEDS=1-20000` many; without it those below `ordinary`. */
export function seedsOf(ordinary: number): SeedRange {
  const [first, last = first] = (Deno.env.get("UBLK_SEEDS") ?? `0-${ordinary - 1}`)
    .split("-").map(Number);
  return { first, last };
}

/** The command that runs one seed of a test file again. */
export function replayOf(seed: number, file: string): string {
  return `UBLK_SEEDS=${seed} deno test -A ${file}`;
}
