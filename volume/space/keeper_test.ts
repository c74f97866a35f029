import { assert, assertEquals } from "@std/assert";
import { StoreError } from "../../store/store.ts";
import type { Committed } from "../committed.ts";
import { AT, VolumeCounters } from "../counters.ts";
import type { collectGarbage } from "./collect.ts";
import { SpaceKeeper } from "./keeper.ts";

const EXTENTS = { blocks: [1], counts: [1], places: [1], length: 1 } as never;

/** A keeper whose time and collections the test decides. */
class Rig {
  nowMs = 0;
  manifest = 1;
  /** The pause that the keeper has asked for. */
  pause: { ms: number; call: () => void } | undefined = undefined;
  /** The bases so far. */
  readonly bases: number[] = [];
  failure: Error | undefined = undefined;
  readonly lines: string[] = [];
  readonly counters = new VolumeCounters();
  readonly keeper: SpaceKeeper;

  constructor() {
    const head = () => ({ volume: "v", manifest: this.manifest, manifestSum: 0 });
    const committed = {
      get head() {
        return head();
      },
    } as unknown as Committed;
    this.keeper = new SpaceKeeper({
      ...{ committed, counters: this.counters },
      seam: { now: () => 0, clock: () => this.nowMs, elapsed: () => this.nowMs, uuid: () => "" },
      report: (line) => this.lines.push(line),
      onMoves: () => {},
      timer: (ms, call) => {
        this.pause = { ms, call };
        return () => this.pause = undefined;
      },
      collect: ((parts) => {
        this.bases.push(parts.base.manifest);
        if (this.failure !== undefined) return Promise.reject(this.failure);
        const freed = { objects: 1, bytes: 10, chunks: 1, neededBytes: 1000 };
        return Promise.resolve({ ...freed, storedBytes: 1000, held: [] });
      }) as typeof collectGarbage,
    });
  }

  /** A commit is made, handed over, and reached. */
  commit(): void {
    this.manifest++;
    this.keeper.handedOver(EXTENTS);
    this.keeper.quiet(this.manifest - 1);
  }

  /** The pause that was asked for is over. */
  async wait(): Promise<void> {
    const { ms, call } = this.pause!;
    this.pause = undefined;
    this.nowMs += ms;
    call();
    for (let turn = 0; turn < 20; turn++) await undefined;
  }
}

Deno.test("SpaceKeeper + an idle volume + nothing is looked at", async () => {
  const rig = new Rig();
  assertEquals(rig.pause, undefined);
  rig.keeper.quiet(0);
  assertEquals(rig.pause, undefined);
  rig.commit();
  await rig.wait();
  assertEquals([rig.bases, rig.pause], [[2], undefined]);
  assertEquals(rig.counters.get(AT.freedBytes), 10);
});

Deno.test("SpaceKeeper + a commit that the engine has not reached + is no base", () => {
  const rig = new Rig();
  rig.manifest = 2;
  rig.keeper.handedOver(EXTENTS);
  assertEquals(rig.pause, undefined);
  rig.keeper.quiet(1);
  assert(rig.pause !== undefined);
});

Deno.test("SpaceKeeper + after much was written the pause is shorter", async () => {
  const rig = new Rig();
  rig.commit();
  const long = rig.pause!.ms;
  await rig.wait();
  rig.counters.add(AT.chunkWrittenBytes, 64 << 20);
  rig.commit();
  assert(rig.pause!.ms < long);
});

Deno.test("SpaceKeeper + a store that fails is tried again, and one line says so", async () => {
  const rig = new Rig();
  rig.failure = new StoreError("unavailable", "away");
  rig.commit();
  await rig.wait();
  await rig.wait();
  assertEquals([rig.bases, rig.lines], [[2, 2], ["space is not given back: away"]]);
  rig.failure = undefined;
  await rig.wait();
  assertEquals([rig.bases.length, rig.pause], [3, undefined]);
});

Deno.test("SpaceKeeper.close() + begins nothing any more", async () => {
  const rig = new Rig();
  rig.commit();
  await rig.keeper.close();
  assertEquals(rig.pause, undefined);
  rig.commit();
  assertEquals([rig.pause, rig.bases], [undefined, []]);
});
