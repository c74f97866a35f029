import { assertEquals, assertRejects } from "@std/assert";
import { FaultyStore } from "../store/faulty.ts";
import type { StoreCallName } from "../store/faults.ts";
import { MemoryStore } from "../store/memory.ts";
import { MACHINE } from "../volume/seam.ts";
import { EbsError } from "./error.ts";
import { Records } from "./records.ts";

const snapshot = (id: string) => ({
  ...{ id, volume: "v", state: "pending" as const, created: 0, bytes: 0 },
});

Deno.test("Records + of many that make or change one at a time + each change counts once", async () => {
  const records = Records.snapshots(new MemoryStore(), MACHINE);
  const made = await Promise.all(Array.from({ length: 8 }, () => records.create(snapshot("s"))));
  assertEquals(made.filter(({ isNew }) => isNew).length, 1);
  const add = () => records.change("s", (now) => ({ ...now, bytes: now.bytes + 1 }));
  await Promise.all(Array.from({ length: 8 }, add));
  assertEquals((await records.get("s"))?.bytes, 8);
});

for (const fault of ["lost answer", "lost race"] as const) {
  Deno.test(`Records + a ${fault} + is no other's work`, async () => {
    const store = new FaultyStore(new MemoryStore());
    const records = Records.snapshots(store, MACHINE);
    const failOnce = (call: StoreCallName) => {
      let isDone = false;
      store.faults = ({ name }) => {
        if (isDone || name !== call) return undefined;
        isDone = true;
        return fault;
      };
    };
    failOnce("put");
    assertEquals((await records.create(snapshot("s"))).isNew, true);
    failOnce("replace");
    let calls = 0;
    await records.change("s", (now) => {
      calls++;
      return { ...now, bytes: now.bytes + 1 };
    });
    assertEquals([(await records.get("s"))?.bytes, calls], [1, 1]);
  });
}

Deno.test("Records + pages + have each once, in order, and nothing else", async () => {
  const store = new MemoryStore();
  const records = Records.snapshots(store, MACHINE);
  const ids = ["b", "a", "d", "c", "e"];
  for (const id of ids) await records.create(snapshot(id));
  await store.putIfAbsent("v/head", new Uint8Array([1]));
  const found: string[] = [];
  const tokens: string[] = [];
  for (let after = "";;) {
    const page = await records.page(after, 2, () => {});
    found.push(...page.records.map(({ id }) => id));
    tokens.push(after = page.next);
    if (after === "") break;
  }
  assertEquals([found, tokens], [ids.toSorted(), ["b", "d", ""]]);
});

// Regression: it took the record of the next volume.
Deno.test("Records + a deletion that comes late + leaves what was made since", async () => {
  const store = new FaultyStore(new MemoryStore());
  const records = Records.snapshots(store, MACHINE);
  const { record } = await records.create(snapshot("s"));
  // What is noted meanwhile is no reason to keep it.
  await records.change("s", (now) => ({ ...now, bytes: 1 }));
  await records.delete(record);
  assertEquals(await records.get("s"), undefined);
  await records.delete(record);
  const next = (await records.create({ ...snapshot("s"), created: 1 })).record;
  await records.delete(record);
  assertEquals(await records.get("s"), next);
  const other = await records.change("s", (now) => ({ ...now, state: "completed" }));
  await records.delete(next);
  assertEquals(await records.get("s"), other);
  // The one that is made between the look and the deletion.
  let isMade = false;
  store.faults = ({ name }) => {
    if (name !== "delete" || isMade) return undefined;
    isMade = true;
    void records.change("s", (now) => ({ ...now, state: "pending", created: 2 }));
    return "unavailable";
  };
  await records.delete(other!);
  assertEquals([isMade, (await records.get("s"))?.created], [true, 2]);
});

Deno.test("Records + damaged + is an error, and no missing record", async () => {
  const store = new MemoryStore();
  const text = new TextEncoder().encode('{"id":"../v"}');
  await store.putIfAbsent(".ebs/snapshots/s", text);
  const records = Records.snapshots(store, MACHINE);
  const { code } = await assertRejects(() => records.get("s"), EbsError);
  assertEquals(code, "internal");
});
