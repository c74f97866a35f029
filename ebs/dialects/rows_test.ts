/** Requests as rows answer them, at nodes that pass them on to each other. */

import { assert, assertEquals } from "@std/assert";
import { Bed, MIB } from "../../tests/ebs/bed.ts";
import { MACHINE } from "../../volume/seam.ts";
import { listVolumes } from "../../volume/list.ts";
import { removeSnapshot } from "../../volume/snapshots.ts";
import { ebsErrorOf } from "../error.ts";
import { Records, type VolumeRecord } from "../records.ts";
import type { EbsService } from "../service.ts";
import { EC2_ROWS } from "./ec2.ts";
import { PLATFORM_ROWS } from "./platform.ts";
import { PROVIDER_ROWS } from "./provider.ts";

const ROWS = [...PROVIDER_ROWS, ...PLATFORM_ROWS, ...EC2_ROWS];
const GIB = 1 << 30;

/** Nodes of one store. */
class Nodes {
  readonly published: [string, unknown][] = [];
  readonly services: Readonly<Record<string, EbsService>>;
  #later: Promise<void>[] = [];

  constructor(...services: EbsService[]) {
    this.services = Object.fromEntries(services.map((one) => [one.node, one]));
  }

  /** The answer to a request that has come to a node. */
  // deno-lint-ignore no-explicit-any
  async ask(node: string, subject: string, body: Record<string, unknown>): Promise<any> {
    const volume = `${body.volume_id ?? body.Volume}`;
    const row = ROWS.find((one) => one.subject.replace("{volume}", volume) === subject)!;
    try {
      const request = row.read(body, subject);
      const { node: other = node } = await row.destination(request, this.services[node]);
      return await row.run({
        ...{ service: this.services[other], zone: undefined, access: "unix", mostBytes: MIB },
        publish: (at, told) => void this.published.push([at, told]),
        later: (work) => void this.#later.push(work),
      }, request);
    } catch (error) {
      return row.refuse(ebsErrorOf(error), body);
    }
  }

  /** Waits for what goes on after the answers. */
  async settled(): Promise<void> {
    await Promise.all(this.#later.splice(0));
  }
}

const provider = (volume_id: string, rest: object = {}) => ({
  ...{ schema_version: 1, volume_id },
  ...rest,
});

/** Two nodes; the first one was interrupted while it made volumes of these ids. */
async function interrupted(bed: Bed, volumes: readonly Partial<VolumeRecord>[]): Promise<Nodes> {
  const records = Records.volumes(bed.store, MACHINE);
  for (const { id = "", ...rest } of volumes) {
    await records.create({
      ...{ id, bytes: GIB, state: "creating", maker: "one", created: 0, attachments: [] },
      ...rest,
    });
  }
  return new Nodes(bed.node("one"), bed.node("two"));
}

// Regression: only that node went on with it, and requests came to any: the others said for ever that it
// was being made.
Deno.test("a creation that was interrupted + the next equal request at any node + completes it", async () => {
  await using bed = await Bed.inMemory();
  const nodes = await interrupted(bed, [{ id: "a" }, { id: "b" }]);
  const capacity_range = { required_bytes: GIB };
  const made = await nodes.ask(
    ...["two", "ebs.provider.v1.volume.create", provider("a", { capacity_range })] as const,
  );
  assertEquals(made.volume?.state, "available");
  const other = await nodes.ask("two", "ebs.createvolume", { VolumeId: "b", Size: 1 });
  assertEquals([other.State, other.Error], ["available", undefined]);
});

Deno.test("a creation that was interrupted + from a snapshot + its end is published", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node("three");
  await service.create({ id: "v", bytes: GIB });
  await (await service.beginSnapshot("s", "v")).completion;
  const nodes = await interrupted(bed, [{ id: "c", source: { volume: "v", snapshot: "s" } }]);
  const begun = await nodes.ask("two", "ebs.createvolume", { VolumeId: "c", SnapshotId: "s" });
  assertEquals(begun.State, "creating");
  await nodes.settled();
  assertEquals(
    // deno-lint-ignore no-explicit-any
    nodes.published.map(([at, told]: [string, any]) => [at, told.State]),
    [["ebs.createvolume.response.c", "available"]],
  );
});

Deno.test("a creation that was interrupted + deleted at any node + is gone", async () => {
  await using bed = await Bed.inMemory();
  const nodes = await interrupted(bed, [{ id: "a" }, { id: "b" }]);
  assertEquals(await nodes.ask("two", "ebs.provider.v1.volume.delete", provider("a")), {
    schema_version: 1,
  });
  assertEquals((await nodes.ask("two", "ebs.delete", { Volume: "b" })).Success, true);
  assertEquals((await nodes.services.two.listVolumes("", 9)).records, []);
  assertEquals(await listVolumes(bed.store), []);
});

/** A node with a volume `v` and its snapshot `s`. */
async function withSnapshot(bed: Bed): Promise<Nodes> {
  const service = bed.node("one");
  await service.create({ id: "v", bytes: GIB });
  await (await service.beginSnapshot("s", "v")).completion;
  return new Nodes(service);
}

const snapshotOf = (volume: string, id: string) => provider(volume, { snapshot_id: id });

// Regression: each request had an operation of its own, and one about a complete snapshot was told nothing.
Deno.test("snapshot.create + repeated while it is made, and after that + is one operation, whose end is told each time", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node("one");
  await service.create({ id: "v", bytes: GIB });
  const nodes = new Nodes(service);
  const create = () => nodes.ask("one", "ebs.provider.v1.snapshot.create.v", snapshotOf("v", "s"));
  const asked = [await create(), await create()];
  await nodes.settled();
  asked.push(await create());
  const told = nodes.published.length;
  await nodes.settled();
  assertEquals([told, nodes.published.length], [2, 3]);
  // deno-lint-ignore no-explicit-any
  const bodies = nodes.published.map(([, body]) => body as any);
  const ids = [...asked, ...bodies].map(({ operation_id }) => operation_id);
  assertEquals([new Set(ids).size, typeof ids[0]], [1, "string"]);
  assertEquals(asked.map(({ snapshot }) => snapshot.state), ["pending", "pending", "completed"]);
  // Its size does not change while it is made, and its time once: it was asked for, and then taken.
  const snapshots = [...asked, ...bodies].map(({ snapshot }) => snapshot);
  assertEquals(new Set(snapshots.map(({ size_bytes }) => size_bytes)), new Set([GIB]));
  const timesOf = (wanted: string) =>
    new Set(
      snapshots.flatMap(({ state, created_at }) => state === wanted ? [created_at] : []),
    );
  const times = ["pending", "completed"].map((state) => [...timesOf(state)]);
  assertEquals(times.map(({ length }) => length), [1, 1]);
  assert(times[0]![0]! <= times[1]![0]!);
  assertEquals(bodies.map(({ snapshot }) => snapshot.state), Array(3).fill("completed"));
});

// Regression: it said that what it has was taken when it was asked for.
Deno.test("snapshot.create + complete long after it was asked for + says when it was taken, and is one operation", async () => {
  await using bed = await Bed.inMemory();
  const nodes = await withSnapshot(bed);
  const create = () => nodes.ask("one", "ebs.provider.v1.snapshot.create.v", snapshotOf("v", "t"));
  await Records.snapshots(bed.store, MACHINE).create({
    ...{ id: "t", volume: "v", state: "pending", created: 1000, bytes: GIB },
  });
  const begun = MACHINE.now();
  const asked = await create();
  await nodes.settled();
  const made = await create();
  await nodes.settled();
  assertEquals([asked.operation_id, made.operation_id], ["op-t-1000", "op-t-1000"]);
  assertEquals(asked.snapshot.created_at, "1970-01-01T00:00:01.000Z");
  const late = Date.parse(made.snapshot.created_at) - begun;
  assert(late >= 0 && late < 60_000, `${late} ms`);
});

/** Makes a snapshot one that is still being made. */
async function unfinish(bed: Bed, id: string): Promise<void> {
  await Records.snapshots(bed.store, MACHINE).change(id, (now) => ({ ...now, state: "pending" }));
}

Deno.test("ebs.createvolume + a snapshot that is pending, and no size + may be asked for again", async () => {
  await using bed = await Bed.inMemory();
  const nodes = await withSnapshot(bed);
  await unfinish(bed, "s");
  const made = await nodes.ask("one", "ebs.createvolume", { VolumeId: "c", SnapshotId: "s" });
  assertEquals(made.Error?.Code, "Unavailable");
});

// Regression: the text of an error, at one of two subjects.
Deno.test("ebs.unmount + a volume that is not there + is unmounted, at any subject", async () => {
  await using bed = await Bed.inMemory();
  const nodes = new Nodes(bed.node("one"));
  for (const subject of ["ebs.unmount", "ebs.{node}.unmount"]) {
    assertEquals(await nodes.ask("one", subject, { Name: "v" }), {
      ...{ URI: "", Volume: "v", Mounted: false, Error: "", NotFound: true, Retryable: false },
    });
  }
});

Deno.test("ebs.config + a document that is too long + is refused", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node("one");
  await service.create({ id: "v", bytes: GIB });
  const nodes = new Nodes(service);
  const configure = (length: number) =>
    nodes.ask("one", "ebs.config", { Volume: "v", VolumeConfig: { a: "x".repeat(length) } });
  // Eight characters are beside the text.
  assertEquals((await configure(64 * 1024 - 8)).Success, true);
  assertEquals((await configure(64 * 1024 - 7)).Code, "invalid_argument");
});

// Regression: the end of the creation said that there was no such volume.
Deno.test("ebs.createvolume + its snapshot is gone by then + the end of the creation says so", async () => {
  await using bed = await Bed.inMemory();
  const nodes = await withSnapshot(bed);
  await removeSnapshot(bed.store, "v", "s");
  const begun = await nodes.ask("one", "ebs.createvolume", { VolumeId: "c", SnapshotId: "s" });
  assertEquals(begun.State, "creating");
  await nodes.settled();
  const [[, told]] = nodes.published as [string, { Error: { Code: string } }][];
  assertEquals(told.Error.Code, "InvalidSnapshot.NotFound");
});

// Regression: all such requests meant one volume.
Deno.test("ebs.createvolume + an empty ClientToken + is none", async () => {
  await using bed = await Bed.inMemory();
  const nodes = new Nodes(bed.node("one"));
  const create = (rest: object) =>
    nodes.ask("one", "ebs.createvolume", { Size: 1, ClientToken: "", ...rest });
  const ids = [(await create({})).VolumeId, (await create({})).VolumeId];
  assertEquals(new Set(ids).size, 2);
  const named = [
    await create({ VolumeId: "n" }),
    await create({ VolumeId: "n", ClientToken: undefined }),
  ];
  assertEquals(named.map(({ VolumeId }) => VolumeId), ["n", "n"]);
});

// Regression: whoever had not got the answer learned that there was no such snapshot.
Deno.test("a creation that is complete + asked for again without its snapshot + is the volume", async () => {
  await using bed = await Bed.inMemory();
  const nodes = await withSnapshot(bed);
  const contract = provider("a", {
    capacity_range: { required_bytes: GIB },
    ...{ source_snapshot_id: "s", source_snapshot_volume_id: "v" },
  });
  const make = async () => [
    (await nodes.ask("one", "ebs.provider.v1.volume.create", contract)).volume?.state,
    (await nodes.ask("one", "ebs.createvolume", { ClientToken: "t", SnapshotId: "s" })).State,
  ];
  assertEquals(await make(), ["available", "creating"]);
  await nodes.settled();
  await nodes.services.one.delete("v");
  await nodes.services.one.deleteSnapshot("s");
  assertEquals(await make(), ["available", "available"]);
  // Another one needs it.
  const { error } = await nodes.ask("one", "ebs.provider.v1.volume.create", {
    ...{ ...contract, volume_id: "b" },
  });
  assertEquals(error?.code, "not_found");
  const other = await nodes.ask("one", "ebs.createvolume", { VolumeId: "b", SnapshotId: "s" });
  assertEquals(other.Error?.Code, "InvalidSnapshot.NotFound");
  const larger = { ...contract, capacity_range: { required_bytes: 2 * GIB } };
  const grown = await nodes.ask("one", "ebs.provider.v1.volume.create", larger);
  assertEquals(grown.error?.code, "already_exists");
});

// Regression: the whole page was InternalError, and had no token by which to get past it.
Deno.test("ebs.describevolumes + a damaged volume and a damaged record among others + tells about all that can be told", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node("one");
  const nodes = new Nodes(service);
  for (const id of ["a", "b", "c", "d"]) await service.create({ id, bytes: GIB });
  const spoil = async (name: string) => {
    const { version } = (await bed.store.get(name))!;
    await bed.store.replace(name, new Uint8Array(100).fill(7), version);
  };
  await spoil("b/head");
  await spoil(".ebs/volumes/c");
  const states = async (request: Record<string, unknown>) => {
    const { Volumes, Error } = await nodes.ask("one", "ebs.describevolumes", request);
    return Error ?? Volumes.map((one: Record<string, string>) => [one.VolumeId, one.State]);
  };
  const all = [["a", "available"], ["b", "error"], ["d", "available"]];
  assertEquals(await states({}), all);
  assertEquals(await states({ VolumeIds: ["a", "b"] }), all.slice(0, 2));
  const listed = await nodes.ask("one", "ebs.provider.v1.volume.list", { schema_version: 1 });
  assertEquals(listed.volumes?.map(({ id }: { id: string }) => id), ["a", "b", "d"]);
  assertEquals([...new Set(bed.lines.map((line) => /\S*(b\/head|volumes\/c)/.exec(line)?.[1]))], [
    ...["volumes/c", "b/head"],
  ]);
});
