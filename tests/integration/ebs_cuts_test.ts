/**
 * Two nodes, one volume, a real NATS server, and cut networks: a few rounds. `deno task ebs-cuts` makes 50.
 */

import { assert, assertEquals } from "@std/assert";
import type { NodeEvent } from "../ebs/cut_events.ts";
import { judge } from "../ebs/cut_judge.ts";
import { cutRounds, type CutStore } from "../ebs/cuts.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { Namespaces } from "../ebs/namespaces.ts";

const ROUNDS: Readonly<Record<CutStore, number>> = { bucket: 4, folder: 2 };
// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

/** Network namespaces need root, and a container that allows them. */
const IGNORE = !Namespaces.areAllowed;

for (const [store, rounds] of Object.entries(ROUNDS)) {
  Deno.test({
    name: `cut networks + a store that is a ${store} + no double writer, no lost write`,
    ignore: IGNORE,
    async fn() {
      const told: string[] = [];
      const tell = (line: string) => void told.push(line);
      const outcome = await cutRounds(rounds, store as CutStore, tell);
      assertEquals(outcome.faults, [], told.join("\n"));
      assertEquals([told.length, outcome.rounds], [rounds, rounds]);
      assert(outcome.opened > rounds && outcome.synced > 5 * rounds, JSON.stringify(outcome));
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
    { event: "flushed", generation: 1, value: 11 },
    { event: "synced", generation: 1, values: [11] },
  ] as const;
  const taken = { event: "opened", node: "b", generation: 2 } as const;
  assertEquals(judge(told(...first, { ...taken, values: [11] })), []);
  for (
    const [words, events] of Object.entries({
      "11 was stored": told(...first, { ...taken, values: [0] }),
      "never written": told(...first, { ...taken, values: [12] }),
      "-1, never": told(...first, { ...taken, values: [-1] }),
      "when b had the volume open": told(
        ...[...first, { ...taken, values: [11] }],
        { event: "flushed", generation: 1, value: 12 },
      ),
    })
  ) {
    const faults = judge(events);
    assert(faults.length > 0 && faults[0]!.includes(words), `${words}: ${faults}`);
  }
});
