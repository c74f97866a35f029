import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { FaultyStore } from "../store/faulty.ts";
import { MemoryStore } from "../store/memory.ts";
import { StoreError } from "../store/store.ts";
import { briefClaim, Committed } from "../volume/committed.ts";
import { listVolumes } from "../volume/list.ts";
import { MACHINE } from "../volume/seam.ts";
import { createSnapshot, removeSnapshot } from "../volume/snapshots.ts";
import { Volume } from "../volume/volume.ts";
import { Bed, MIB } from "../tests/ebs/bed.ts";
import { Claims } from "./claims/claims.ts";
import { MemoryKeyValue } from "./claims/memory_key_value.ts";
import { CLAIM_TTL_MS } from "./claims/record.ts";
import { ebsErrorOf } from "./error.ts";
import { JointExclusion } from "./joint_exclusion.ts";
import { Records } from "./records.ts";
import type { EbsService } from "./service.ts";
import { Snapshots } from "./snapshots.ts";
import { StoreExclusion } from "./store_exclusion.ts";

const code = async (call: () => Promise<unknown>) => ebsErrorOf(await assertRejects(call)).code;

async function snapshot(service: EbsService, id: string, volume: string) {
  const { record, completion } = await service.beginSnapshot(id, volume);
  return await completion ?? record;
}

async function firstByte(bed: Bed, name: string): Promise<number> {
  await using volume = await Volume.open(name, { store: bed.store, readOnly: true });
  const block = new Uint8Array(volume.blockSize);
  await volume.read(block, 0);
  return block[0];
}

Deno.test("EbsService + created twice + there is one; another one of its id is refused", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node();
  const wish = { id: "v", bytes: 64 * MIB, seed: new Uint8Array(5000).fill(7), token: "t" };
  const views = await Promise.all([service.create(wish), service.create(wish)]);
  assertEquals(views.map(({ state, bytes }) => [state, bytes]), [
    ["available", 64 * MIB],
    ["available", 64 * MIB],
  ]);
  assertEquals(await firstByte(bed, "v"), 7);
  for (
    const other of [
      { ...wish, bytes: 65 * MIB },
      { ...wish, token: "u" },
      { ...wish, seed: new Uint8Array(5000).fill(8) },
      { id: "v", bytes: 64 * MIB, token: "t" },
    ]
  ) assertEquals(await code(() => service.create(other)), "already_exists");
  assertEquals(await firstByte(bed, "v"), 7);
});

Deno.test("EbsService + a creation that is interrupted anywhere + the same request ends it", async () => {
  const states = new Set<string | undefined>();
  for (let failing = 1;; failing++) {
    await using bed = await Bed.inMemory();
    const store = bed.store as FaultyStore;
    const service = bed.node();
    let calls = 0;
    // Not one that may pass: the attempt ends there.
    store.faults = ({ name }) =>
      name !== "get" && name !== "list" && ++calls === failing ? "full" : undefined;
    const wish = { id: "v", bytes: 64 * MIB, seed: new Uint8Array([9]) };
    const failed = await service.create(wish).then(() => false, () => true);
    store.faults = undefined;
    if (failed) {
      const [record] = (await service.listVolumes("", 9)).records;
      states.add(record?.state);
      assertEquals((await service.create(wish)).state, "available");
    }
    assertEquals(await firstByte(bed, "v"), 9);
    if (!failed) {
      break;
    }
  }
  assertEquals([...states], [undefined, "error"]);
});

Deno.test("EbsService + a volume grows and never shrinks", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node();
  await service.create({ id: "v", bytes: 64 * MIB });
  assertEquals((await service.expand("v", 65 * MIB - 1, 0)).bytes, 65 * MIB);
  assertEquals((await service.expand("v", 65 * MIB, 0)).bytes, 65 * MIB);
  assertEquals(await code(() => service.expand("v", 64 * MIB, 0)), "invalid_argument");
  assertEquals(await code(() => service.expand("w", 64 * MIB, 0)), "not_found");
  for (const [required, limit] of [[0, 0], [66 * MIB, 65 * MIB], [2 ** 53 - 1, 0]]) {
    const expand = async () => await service.expand("v", required, limit);
    assertEquals(await code(expand), "invalid_argument");
  }
});

Deno.test("EbsService + snapshots + have ids of their own, whatever becomes of their volume", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node();
  await service.create({ id: "a", bytes: 64 * MIB, seed: new Uint8Array([1]) });
  await service.create({ id: "b", bytes: 64 * MIB });
  const made = await snapshot(service, "s", "a");
  assertEquals([made.state, made.bytes, made.volume], ["completed", 64 * MIB, "a"]);
  assertEquals(await snapshot(service, "s", "a"), made);
  assertEquals(await code(() => snapshot(service, "s", "b")), "already_exists");
  assertEquals(await code(() => snapshot(service, "t", "c")), "not_found");
  const copied = await service.copySnapshot("s", "t", "a");
  assertEquals(copied.state, "completed");
  // The answer may be lost: the same request comes again.
  assertEquals(await service.copySnapshot("s", "t", "a"), copied);
  await service.expand("a", 65 * MIB, 0);
  await snapshot(service, "later", "a");
  assertEquals(await code(() => service.copySnapshot("s", "later", "a")), "already_exists");
  await service.deleteSnapshot("later");
  await snapshot(service, "foreign", "b");
  assertEquals(await code(() => service.copySnapshot("s", "foreign", "a")), "already_exists");
  await service.deleteSnapshot("foreign");
  assertEquals(await code(() => service.copySnapshot("s", "u", "b")), "invalid_argument");
  assertEquals(await code(() => service.copySnapshot("s", "s", "a")), "invalid_argument");
  assertEquals(await code(() => service.copySnapshot("no", "u", "a")), "not_found");
  assertEquals((await service.listSnapshots("", 9)).records.map(({ id }) => id), ["s", "t"]);
  await service.delete("a");
  assertEquals(await code(() => service.describe("a")), "not_found");
  assertEquals((await service.listVolumes("", 9)).records.map(({ id }) => id), ["b"]);
  await service.deleteSnapshot("s");
  // The other one has all of it still.
  const clone = await service.create({
    ...{ id: "c", bytes: 128 * MIB, source: { volume: "a", snapshot: "t" } },
  });
  assertEquals([clone.bytes, await firstByte(bed, "c")], [128 * MIB, 1]);
  await service.deleteSnapshot("t");
  await service.deleteSnapshot("t");
  // Nothing needs what was left of the first volume.
  assertEquals(await listVolumes(bed.store), ["b", "c"]);
  assertEquals(await firstByte(bed, "c"), 1);
});

// Regression: the second request was answered as done, and the volume stayed for ever.
Deno.test("EbsService + a last snapshot whose deletion is interrupted + takes its volume with it later", async () => {
  await using bed = await Bed.inMemory();
  const store = bed.store as FaultyStore;
  const service = bed.node();
  const retire = async () => {
    await service.create({ id: "a", bytes: 64 * MIB });
    await snapshot(service, "s", "a");
    await service.delete("a");
    assertEquals(await listVolumes(store), ["a"]);
  };
  await retire();
  store.faults = ({ object, name }) =>
    object === "a/head" && name === "delete" ? "full" : undefined;
  assertEquals(await code(() => service.deleteSnapshot("s")), "internal");
  store.faults = undefined;
  await service.deleteSnapshot("s");
  assertEquals(await listVolumes(store), []);
  // Also if its snapshot has gone by another way.
  await retire();
  await removeSnapshot(store, "a", "s");
  await service.delete("a");
  assertEquals(await listVolumes(store), []);
  assertEquals(await Records.volumes(store, MACHINE).get("a"), undefined);
});

Deno.test("EbsService + a copy of a snapshot that is pending + may be asked for again", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node();
  await service.create({ id: "a", bytes: 64 * MIB });
  const records = Records.snapshots(bed.store, MACHINE);
  const pending = { volume: "a", state: "pending", created: 0, bytes: 1 } as const;
  await records.create({ ...pending, id: "s" });
  assertEquals(await code(() => service.copySnapshot("s", "t", "a")), "unavailable");
  assertEquals(await records.get("t"), undefined);
  await service.deleteSnapshot("s");
  await snapshot(service, "s", "a");
  // One that is being made is a copy of the same source, or it is another one.
  await records.create({ ...pending, id: "t" });
  assertEquals(await code(() => service.copySnapshot("s", "t", "a")), "already_exists");
  await records.create({ ...pending, id: "u", source: "s" });
  assertEquals(await code(() => snapshot(service, "u", "a")), "already_exists");
  assertEquals((await service.copySnapshot("s", "u", "a")).state, "completed");
  // The store may have an entry of another state under the name.
  await service.expand("a", 65 * MIB, 0);
  await createSnapshot(bed.store, "a", "w");
  await records.create({ ...pending, id: "w", source: "s" });
  assertEquals(await code(() => service.copySnapshot("s", "w", "a")), "already_exists");
  assertEquals((await records.get("w"))?.state, "pending");
});

// Regression: it was `volume_in_use`, and the id was given up although the snapshot might come.
Deno.test("EbsService + a snapshot that nobody can take now + stays pending", async () => {
  await using bed = await Bed.inMemory();
  const store = bed.store as FaultyStore;
  const service = bed.node();
  await service.create({ id: "a", bytes: 64 * MIB });
  const how = { store, journal: `${bed.folder}/one`, journalSize: "16M", leaseSeconds: 0 };
  {
    const volume = await Volume.open("a", { ...how, patienceMs: 0 });
    await volume.write(new Uint8Array(volume.blockSize).fill(7), 0);
    store.faults = ({ name }) => name === "get" || name === "list" ? undefined : "unavailable";
    await assertRejects(() => volume.close());
    store.faults = undefined;
  }
  assertEquals(await code(() => snapshot(service, "s", "a")), "unavailable");
  assertEquals((await service.describeSnapshot("s")).state, "pending");
  await (await Volume.open("a", how)).close();
  // Nobody asks for it again.
  await until(async () => (await service.describeSnapshot("s")).state === "completed");
  await until(() => begunIn(bed).length === 0);
});

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + 60_000; !await isSo();) {
    assert(performance.now() < endMs, "it does not come");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** What a node has noted of work that is to be done. */
const begunIn = ({ folder }: Bed) =>
  [...Deno.readDirSync(`${folder}/one/.ebs/begun`)].map(({ name }) => name).sort();

// Regression: they were `creating` and `pending` for ever, for whoever had the answer did not ask again.
Deno.test("EbsService + killed after it had answered, and before it was done + goes on when it starts", async () => {
  await using bed = await Bed.inMemory();
  const first = bed.node();
  await first.create({ id: "a", bytes: 64 * MIB, seed: new Uint8Array([7]) });
  await snapshot(first, "s", "a");
  const source = { volume: "a", snapshot: "s" };
  const clone = await first.beginCreation({ id: "b", bytes: 64 * MIB, source });
  const taken = await first.beginSnapshot("t", "a");
  const notes = begunIn(bed);
  assertEquals(notes, ["snapshot.t", "volume.b"]);
  await Promise.all([clone.completion, taken.completion]);
  await until(() => begunIn(bed).length === 0);
  await first.end();
  // As if it had got no further.
  const volumes = Records.volumes(bed.store, MACHINE);
  const snapshots = Records.snapshots(bed.store, MACHINE);
  await volumes.create({
    ...{ id: "c", bytes: 64 * MIB, state: "creating", maker: "one", created: 0 },
    ...{ source, attachments: [] },
  });
  await snapshots.create({ id: "u", volume: "a", state: "pending", created: 0, bytes: 0 });
  // One that another node has gone on with, one that is there, one that is not, and one of an earlier
  // volume of the id.
  await volumes.create({
    ...{ id: "d", bytes: 64 * MIB, state: "creating", maker: "two", created: 0 },
    ...{ source, attachments: [] },
  });
  const other = { id: "w", volume: "a", state: "pending", created: 0, bytes: 0 } as const;
  await snapshots.create({ ...other, volumeCreated: 1 });
  const names = ["volume.c", "snapshot.u", "volume.d", "snapshot.s", "volume.e", "snapshot.w"];
  for (const name of names) {
    Deno.writeTextFileSync(`${bed.folder}/one/.ebs/begun/${name}`, "");
  }
  bed.node();
  await until(() => begunIn(bed).length === 0);
  assertEquals(
    [(await volumes.get("c"))?.state, (await volumes.get("d"))?.state],
    ["available", "creating"],
  );
  assertEquals((await snapshots.get("u"))?.state, "completed");
  assertEquals(await snapshots.get("w"), undefined);
  assertEquals([await firstByte(bed, "c"), await firstByte(bed, "a@u")], [7, 7]);
});

// Regression: the record went, and what was left of the volume stayed for ever.
Deno.test("EbsService + a snapshot of a volume that was deleted meanwhile + is completed when its node starts", async () => {
  await using bed = await Bed.inMemory();
  const first = bed.node();
  await first.create({ id: "a", bytes: 64 * MIB, seed: new Uint8Array([7]) });
  await snapshot(first, "s", "a");
  await first.delete("a");
  assertEquals((await Records.volumes(bed.store, MACHINE).get("a"))?.state, "retired");
  await first.end();
  // As if it had died before it had noted that the snapshot is complete.
  const records = Records.snapshots(bed.store, MACHINE);
  await records.change("s", (now) => ({ ...now, state: "pending" }));
  // A copy is nobody's work, and stays as it is.
  const copy = {
    id: "t",
    volume: "a",
    state: "pending",
    created: 0,
    bytes: 0,
    source: "s",
  } as const;
  await records.create(copy);
  for (const name of ["snapshot.s", "snapshot.t"]) {
    Deno.writeTextFileSync(`${bed.folder}/one/.ebs/begun/${name}`, "");
  }
  const service = bed.node();
  await until(() => begunIn(bed).length === 0);
  assertEquals((await records.get("s"))?.state, "completed");
  assertEquals((await records.get("t"))?.state, "pending");
  assertEquals(await firstByte(bed, "a@s"), 7);
  for (const id of ["t", "s"]) await service.deleteSnapshot(id);
  assertEquals(await listVolumes(bed.store), []);
});

Deno.test("EbsService + a snapshot that is pending of an earlier volume of the id + asked for again + is of this one", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node();
  const { record: { created } } = await service.create({ id: "a", bytes: 64 * MIB });
  const records = Records.snapshots(bed.store, MACHINE);
  const earlier = {
    volume: "a",
    state: "pending",
    created: 0,
    bytes: 0,
    volumeCreated: 1,
  } as const;
  await records.create({ ...earlier, id: "s" });
  const begun = await service.beginSnapshot("s", "a");
  assertEquals([begun.record.volumeCreated, begun.record.created], [created, 0]);
  assertEquals((await begun.completion)?.state, "completed");
});

// Regression: the id was given up, and a snapshot may have been there under it.
Deno.test("EbsService + a copy that the store does not take now + is gone on with by the same request", async () => {
  await using bed = await Bed.inMemory();
  const store = bed.store as FaultyStore;
  const service = bed.node();
  await service.create({ id: "a", bytes: 64 * MIB });
  await snapshot(service, "s", "a");
  const records = Records.snapshots(store, MACHINE);
  const pending = { id: "t", volume: "a", state: "pending", bytes: 1, source: "s" } as const;
  await records.create({ ...pending, created: 0 });
  const snapshots = new Snapshots({
    ...{ store, records, seam: MACHINE, journal: `${bed.folder}/one`, report: () => {} },
  });
  const kept = (await records.get("t"))!;
  await snapshots.failed(kept, new StoreError("unavailable", "away"));
  assertEquals(await records.get("t"), kept);
  // One that was made since under the id is another one's.
  await snapshots.failed({ ...kept, created: 1 }, new Error("broken"));
  assertEquals(await records.get("t"), kept);
  assertEquals((await service.copySnapshot("s", "t", "a")).state, "completed");
  await snapshots.failed(kept, new Error("broken"));
  assertEquals((await records.get("t"))?.state, "completed");
});

Deno.test("EbsService + a volume from no snapshot, or the wrong one + is refused, and not there", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node();
  await service.create({ id: "a", bytes: 64 * MIB });
  await snapshot(service, "s", "a");
  const from = (volume: string, name: string, bytes = 64 * MIB) =>
    code(() => service.create({ id: "b", bytes, source: { volume, snapshot: name } }));
  assertEquals(await from("a", "no"), "not_found");
  assertEquals(await from("b", "s"), "invalid_argument");
  assertEquals(await from("a", "s", 63 * MIB), "invalid_argument");
  assertEquals((await service.listVolumes("", 9)).records.map(({ id }) => id), ["a"]);
});

Deno.test("EbsService + deleted in any order, by two at a time + it is gone once", async () => {
  await using bed = await Bed.inMemory();
  const [one, two] = [bed.node("one"), bed.node("two")];
  await one.create({ id: "v", bytes: 64 * MIB });
  await Promise.all([one.delete("v"), two.delete("v")]);
  await two.delete("v");
  assertEquals(await listVolumes(bed.store), []);
  // The id is free again.
  assertEquals((await two.create({ id: "v", bytes: 65 * MIB })).bytes, 65 * MIB);
});

// Regression: whoever was late deleted the next volume of that id.
Deno.test("EbsService + a deletion that is overtaken by another one and a new volume + leaves that alone", async () => {
  for (const at of ["replace .ebs/volumes/v", "get v/head"]) {
    const slow = Promise.withResolvers<void>();
    const going = Promise.withResolvers<void>();
    const inner = new MemoryStore();
    // The second look at the head is the removal's.
    let left = at === "get v/head" ? 2 : 1;
    const store = new FaultyStore(inner, {
      pause({ name, object }, when) {
        if (when !== "before" || `${name} ${object}` !== at || --left !== 0) return;
        going.resolve();
        return slow.promise;
      },
    });
    await using bed = await Bed.inMemory(inner);
    await using late = await Bed.inMemory(store);
    const service = bed.node();
    await service.create({ id: "v", bytes: 64 * MIB });
    const deleting = late.node("two").delete("v");
    await going.promise;
    await service.delete("v");
    await service.create({ id: "v", bytes: 65 * MIB });
    slow.resolve();
    await deleting;
    const { state, bytes } = await service.describe("v");
    assertEquals([at, state, bytes], [at, "available", 65 * MIB]);
  }
});

Deno.test("EbsService + a node that could not tell that it has left + holds up nobody", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node();
  await service.create({ id: "v", bytes: 64 * MIB });
  const records = Records.volumes(bed.store, MACHINE);
  const mounted = (readOnly: boolean) =>
    records.change("v", (now) => ({
      ...now,
      attachments: [{ node: "gone", readOnly, uri: "nbd://h:1/", time: 0 }],
    }));
  // Nobody but it can know whether it still reads.
  await mounted(true);
  assertEquals((await service.describe("v")).state, "in-use");
  assertEquals(await code(() => service.delete("v")), "volume_in_use");
  assertEquals(await code(() => service.detach("v")), "unavailable");
  await service.sync("v");
  // Whether a volume is written to, its head says.
  await mounted(false);
  assertEquals((await service.describe("v")).state, "available");
  assertEquals(await service.detach("v"), false);
  await service.delete("v");
  assertEquals(await listVolumes(bed.store), []);
});

Deno.test("EbsService + a snapshot that cannot be made + leaves its id to others", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node();
  await service.create({ id: "a", bytes: 64 * MIB });
  const ids = async () => (await service.listSnapshots("", 9)).records.map(({ id }) => id);
  const damage = (await bed.store.putIfAbsent("a/catalog", new Uint8Array(9)))!;
  assertEquals(await code(() => snapshot(service, "s", "a")), "internal");
  await bed.store.delete("a/catalog", { version: damage });
  assertEquals(await ids(), []);
  await snapshot(service, "s", "a");
  // Somebody has removed it by another way.
  await removeSnapshot(bed.store, "a", "s");
  assertEquals(await code(() => service.copySnapshot("s", "t", "a")), "not_found");
  assertEquals(await ids(), ["s"]);
});

// Regression: nobody went on with them, and a snapshot that was there had no record.
Deno.test("EbsService + a store that is full + what was answered is made once there is room", async () => {
  await using bed = await Bed.inMemory();
  const store = bed.store as FaultyStore;
  const service = bed.node();
  await service.create({ id: "a", bytes: 64 * MIB, seed: new Uint8Array([7]) });
  await snapshot(service, "s", "a");
  let refused = 0;
  // Neither what a volume is made of, nor the word that a snapshot is complete.
  store.faults = ({ object, name }) => {
    const isFull = object === "b/head" && name === "put" ||
      object === ".ebs/snapshots/t" && name === "replace";
    if (isFull) refused++;
    return isFull ? "full" : undefined;
  };
  const source = { volume: "a", snapshot: "s" };
  const { completion } = await service.beginCreation({ id: "b", bytes: 64 * MIB, source });
  assertEquals(await code(() => completion!), "internal");
  assertEquals(await code(() => snapshot(service, "t", "a")), "internal");
  await until(() => refused >= 4);
  assertEquals((await service.describeSnapshot("t")).state, "pending");
  store.faults = undefined;
  await until(() => begunIn(bed).length === 0);
  assertEquals((await service.describe("b")).state, "available");
  assertEquals((await service.describeSnapshot("t")).state, "completed");
  assertEquals([await firstByte(bed, "b"), await firstByte(bed, "a@t")], [7, 7]);
});

Deno.test("EbsService + deleted by one node while another one opens it + is not mounted", async () => {
  for (const isDone of [true, false]) await deleteWhileOpening(isDone);
});

async function deleteWhileOpening(isDone: boolean): Promise<void> {
  await using bed = await Bed.inMemory();
  const opening = Promise.withResolvers<void>();
  const deleted = Promise.withResolvers<void>();
  const log: string[] = [];
  const exporter = {
    async open() {
      opening.resolve();
      await deleted.promise;
      const close = () => Promise.resolve(void log.push("closed"));
      return {
        ...{ uri: "nbd://h:1/", port: 1, size: 64 * MIB, close },
        resize: () => Promise.resolve(),
        shut() {},
      };
    },
    drain: () => Promise.resolve(),
  };
  const [one, two] = [bed.node("one", { exporter }), bed.node("two")];
  await one.create({ id: "v", bytes: 64 * MIB });
  const mounting = code(() => one.mount({ volume: "v", access: "unix", readOnly: false }));
  await opening.promise;
  // Whoever had opened it before that would have been found in its head.
  if (isDone) await two.delete("v");
  else {
    const records = Records.volumes(bed.store, MACHINE);
    await records.change("v", (now) => ({ ...now, state: "deleting" }));
  }
  deleted.resolve();
  assertEquals([await mounting, log], [isDone ? "not_found" : "unavailable", ["closed"]]);
  assertEquals(one.mounts.all(), []);
}

Deno.test("EbsService + a volume that another node makes + is waited for, or gone on with", async () => {
  await using bed = await Bed.inMemory();
  let isThere = true;
  const service = bed.node("one", { peers: { isThere: () => Promise.resolve(isThere) } });
  const records = Records.volumes(bed.store, MACHINE);
  const wish = { id: "v", bytes: 64 * MIB };
  await records.create({
    ...{ ...wish, state: "creating", maker: "two", created: 0, attachments: [] },
  });
  assertEquals(await code(() => service.delete("v")), "unavailable");
  const [made] = await Promise.all([
    service.create(wish),
    // It dies while it is waited for.
    new Promise((resolve) => setTimeout(resolve, 150)).then(() => isThere = false),
  ]);
  assertEquals([made.state, made.record.maker], ["available", "one"]);
  await service.delete("v");
  assertEquals(await listVolumes(bed.store), []);
});

// Regression: a request that was repeated while the first one was at work was refused for good.
Deno.test("EbsService + a volume that another node is mounting + may be asked for again", async () => {
  await using bed = await Bed.inMemory();
  const bucket = new MemoryKeyValue(CLAIM_TTL_MS, MACHINE.clock);
  const opening = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  const exporter = {
    async open() {
      opening.resolve();
      await opened.promise;
      await Committed.claim(bed.store, "v", briefClaim(MACHINE, "one"), MACHINE.uuid);
      return {
        ...{ uri: "nbd://h:1/", port: 1, size: 64 * MIB, close: () => Promise.resolve() },
        resize: () => Promise.resolve(),
        shut() {},
      };
    },
    drain: () => Promise.resolve(),
  };
  let isThere = true;
  using stack = new DisposableStack();
  const node = (name: string) => {
    const claims = stack.use(new Claims({ bucket, node: name, seam: MACHINE }));
    const exclusion = new JointExclusion(claims, new StoreExclusion(bed.store, name));
    const peers = { isThere: () => Promise.resolve(isThere) };
    return bed.node(name, { exporter, exclusion, peers });
  };
  const [one, two] = [node("one"), node("two")];
  const wish = { volume: "v", access: "unix", readOnly: false } as const;
  const refusal = async () => {
    const { code, message } = ebsErrorOf(await assertRejects(() => two.mount(wish)));
    return `${code}: ${message}`;
  };
  await one.create({ id: "v", bytes: 64 * MIB });
  const mounting = one.mount(wish);
  await opening.promise;
  assertEquals(
    await refusal(),
    "unavailable: volume v is being mounted, or left, by node one; ask again",
  );
  isThere = false;
  assertMatch(await refusal(), /^volume_in_use: .*one has it/);
  isThere = true;
  opened.resolve();
  await mounting;
  assertEquals(await refusal(), "volume_in_use: volume v is mounted on one");
  for (const service of [one, two]) await service.end();
});

// Regression: whoever was second made it too.
Deno.test("EbsService + a creation that failed + two nodes asked again at once + one of them makes it", async () => {
  await using bed = await Bed.inMemory();
  const nodes = [bed.node("one"), bed.node("two")];
  const wish = { id: "v", bytes: 64 * MIB };
  await Records.volumes(bed.store, MACHINE).create({
    ...{ ...wish, state: "error", maker: "three", created: 0, attachments: [] },
  });
  let makers = 0;
  (bed.store as FaultyStore).faults = ({ object, name }) => {
    if (object === "v/head" && name === "put") makers++;
    return undefined;
  };
  const made = await Promise.all(nodes.map((node) => node.create(wish)));
  assertEquals(made.map(({ state }) => state), ["available", "available"]);
  assertEquals([makers, made[0].record.maker], [1, made[1].record.maker]);
});

// Regression: it noted its failure in the record of whoever had gone on, or removed that.
Deno.test("EbsService + a creation fails that another node has gone on with + the record is that one's", async () => {
  await using bed = await Bed.inMemory();
  const store = bed.store as FaultyStore;
  const service = bed.node("one");
  const records = Records.volumes(store, MACHINE);
  await service.create({ id: "a", bytes: 64 * MIB });
  await snapshot(service, "s", "a");
  await removeSnapshot(store, "a", "s");
  const source = { volume: "a", snapshot: "s" };
  for (
    const [id, failing, rest, error] of [
      ["v", "v/head", {}, "internal"],
      ["w", "a/catalog", { source }, "not_found"],
    ] as const
  ) {
    let taken: Promise<unknown> | undefined;
    store.faults = ({ object, name }) => {
      if (object !== failing) return undefined;
      taken ??= records.change(id, (now) => ({ ...now, maker: "two" }));
      return name === "put" ? "full" : undefined;
    };
    assertEquals(await code(() => service.create({ id, bytes: 64 * MIB, ...rest })), error);
    store.faults = undefined;
    await taken;
    const record = await records.get(id);
    assertEquals([record?.state, record?.maker], ["creating", "two"]);
  }
});

Deno.test("EbsService + a store that is away + is told as such", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node();
  await service.create({ id: "v", bytes: 64 * MIB });
  (bed.store as FaultyStore).faults = () => "unavailable";
  assertEquals(await code(() => service.describe("v")), "unavailable");
  (bed.store as FaultyStore).faults = undefined;
});
