/** Volumes that are really mounted, and written to by a client of NBD. */

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { NbdClient } from "../tests/nbd_client.ts";
import { Bed, MIB } from "../tests/ebs/bed.ts";
import { resizeVolume } from "../volume/resize.ts";
import { ebsErrorOf } from "./error.ts";
import type { Claim, Exclusion } from "./exclusion.ts";
import { socketOf } from "./nbd_export.ts";
import type { EbsService } from "./service.ts";
import { StoreExclusion } from "./store_exclusion.ts";

const [READ, WRITE, FLUSH] = [0, 1, 3];
const BLOCK = 4096;
const PATIENCE_MS = 60_000;

const code = async (call: () => Promise<unknown>) => ebsErrorOf(await assertRejects(call)).code;

const mount = (service: EbsService, readOnly = false) =>
  service.mount({ volume: "v", access: "unix", readOnly });

/** Mounts a volume that may still be being closed here. */
async function mountOnceClosed(service: EbsService) {
  for (const endMs = performance.now() + PATIENCE_MS;;) {
    try {
      return await mount(service);
    } catch (error) {
      const { code } = ebsErrorOf(error);
      if (code !== "volume_in_use" && code !== "unavailable") throw error;
      if (performance.now() > endMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function clientOf(uri: string): Promise<NbdClient> {
  return await NbdClient.at(new URL(uri).searchParams.get("socket")!, "simple");
}

async function write(client: NbdClient, byte: number, block = 0): Promise<number> {
  const data = new Uint8Array(BLOCK).fill(byte);
  await client.request({ command: WRITE, offset: block * BLOCK, length: BLOCK, data });
  const { error } = await client.reply(0);
  if (error !== 0) return error;
  await client.request({ command: FLUSH });
  return (await client.reply(0)).error;
}

async function read(client: NbdClient, block = 0): Promise<number> {
  await client.request({ command: READ, offset: block * BLOCK, length: BLOCK });
  const { error, payload } = await client.reply(BLOCK);
  return error === 0 ? payload[0] : -error;
}

Deno.test("a mount + data, growth and snapshots while it is mounted; then on another node", async () => {
  await using bed = await Bed.make();
  const [one, two] = [bed.node("one"), bed.node("two")];
  await one.create({ id: "v", bytes: 64 * MIB });
  const { uri } = await mount(one);
  {
    using client = await clientOf(uri);
    assertEquals(await write(client, 1), 0);
    assertEquals(await code(() => mount(two)), "volume_in_use");
    assertEquals(await code(() => two.delete("v")), "volume_in_use");
    const { completion } = await one.beginSnapshot("s", "v");
    await completion;
    assertEquals((await one.expand("v", 65 * MIB, 0)).bytes, 65 * MIB);
    // What was added is there for those who are connected already.
    assertEquals(await write(client, 2, 64 * MIB / BLOCK), 0);
    assertEquals(await write(client, 3), 0);
    await one.sync("v");
  }
  assertEquals((await two.describe("v")).state, "in-use");
  await one.unmount("v");
  assertEquals((await two.describe("v")).state, "available");
  // Nothing needs its journal any more.
  const left = [...Deno.readDirSync(`${bed.folder}/one/v`)].map(({ name }) => name);
  assertEquals(left, ["lock"]);
  {
    using client = await clientOf((await mount(two)).uri);
    assertEquals([await read(client), await read(client, 64 * MIB / BLOCK)], [3, 2]);
    using reader = await clientOf((await mount(one, true)).uri);
    assertEquals(await read(reader), 3);
    assertEquals(await write(reader, 9), 1);
  }
  await one.unmount("v");
  await two.unmount("v");
  await two.create({ id: "c", bytes: 64 * MIB, source: { volume: "v", snapshot: "s" } });
  using client = await clientOf(
    (await two.mount({ volume: "c", access: "unix", readOnly: false })).uri,
  );
  assertEquals(await read(client), 1);
});

Deno.test("a service that starts again + mounts what was mounted, with its data", async () => {
  await using bed = await Bed.make();
  const before = bed.node();
  await before.create({ id: "v", bytes: 64 * MIB });
  const { uri } = await mount(before);
  {
    using client = await clientOf(uri);
    assertEquals(await write(client, 7), 0);
  }
  await before.end();
  const after = bed.node();
  // It waits its turn behind the mount that is brought back.
  assertEquals((await mount(after)).uri, uri);
  using client = await clientOf(uri);
  assertEquals(await read(client), 7);
});

/** Claims that are lost when the test says so. */
class Taken implements Exclusion {
  readonly terms = { scope: "cluster", claimTtlSeconds: 1, fencesLostClaim: true } as const;
  take: (reason: string) => void = () => {};

  claim(): Promise<Claim> {
    const { promise: lost, resolve } = Promise.withResolvers<string>();
    this.take = resolve;
    const release = () => Promise.resolve();
    return Promise.resolve({ generation: 1, holder: "one", lost, release });
  }
}

Deno.test("a claim that is lost + no request succeeds any more, and what was flushed is kept", async () => {
  await using bed = await Bed.make();
  const exclusion = new Taken();
  const service = bed.node("one", { exclusion });
  await service.create({ id: "v", bytes: 64 * MIB });
  using client = await clientOf((await mount(service)).uri);
  assertEquals(await write(client, 7), 0);
  exclusion.take("the lease has run out");
  await Promise.resolve();
  assertEquals(await write(client, 8).then((error) => error !== 0, () => true), true);
  using again = await clientOf((await mountOnceClosed(service)).uri);
  assertEquals(await read(again), 7);
});

Deno.test("a node that is dead + another one takes the volume with what the store has", async () => {
  await using bed = await Bed.make();
  const [dead, other] = [bed.node("one"), bed.node("two")];
  await dead.create({ id: "v", bytes: 64 * MIB });
  {
    using client = await clientOf((await mount(dead)).uri);
    assertEquals(await write(client, 7), 0);
    await dead.sync("v");
  }
  assertEquals(await code(() => mount(other)), "volume_in_use");
  const taken = await other.mount({ volume: "v", access: "unix", readOnly: false, takes: true });
  using client = await clientOf(taken.uri);
  assertEquals(await read(client), 7);
  assertEquals(await write(client, 8), 0);
  // It was not dead: it finds out, and is told of as no writer.
  const endMs = performance.now() + PATIENCE_MS;
  while (dead.mounts.get("v") !== undefined && performance.now() < endMs) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assertEquals(dead.mounts.get("v"), undefined);
  const { record } = await other.describe("v");
  assertEquals(record.attachments.map(({ node }) => node), ["two"]);
});

Deno.test("a volume that is taken by force + its claim is lost", async () => {
  await using bed = await Bed.make();
  const service = bed.node();
  await service.create({ id: "v", bytes: 64 * MIB });
  await mount(service);
  const { Volume } = await import("../volume/volume.ts");
  await using _taker = await Volume.open("v", {
    ...{ store: bed.store, journal: `${bed.folder}/other`, journalSize: "16M" },
    ...{ withoutJournal: true, force: true },
  });
  const endMs = performance.now() + PATIENCE_MS;
  while (service.mounts.get("v") !== undefined && performance.now() < endMs) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assertEquals(service.mounts.get("v"), undefined);
});

// Regression: all volumes of the node, and its answers, stood still until the store had the size.
Deno.test("a mount that grows + the thread of the node does not wait for the store", async () => {
  await using bed = await Bed.make();
  const service = bed.node();
  await service.create({ id: "v", bytes: 64 * MIB });
  using client = await clientOf((await mount(service)).uri);
  const { wait } = Atomics;
  Atomics.wait = () => {
    throw new Error("it waits");
  };
  try {
    assertEquals((await service.expand("v", 65 * MIB, 0)).bytes, 65 * MIB);
  } finally {
    Atomics.wait = wait;
  }
  assertEquals(await write(client, 7, 64 * MIB / BLOCK), 0);
});

// Regression: the claim took it for taken over, and the client got EIO, although nobody else had it.
Deno.test("a volume whose epoch rises between its claim and its opening + stays mounted", async () => {
  await using bed = await Bed.make();
  const stored = new StoreExclusion(bed.store, "one", 20);
  const exclusion = {
    terms: stored.terms,
    async claim(volume: string) {
      const claim = await stored.claim(volume);
      await resizeVolume(bed.store, volume, 65 * MIB);
      return claim;
    },
  };
  const service = bed.node("one", { exclusion });
  await service.create({ id: "v", bytes: 64 * MIB });
  using client = await clientOf((await mount(service)).uri);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assertEquals(await write(client, 7), 0);
  assertEquals([service.mounts.all().length, bed.lines], [1, []]);
});

// Regression: it could be created, and mounted nowhere: the path of its socket was too long.
Deno.test("a volume with the longest id + is mounted at a socket with a short name, and again", async () => {
  await using bed = await Bed.make();
  const id = "v".repeat(128);
  const before = bed.node();
  await before.create({ id, bytes: 64 * MIB });
  const wish = { volume: id, access: "unix", readOnly: false } as const;
  const { uri } = await before.mount(wish);
  {
    using client = await clientOf(uri);
    assertEquals(await write(client, 7), 0);
  }
  await before.end();
  const after = bed.node();
  assertEquals((await after.mount(wish)).uri, uri);
  using client = await clientOf(uri);
  assertEquals(await read(client), 7);
});

// Regression: it was tried at the same port for ever.
Deno.test("a volume whose port is another program's by now + is mounted at another one, and stays there", async () => {
  await using bed = await Bed.make();
  const before = bed.node();
  await before.create({ id: "v", bytes: 64 * MIB });
  const wish = { volume: "v", access: "tcp", readOnly: false } as const;
  const { port } = await before.mount(wish);
  await before.end();
  using _other = Deno.listen({ hostname: "127.0.0.1", port });
  const after = bed.node();
  const mount = await after.mount(wish);
  assertEquals(mount.port === port, false);
  assertEquals(new URL(mount.uri).port, `${mount.port}`);
  const told = bed.lines.filter((line) => line.includes(`its port ${port} is in use`));
  assertEquals(told.length, 1);
  await after.end();
  assertEquals((await bed.node().mount(wish)).port, mount.port);
});

Deno.test("socketOf + ids + the id where it fits, and else a name that no id has", async () => {
  assertEquals(await socketOf("/s", "vol-1"), "/s/vol-1.sock");
  const [one, other] = await Promise.all(
    ["1", "2"].map((end) => socketOf("/s", `${"v".repeat(127)}${end}`)),
  );
  assertMatch(one, /^\/s\/~[0-9a-f]{32}\.sock$/);
  assertEquals(one === other, false);
});
