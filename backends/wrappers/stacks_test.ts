/**
 * Every wrapper and every pair of wrappers over disks that answer late, in another order and not
 * always, with up to 14 requests side by side, drawn from seeds (`tests/stacks/`). A seed is one
 * stack and its lives; the run takes the first of them.
 *
 * `UBLK_SEEDS=7` replays a seed, and `UBLK_SEEDS=1-20000` tries many.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { libc } from "../../uring/libc.ts";
import { live, stackOf } from "../../tests/stacks/life.ts";
import { STACKS, WRAPS } from "../../tests/stacks/wraps.ts";
import { WRAPPERS } from "../wrappers.ts";

// Opened once for the process: no test leaks it.
libc();

/** Each stack so often, in an ordinary run. */
const ROUNDS = 1;

const [first, last = first] = (Deno.env.get("UBLK_SEEDS") ?? `0-${ROUNDS * STACKS.length - 1}`)
  .split("-").map(Number);

/** In memory where this machine has a place for that: overlays are flushed often. */
function makeFolder(): string {
  try {
    return Deno.makeTempDirSync({ dir: "/dev/shm", prefix: "ublk-stacks-" });
  } catch {
    return Deno.makeTempDirSync({ prefix: "ublk-stacks-" });
  }
}

// A write-back cache lost so what FUA had made durable, in 5 of 400 seeds.
Deno.test("stacks keep what they answered, through every end", async () => {
  const failed: string[] = [];
  for (let seed = first; seed <= last; seed++) {
    const folder = makeFolder();
    try {
      await live(seed, folder);
    } catch (error) {
      const stack = stackOf(seed).join(" over ") || "no wrapper";
      const replay = `UBLK_SEEDS=${seed} deno test -A backends/wrappers/stacks_test.ts`;
      failed.push(`${stack}: ${(error as Error).message}; ${replay}`);
      console.error(failed.at(-1));
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  }
  assertEquals(failed, [], `${failed.length} of ${last - first + 1} seeds`);
});

Deno.test("stacks are tried with every wrapper of the table", () => {
  const tried = new Set(Object.keys(WRAPS).map((name) => name.split(" ")[0]));
  assertEquals(WRAPPERS.filter(({ name }) => !tried.has(name)), []);
});
