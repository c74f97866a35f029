/**
 * A copy of this checkout in a temporary folder, in which rules are broken and simulations run.
 *
 * @module
 */

import { runQuietly } from "../../exec.ts";
import { sources } from "../../sources.ts";
import { type Change, changed, type Simulation, SIMULATIONS } from "./rule.ts";
import { type Verdict, verdictOf } from "./verdict.ts";

/** All that `deno test` needs of a checkout. */
const ENDINGS = [".ts", ".json", ".lock"];

/** The first seed that fails says enough. */
export const FIRST_FAILURE_ENDS: Change = {
  file: "tests/seeds.ts",
  text: "const MOST_FAILURES = 10;",
  instead: "const MOST_FAILURES = 1;",
};

/** A copy of the checkout. */
export class Checkout implements Disposable {
  readonly #root: string;
  readonly #folder: string;

  /** @param root The checkout's folder, with a slash at the end. */
  constructor(root: string) {
    this.#root = root;
    this.#folder = Deno.makeTempDirSync({ prefix: "ublk-broken-rules-" });
    for (const file of sources(root, ENDINGS)) {
      const copy = `${this.#folder}/${file}`;
      Deno.mkdirSync(copy.slice(0, copy.lastIndexOf("/")), { recursive: true });
      Deno.copyFileSync(root + file, copy);
    }
    this.change(FIRST_FAILURE_ENDS, "the first failure ends a test");
  }

  /** Changes a file. @throws {StaleRule} */
  change(change: Change, name: string): void {
    const { file } = change;
    const source = Deno.readTextFileSync(this.#root + file);
    Deno.writeTextFileSync(`${this.#folder}/${file}`, changed(source, change, name));
  }

  /** A file is as it was. */
  restore({ file }: Change): void {
    Deno.copyFileSync(this.#root + file, `${this.#folder}/${file}`);
  }

  /** Runs a simulation. @param seeds Arguments for `tests/seeds.ts`. */
  async run(
    simulation: Simulation,
    seeds: readonly string[],
    limitMs: number,
  ): Promise<Verdict> {
    const config = `--config=${this.#folder}/deno.json`;
    const test = `${this.#folder}/volume/crash_test.ts`;
    const filter = `--filter=${SIMULATIONS[simulation]}`;
    const args = ["test", "-A", "--no-check", config, filter, test, "--", ...seeds];
    return verdictOf(await runQuietly(Deno.execPath(), args, limitMs));
  }

  /** Removes the copy. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.#folder, { recursive: true });
  }
}
