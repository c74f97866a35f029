/**
 * Two nodes, one volume, a real NATS server, and cut networks: a round of each kind, and one with `ublk-ebs
 * serve` in each namespace. `deno task ebs-cuts` makes 50, and with `--service` 50 of the latter.
 */

import { assert, assertEquals } from "@std/assert";
import type { NodeEvent } from "../ebs/cut_events.ts";
import { judge } from "../ebs/cut_judge.ts";
import type { CutKind } from "../ebs/cut_ground.ts";
import { cutRounds } from "../ebs/cuts.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { Namespaces } from "../ebs/namespaces.ts";

/** Of each kind, which are cut in several phases. */
const ROUNDS = 1;
const KINDS: readonly (CutKind & { readonly seed: number })[] = [
  { store: "bucket", durability: "local", seed: 1 },
  { store: "bucket", durability: "store", seed: 2 },
  { store: "folder", durability: "local", seed: 3 },
  // The first node is cut off while it writes: no other round is over so soon.
  { store: "folder", durability: "local", isService: true, seed: 19 },
];
// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

/** Network namespaces need root, and a container that allows them. */
const IGNORE = !Namespaces.areAllowed;

for (const { seed, ...kind } of KINDS) {
  const nodes = kind.isService ? "ublk-ebs serve, " : "";
  Deno.test({
    name:
      `cut networks + ${nodes}a ${kind.store}, durability ${kind.durability} + no double writer, no lost flush`,
    ignore: IGNORE,
    async fn() {
      // A service is cut off as soon as it is written to.
      const leastSynced = kind.isService ? 0 : 3;
      const told: string[] = [];
      const tell = (line: string) => void told.push(line);
      const outcome = await cutRounds(ROUNDS, kind, tell, seed);
      assertEquals(outcome.faults, [], told.join("\n"));
      assertEquals([told.length, outcome.rounds], [ROUNDS, ROUNDS]);
      // It was opened again after the cut, and written to all the time.
      assert(outcome.opened > ROUNDS && outcome.synced > leastSynced, JSON.stringify(outcome));
    },
  });
}

/** What two nodes tell, of one block. */
function told(...events: readonly (Partial<NodeEvent> & Pick<NodeEvent, "event">)[]): NodeEvent[] {
  return events.map((event, at) => ({ node: "a", at, block: 0, ...event }));
}

Deno.test("the judge of cut networks finds what is wrong, and nothing else", () => {
  const first = [
    { event: "opened", generation: 1, values: [0] },
    { event: "writing", generation: 1, value: 11 },
    { event: "flushed", generation: 1 },
    { event: "synced", generation: 1, values: [11] },
  ] as const;
  const taken = { event: "opened", node: "b", generation: 2 } as const;
  assertEquals(judge(told(...first, { ...taken, values: [11] })), []);
  for (
    const [words, events] of Object.entries({
      "11 was stored": told(...first, { ...taken, values: [0] }),
      "never written": told(...first, { ...taken, values: [12] }),
      "0, and 11 was stored": told(
        ...[first[0], first[1], { event: "flushed", generation: 1, values: [11] }] as const,
        { ...taken, values: [0] },
      ),
      "0, and 12 was stored": told(
        ...[first[0], { event: "writing", generation: 1, value: 12 }] as const,
        { event: "released", generation: 1, values: [12] },
        { ...taken, values: [0] },
      ),
      "-1, never": told(...first, { ...taken, values: [-1] }),
      "when b had the volume open": told(
        ...[...first, { ...taken, values: [11] }],
        { event: "flushed", generation: 1 },
      ),
    })
  ) {
    const faults = judge(events);
    assert(faults.length > 0 && faults[0]!.includes(words), `${words}: ${faults}`);
  }
});
