/**
 * Two nodes, one volume, a real NATS server, and cut networks: a few rounds. `deno task ebs-cuts` makes 50.
 */

import { assert, assertEquals } from "@std/assert";
import type { NodeEvent } from "../ebs/cut_events.ts";
import { judge } from "../ebs/cut_judge.ts";
import { type CutKind, cutRounds } from "../ebs/cuts.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { Namespaces } from "../ebs/namespaces.ts";

const ROUNDS = 2;
const KINDS: readonly CutKind[] = [
  { store: "bucket", durability: "local" },
  { store: "bucket", durability: "store" },
  { store: "folder", durability: "local" },
];
// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

/** Network namespaces need root, and a container that allows them. */
const IGNORE = !Namespaces.areAllowed;

for (const [nth, kind] of KINDS.entries()) {
  Deno.test({
    name:
      `cut networks + a ${kind.store}, durability ${kind.durability} + no double writer, no lost flush`,
    ignore: IGNORE,
    async fn() {
      const told: string[] = [];
      const tell = (line: string) => void told.push(line);
      const outcome = await cutRounds(ROUNDS, kind, tell, 1 + nth);
      assertEquals(outcome.faults, [], told.join("\n"));
      assertEquals([told.length, outcome.rounds], [ROUNDS, ROUNDS]);
      assert(outcome.opened > 2 && outcome.synced > 10, JSON.stringify(outcome));
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
