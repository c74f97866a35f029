/**
 * The bugs of the engine that this one follows, each as a test: what happened there does not happen
 * here. The simulation in `crash_test.ts` would find most of them too, but would not name them.
 *
 * Not here: its map's lookups were linear. Here a lookup goes down a tree of at most eight levels
 * (`map/directory.ts`) to a leaf of at most 8192 blocks, where `map/sorted_leaf_test.ts` counts its steps.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Contents } from "../files/crashable_contents.ts";
import { Folder } from "../files/crashable_names.ts";
import { StoreError } from "../store/store.ts";
import type { StoreCall, StoreCallFault } from "../store/faults.ts";
import { Server, type ServerOptions } from "../tests/volumes/server.ts";
import {
  BLOCK,
  BLOCKS,
  JOURNAL,
  OTHER_JOURNAL,
  PLAIN_HABITS,
  World,
} from "../tests/volumes/world.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_IO_OP_FLUSH } from "../uapi/ublk_io.ts";

async function made(
  options?: ServerOptions,
  seed = 1,
): Promise<{ world: World; server: Server }> {
  const world = new World(seed, undefined, PLAIN_HABITS);
  await world.create();
  return { world, server: await Server.start(world, options) };
}

/** Writes one block after the other, each answered before the next. */
function writeEach(server: Server, blocks: readonly number[], fua = false): void {
  for (const block of blocks) {
    server.write(block, 1, server.history.nextId(), fua);
    server.serve();
  }
}

async function checkNext(world: World, ending: "killed" | "power" = "killed"): Promise<Server> {
  world.end(ending);
  const next = await Server.start(world);
  world.history.check(next.contents(), ending);
  return next;
}

function files(world: World, folder: string): Map<string, Uint8Array> {
  const found = world.machine.names.find(folder);
  assert(found instanceof Folder);
  const all = new Map<string, Uint8Array>();
  for (const [name, contents] of found.entries) {
    if (!(contents instanceof Contents)) continue;
    const bytes = new Uint8Array(contents.bytes);
    contents.read(bytes, 0);
    all.set(name, bytes);
  }
  return all;
}

function sizeOf(world: World, folder: string): number {
  return files(world, folder).values().reduce((sum, { length }) => sum + length, 0);
}

const failsFrom = (prefix: string, fault: StoreCallFault) => ({ object, name }: StoreCall) =>
  name === "put" && object.startsWith(prefix) ? fault : undefined;
const ofStore = { mayFailCommit: (error: unknown) => error instanceof StoreError };

Deno.test("writes into both halves of a page are both kept, although made at once", async () => {
  const { world, server } = await made();
  server.write(0, 1, server.history.nextId(), false);
  server.write(1, 1, server.history.nextId(), false);
  server.serve();
  await checkNext(world);
});

Deno.test("a FLUSH is answered after the sync, and a second one not while the first waits", async () => {
  const { world, server } = await made();
  writeEach(server, [0]);
  const answered: string[] = [];
  const flush = (name: string) =>
    server.host.make({
      ...{ op: UBLK_IO_OP_FLUSH, offset: 0, length: 0, fua: false, data: new Uint8Array(0) },
      answered: (result) => void answered.push(`${name} ${result}`),
    });
  flush("first");
  server.host.batchEnd();
  flush("second");
  server.host.batchEnd();
  assertEquals(answered, []);
  assertEquals(server.host.underWay, 1);
  server.serve();
  assertEquals(answered, ["first 0", "second 0"]);
  world.end("power");
  const next = await Server.start(world);
  assertEquals(next.contents()[0], 1);
});

Deno.test("a failed upload at the end leaves the journal as the only copy", async () => {
  const { world, server } = await made(ofStore);
  writeEach(server, [0, 5, 9], true);
  server.store.faults = failsFrom("v/chunks", "unavailable");
  await server.drain();
  assertEquals(server.taken.committed.manifest.sequence, 0);
  await checkNext(world, "power");
});

Deno.test("a failed upload strands nothing: the next one has it all", async () => {
  const { world, server } = await made(ofStore);
  for (const fault of ["unavailable", "full", "lost answer", "late"] as const) {
    writeEach(server, [0, 5, 9]);
    server.store.faults = failsFrom("v/chunks", fault);
    await server.drain();
  }
  server.store.faults = undefined;
  // The commit that failed is made as it was, and then one of what has come since.
  await server.drain();
  await server.drain();
  world.end("killed");
  const next = await Server.start(world, { folder: OTHER_JOURNAL, withoutJournal: true });
  world.history.check(next.contents(), "killed");
});

Deno.test("another folder's journal is refused, and so is an empty folder", async () => {
  const { world, server } = await made();
  writeEach(server, [0]);
  world.end("killed");
  const error = await assertRejects(
    () => Server.start(world, { folder: OTHER_JOURNAL }),
    UblkError,
    OTHER_JOURNAL,
  );
  assertEquals(error.code, "VOLUME_JOURNAL");
  await checkNext(world);
});

Deno.test("nothing behind a bad batch is replayed, and nothing is deleted", async () => {
  const { world, server } = await made();
  // Two segments and more.
  writeEach(server, Array.from({ length: 15 }, (_, nth) => nth));
  const before = server.contents();
  world.end("killed");
  const broken = world.machine.names.find(`${JOURNAL}/journal-0000`);
  assert(broken instanceof Contents);
  // The data of the third batch: a page for the segment's header, and two for each batch.
  broken.write(new Uint8Array(BLOCK).fill(7), 4096 + 2 * 8192 + 4096);
  const bytes = files(world, JOURNAL);
  const next = await Server.start(world);
  assertEquals(next.contents(), before.map((id, block) => block < 2 ? id : 0));
  world.end("killed");
  assertEquals(files(world, JOURNAL), bytes);
});

Deno.test("nothing behind a bad batch is stored while running, and nothing is deleted", async () => {
  const { world, server } = await made();
  writeEach(server, Array.from({ length: 15 }, (_, nth) => nth));
  const before = server.contents();
  const broken = world.machine.names.find(`${JOURNAL}/journal-0000`);
  assert(broken instanceof Contents);
  broken.write(new Uint8Array(BLOCK).fill(7), 4096 + 2 * 8192 + 4096);
  const bytes = files(world, JOURNAL);
  const error = await assertRejects(() => server.drain(), UblkError, "is damaged");
  assertEquals(error.code, "VOLUME_DAMAGED");
  assertEquals([server.taken.committed.manifest.sequence, server.engine.durablePosition], [0, 0]);
  world.end("killed");
  assertEquals(files(world, JOURNAL), bytes);
  const next = await Server.start(world);
  assertEquals(next.contents(), before.map((id, block) => block < 2 ? id : 0));
});

Deno.test("a checkpoint that fails keeps the journal", async () => {
  for (const prefix of ["v/maps", "v/manifests"]) {
    const { world, server } = await made(ofStore);
    writeEach(server, [0, 5, 9]);
    server.store.faults = failsFrom(prefix, "unavailable");
    await server.drain();
    assertEquals(server.engine.durablePosition, 0);
    await checkNext(world);
  }
});

Deno.test("a store that cannot be read at open is an error, not an empty volume", async () => {
  const { world, server } = await made();
  writeEach(server, [0, 5, 9]);
  await server.drain();
  world.end("killed");
  for (const part of ["head", "manifests", "maps"]) {
    const storeFaults = ({ name, object }: StoreCall) =>
      name === "get" && object.startsWith(`v/${part}`) ? "unavailable" as const : undefined;
    await assertRejects(() => Server.start(world, { storeFaults }), StoreError, part);
    world.end("killed");
  }
  await checkNext(world);
});

Deno.test("the journal is trimmed while the volume is open, and does not grow", async () => {
  const { world, server } = await made();
  const size = sizeOf(world, JOURNAL);
  for (let round = 0; round < 15; round++) {
    writeEach(server, [0, 5, 9, 14]);
    await server.drain();
  }
  assert(server.taken.committed.manifest.position > size);
  assertEquals(sizeOf(world, JOURNAL), size);
  await checkNext(world);
});

Deno.test("a commit writes what it changed of the map, not the whole map", async () => {
  const { server } = await made();
  writeEach(server, Array.from({ length: 20 }, (_, nth) => 2 * nth));
  await server.drain();
  await server.drain();
  writeEach(server, [7]);
  await server.drain();
  assertEquals(server.taken.committed.manifest.runs.at(-1)!.entries, 1);
});

Deno.test("commits of one block, over a map of more + never write all of it again", async () => {
  const { server } = await made();
  const runs = () => server.taken.committed.manifest.runs;
  // Every second block: none continues another one.
  writeEach(server, Array.from({ length: 20 }, (_, nth) => 2 * nth));
  for (let turn = 0; turn < 3; turn++) await server.drain();
  const before = runs().map(({ number }) => number);
  const entries = runs().reduce((sum, run) => sum + run.entries, 0);
  assertEquals(entries, 20);
  // As many as had the map merged twice when commits were counted, and not their entries.
  for (let commit = 0; commit < 70; commit++) {
    writeEach(server, [2 * (commit % 7) + 1]);
    await server.drain();
    const [newest] = runs().slice(-1);
    assert(newest.entries <= 7, `commit ${commit} of one block writes ${newest.entries} entries`);
    assertEquals(runs().slice(0, before.length).map(({ number }) => number), before);
  }
});

Deno.test("writes wait when the journal is full, instead of filling memory", async () => {
  const { world, server } = await made();
  const size = sizeOf(world, JOURNAL);
  for (let turn = 0; turn < 400; turn++) {
    if (server.host.hasRoom) server.write(turn % BLOCKS, 1, server.history.nextId(), false);
    server.host.batchEnd();
    server.host.step();
  }
  assert(!server.host.hasRoom, "requests wait");
  assertEquals(sizeOf(world, JOURNAL), size);
  await server.finish();
  await checkNext(world);
});

Deno.test("a chunk that has lost its beginning is EIO and named, not shifted data", async () => {
  const { world, server } = await made();
  writeEach(server, [0]);
  await server.drain();
  world.end("killed");
  const chunk = world.machine.names.find("/store/v/chunks/0000000000000001");
  assert(chunk instanceof Contents);
  const bytes = new Uint8Array(chunk.bytes);
  chunk.read(bytes, 0);
  chunk.truncate(0);
  chunk.write(bytes.subarray(10), 0);
  const next = await Server.start(world);
  assertEquals(next.readable()[0], undefined);
  assert(next.reports.some((words) => words.includes("chunks/0000000000000001")), next.reports[0]);
});

Deno.test("a chunk is checked as it is read", async () => {
  const { world, server } = await made();
  writeEach(server, [0]);
  await server.drain();
  world.end("killed");
  const chunk = world.machine.names.find("/store/v/chunks/0000000000000001");
  assert(chunk instanceof Contents);
  chunk.write(Uint8Array.of(9), chunk.bytes - 1);
  const next = await Server.start(world);
  assertEquals(next.readable()[0], undefined);
  assert(
    next.reports.some((words) => words.startsWith("v/chunks/0000000000000001: the block at byte ")),
    next.reports[0],
  );
});

Deno.test("a trim reads as zeroes, and writes no data", async () => {
  const { world, server } = await made();
  server.write(0, 12, server.history.nextId(), false);
  server.serve();
  await server.drain();
  const { position, written } = server.taken.committed.manifest;
  server.write(0, 12, 0, false);
  server.serve();
  await server.drain();
  const { manifest } = server.taken.committed;
  assertEquals(manifest.written, written);
  assertEquals(manifest.position - position, 4096);
  const next = await checkNext(world);
  assertEquals(next.contents(), new Array(BLOCKS).fill(0));
});

Deno.test("a segment is not used again while it is read", async () => {
  const { world, server } = await made();
  writeEach(server, Array.from({ length: 10 }, (_, nth) => nth));
  server.host.holdsReads = true;
  server.read(0, 1);
  assertEquals(server.host.underWay, 1);
  for (let nth = 0; nth < 60; nth++) {
    if (server.host.hasRoom) server.write(10 + nth % 30, 1, server.history.nextId(), false);
    server.host.batchEnd();
    while (server.host.underWay > 1) server.host.step();
    await server.drain();
  }
  assert(server.host.reading > 0, "the read still waits");
  assert(server.host.open > 1, "writes wait for its segment");
  // The read is compared with what was written.
  await server.finish();
  await checkNext(world);
});

Deno.test("a trim of what is being trimmed is not answered first", async () => {
  const { server } = await made();
  writeEach(server, [0], true);
  server.write(0, 1, 0, false);
  server.host.batchEnd();
  assertEquals(server.host.underWay, 1);
  server.write(0, 1, 0, false);
  assertEquals(server.host.open, 2);
});

Deno.test("a trim with FUA of what is trimmed already makes that durable", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const { world, server } = await made({}, seed);
    writeEach(server, [0], true);
    server.write(0, 1, 0, false);
    server.serve();
    server.write(0, 1, 0, true);
    server.serve();
    await checkNext(world, "power");
  }
});
