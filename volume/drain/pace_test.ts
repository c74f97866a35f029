import { assertEquals } from "@std/assert";
import { StoreError } from "../../store/store.ts";
import { VolumeCounters } from "../counters.ts";
import { Extents } from "../format/run.ts";
import type { Moves } from "../space/moves.ts";
import type { MadeCommit } from "./drainer.ts";
import { DrainPace } from "./pace.ts";

const END = { position: 1000, sequence: 1, chain: 0, written: 0 };

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await undefined;
}

Deno.test("DrainPace + a move that was decided, and nothing else to do + is tried until it is handed over", async () => {
  const told: string[] = [];
  const failures = [1, 2].map((nth) => new StoreError("unavailable", `away ${nth}`));
  const moves: Moves[] = [];
  const timers: (() => void)[] = [];
  let nowMs = 0;
  let owesCommit = false;
  const moved = (what: string): Promise<MadeCommit> => {
    told.push(what);
    const failure = failures.shift();
    owesCommit = failure !== undefined;
    if (failure !== undefined) return Promise.reject(failure);
    return Promise.resolve({ extents: new Extents(), end: undefined });
  };
  const pace = new DrainPace({
    ...{ seam: { clock: () => nowMs, now: () => nowMs }, counters: new VolumeCounters() },
    ...{ wake: () => told.push("woken"), report: () => {}, catchUp: () => Promise.resolve() },
    ...{ onCommit: () => {}, onQuiet: () => {}, onStop: () => told.push("stopped") },
    takeMoves: () => moves.shift(),
    marks: () => ({ failure: undefined, wanted: -1, owes: false, takeAll: () => false }),
    timer: (ms, call) => {
      timers.push(() => {
        nowMs += ms;
        call();
      });
      return () => {};
    },
  });
  pace.start(
    {
      get owesCommit() {
        return owesCommit;
      },
      move: () => moved("moved"),
      finish: () => moved("finished"),
      commit: () => Promise.reject(new Error("there is nothing to commit")),
    },
    END,
    END,
  );
  moves.push({} as Moves);
  pace.moves();
  await settle();
  assertEquals([told, timers.length], [["moved"], 1]);
  // What has been read since waits for it.
  moves.push({} as Moves);
  pace.moves();
  timers.splice(0)[0]();
  await settle();
  timers.splice(0)[0]();
  await settle();
  assertEquals(told, ["moved", "finished", "finished", "woken"]);
  assertEquals(pace.commit()!.position, -1);
  pace.taken();
  await settle();
  assertEquals(told.slice(4), ["moved", "woken"]);
  await pace.close();
});
