/**
 * The seeds of property tests: a test draws all its chance from a number, and is run with many.
 *
 * ```sh
 * deno test -A backends/wrappers/stacks_test.ts -- --seeds 5000   # seeds 1 to 5000
 * deno test -A backends/wrappers/stacks_test.ts -- --seed 17      # this one again
 * deno task vm-e2e --kernel 7.2 --files tests/e2e/power_test.ts -- --seeds 10    # in a guest
 * ```
 *
 * @module
 */

/** So many seeds may fail before the others are not tried any more. */
const MOST_FAILURES = 10;

/** More are a list that does not fit into memory. */
const MOST_SEEDS = 10_000_000;

const USAGE = "use --seeds N for seeds 1 to N, or --seed S for one alone";

/** The seeds to run: those that the command line names, or 1 to `count`. */
export function seedsOf(count: number, args: readonly string[] = Deno.args): number[] {
  const words = args.flatMap((arg) => arg.split("="));
  if (words.length > 0) {
    const [name, value] = words;
    const number = value ? Number(value) : NaN;
    const isRight = name === "--seed"
      ? Number.isInteger(number)
      : name === "--seeds" && Number.isInteger(number) && number > 0 && number <= MOST_SEEDS;
    if (words.length !== 2 || !isRight) {
      throw new Error(`${args.join(" ")}: ${USAGE}`);
    }
    if (name === "--seed") return [number];
    count = number;
  }
  return Array.from({ length: count }, (_, index) => 1 + index);
}

/** The parts of a `Deno.TestContext` that name a test. */
export interface SeededTest {
  /** Its name. */
  readonly name: string;
  /** The URL of its module. */
  readonly origin: string;
}

/** The command line that runs one seed of a test again. */
export function replay({ name, origin }: SeededTest, seed: number): string {
  const root = new URL("..", import.meta.url).href;
  const path = origin.startsWith(root) ? origin.slice(root.length) : origin;
  const run = path.startsWith("tests/e2e/") ? "deno task vm-e2e --files" : "deno test -A";
  return `${run} ${path} --filter '${name.replaceAll("'", `'\\''`)}' -- --seed ${seed}`;
}

/**
 * Runs a property for seed after seed.
 *
 * @param count How many in an ordinary run.
 * @returns How many were run: where it is fewer than `count`, nothing can be said of averages.
 * @throws {Error} The failure of the first seed that failed, after a line that replays it.
 */
export async function eachSeed(
  test: SeededTest,
  count: number,
  property: (seed: number) => unknown,
  args?: readonly string[],
): Promise<number> {
  const failed: { seed: number; error: unknown }[] = [];
  let ran = 0;
  for (const seed of seedsOf(count, args)) {
    ran++;
    try {
      await property(seed);
    } catch (error) {
      failed.push({ seed, error });
      if (failed.length === MOST_FAILURES) break;
    }
  }
  if (failed.length === 0) return ran;
  const [{ seed, error }] = failed;
  const others = failed.length === 1
    ? ""
    : `, and ${failed.slice(1).map((one) => one.seed).join()}`;
  const text = error instanceof Error ? error.message : String(error);
  const message = `of ${ran} seeds failed: ${seed}${others}; replay: ${
    replay(test, seed)
  }\n${text}`;
  throw new Error(message, { cause: error });
}
