import { assertEquals } from "@std/assert";
import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import { stateOf } from "../state.ts";
import { ObjectNames } from "../names.ts";
import { createSnapshot, removeSnapshot } from "../snapshots.ts";
import { Volume } from "../volume.ts";
import { GarbageWatch } from "./watch.ts";

Deno.test("GarbageWatch + asks at first, and after each change of the catalog", async () => {
  const store = new FaultyStore(new MemoryStore());
  await Volume.create("v", { store, size: "1M" });
  const names = new ObjectNames("v");
  const { head } = await stateOf(store, names);
  const pauses: number[] = [];
  let asked = 0;
  let call: (() => void) | undefined = undefined;
  const watch = new GarbageWatch({
    committed: { store, names, head },
    keeper: { mayFree: () => void (asked += 1) },
    random: () => 0.5,
    timer(ms, then) {
      pauses.push(ms);
      call = then;
      return () => call = undefined;
    },
  });
  const look = async () => {
    const begun = pauses.length;
    call!();
    while (pauses.length === begun) await new Promise((resolve) => setTimeout(resolve, 1));
    return asked;
  };
  assertEquals([await look(), await look()], [1, 1]);
  await createSnapshot(store, "v", "s");
  await removeSnapshot(store, "v", "s");
  store.faults = () => "unavailable";
  assertEquals(await look(), 1);
  store.faults = undefined;
  assertEquals([await look(), await look()], [2, 2]);
  assertEquals(pauses, [35_000, 600_000, 600_000, 600_000, 600_000, 600_000]);
  await watch.close();
  assertEquals(call, undefined);
});
