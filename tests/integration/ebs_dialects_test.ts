/** The three dialects of EBS, from a client's side, with a real server of NATS and two nodes. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { MIB } from "../ebs/bed.ts";
import { Cluster } from "../ebs/cluster.ts";

const GIB = 1024 * MIB;

Deno.test("the provider's contract + every subject, from create to delete", async () => {
  await using cluster = await Cluster.start();
  await cluster.node("one");
  await cluster.node("two");
  const { provider } = bound(cluster);
  const { capabilities } = await provider("capabilities");
  assertEquals(capabilities.exclusion, {
    ...{ scope: "cluster", claim_ttl_seconds: 0, fences_lost_claim: true },
  });
  assertEquals(Object.values(capabilities).filter((value) => value === true).length, 8);

  const handle = "ublk-ebs://volume/vol-1";
  const create = {
    ...{ volume_id: "vol-1", capacity_range: { required_bytes: 64 * MIB, limit_bytes: 65 * MIB } },
    seed_data: btoa("firmware"),
  };
  const volume = {
    ...{ id: "vol-1", capacity_bytes: 64 * MIB, state: "available", handle },
    availability_zone: "zone",
  };
  for (const _ of [1, 2]) assertEquals((await provider("volume.create", create)).volume, volume);
  assertEquals((await provider("volume.describe", { volume_id: "vol-1", handle })).volume, volume);

  const onOne = { volume_id: "vol-1", node_id: "one" };
  const { published } = await provider("one.mount", onOne);
  assertMatch(published.nbd_uri, /^nbd\+unix:\/\/\/\?socket=\/.+\/vol-1\.sock$/);
  assertEquals((await provider("one.mount", onOne)).published, published);
  assertEquals(await codeOf(provider("two.mount", { ...onOne, node_id: "two" })), "volume_in_use");
  assertEquals(await codeOf(provider("volume.delete", { volume_id: "vol-1" })), "volume_in_use");

  // Whichever node of the group gets it, the one that has the volume answers.
  for (let more = 1; more <= 4; more++) {
    const capacity_range = { required_bytes: (64 + more) * MIB };
    const grown = await provider("volume.expand", { volume_id: "vol-1", capacity_range });
    assertEquals([grown.volume.capacity_bytes, grown.volume.state], [(64 + more) * MIB, "in-use"]);
  }
  const owned = await provider("owner.vol-1.volume.describe", { volume_id: "vol-1" });
  assertEquals(owned.volume.capacity_bytes, 68 * MIB);

  const completion = cluster.next("ebs.provider.v1.snapshot.response.snap-1");
  const ask = { volume_id: "vol-1", snapshot_id: "snap-1" };
  const begun = await provider("owner.vol-1.snapshot.create", ask);
  assertEquals(begun.snapshot.state, "pending");
  assertEquals(begun.completion_subject, "ebs.provider.v1.snapshot.response.snap-1");
  const completed = await completion;
  assertEquals(completed.operation_id, begun.operation_id);
  const { created_at, ...snapshot } = completed.snapshot;
  assert(Date.parse(created_at) > 0);
  assertEquals(snapshot, {
    ...{ id: "snap-1", source_volume_id: "vol-1", size_bytes: 68 * MIB, state: "completed" },
    handle: "ublk-ebs://snapshot/snap-1",
  });
  const again = await provider("snapshot.create.vol-1", ask);
  assertEquals(again.snapshot, completed.snapshot);
  const copy = {
    ...{ volume_id: "vol-1", source_snapshot_id: "snap-1", destination_snapshot_id: "snap-2" },
  };
  assertEquals((await provider("snapshot.copy", copy)).snapshot.id, "snap-2");
  const { snapshots } = await provider("snapshot.list");
  assertEquals(
    snapshots.map((one: Record<string, string>) => [one.id, one.source_volume_id]),
    [["snap-1", "vol-1"], ["snap-2", "vol-1"]],
  );

  const clone = await provider("volume.create", {
    ...{ volume_id: "vol-2", capacity_range: { required_bytes: 128 * MIB } },
    ...{ source_snapshot_id: "snap-1", source_snapshot_volume_id: "vol-1" },
  });
  assertEquals([clone.volume.capacity_bytes, clone.volume.state], [128 * MIB, "available"]);
  const first = await provider("volume.list", { max_results: 1 });
  assertEquals([first.volumes[0].id, first.next_token], ["vol-1", "vol-1"]);
  const second = await provider("volume.list", { max_results: 1, starting_token: "vol-1" });
  assertEquals([second.volumes[0].id, second.next_token], ["vol-2", undefined]);
  assertEquals((await provider("volume.list", { max_results: 2 ** 31 - 1 })).volumes.length, 2);

  for (const _ of [1, 2]) assertEquals((await provider("one.unmount", onOne)).error, undefined);
  const read = await provider("two.mount", { ...onOne, node_id: "two", read_only: true });
  assertEquals(read.published.node_id, "two");
  await provider("two.unmount", { ...onOne, node_id: "two" });
  for (const id of ["vol-1", "vol-2", "vol-2", "never"]) {
    assertEquals((await provider("volume.delete", { volume_id: id })).error, undefined);
  }
  for (const id of ["snap-1", "snap-2", "snap-2"]) {
    assertEquals((await provider("snapshot.delete", { snapshot_id: id })).error, undefined);
  }
  assertEquals((await provider("volume.list")).volumes, []);
  assertEquals(await codeOf(provider("volume.describe", { volume_id: "vol-1" })), "not_found");
  assertEquals(cluster.lines, []);
});

Deno.test("the provider's contract + what cannot be + gets the code for it", async () => {
  await using cluster = await Cluster.start();
  await cluster.node("one");
  const { provider } = bound(cluster);
  const range = (required_bytes: unknown, limit_bytes = 0) => ({
    capacity_range: { required_bytes, limit_bytes },
  });
  await provider("volume.create", { volume_id: "vol-1", ...range(64 * MIB) });
  await provider("snapshot.create.vol-1", { volume_id: "vol-1", snapshot_id: "snap-1" });
  const of = { volume_id: "vol-1" };
  const cases: readonly [string, object, string][] = [
    ["capabilities", { schema_version: 2 }, "unsupported_version"],
    ["volume.create", { volume_id: "vol-1", ...range(65 * MIB) }, "already_exists"],
    [
      "volume.create",
      { volume_id: "vol-1", ...range(64 * MIB), availability_zone: "other" },
      "already_exists",
    ],
    ["volume.create", { volume_id: "", ...range(1) }, "invalid_argument"],
    ["volume.create", { volume_id: "../x", ...range(1) }, "invalid_argument"],
    ["volume.create", { volume_id: "a.b", ...range(1) }, "invalid_argument"],
    ["volume.create", { volume_id: "x", ...range(0) }, "invalid_argument"],
    ["volume.create", { volume_id: "x", ...range(-1) }, "invalid_argument"],
    ["volume.create", { volume_id: "x", ...range("1") }, "invalid_argument"],
    ["volume.create", { volume_id: "x", ...range(2 ** 63) }, "invalid_argument"],
    ["volume.create", { volume_id: "x", ...range(2 ** 52) }, "invalid_argument"],
    ["volume.create", { volume_id: "x", ...range(4097, 4097) }, "invalid_argument"],
    ["volume.create", { volume_id: "x", ...range(4096), seed_data: "%" }, "invalid_argument"],
    [
      "volume.create",
      { volume_id: "x", ...range(4096), seed_data: btoa("x".repeat(4097)) },
      "invalid_argument",
    ],
    [
      "volume.create",
      { volume_id: "x", ...range(MIB), seed_data: btoa("x".repeat(640 * 1024 + 1)) },
      "invalid_argument",
    ],
    [
      "volume.create",
      { volume_id: "x", ...range(MIB), source_snapshot_id: "s" },
      "invalid_argument",
    ],
    [
      "volume.create",
      { ...range(MIB), volume_id: "x", source_snapshot_id: "s", source_snapshot_volume_id: "v" },
      "not_found",
    ],
    [
      "volume.create",
      { ...range(MIB), volume_id: "x", parameters: { encrypted: true } },
      "unsupported_capability",
    ],
    ["volume.expand", { ...of, ...range(63 * MIB) }, "invalid_argument"],
    ["volume.expand", { volume_id: "never", ...range(63 * MIB) }, "not_found"],
    ["volume.describe", { ...of, handle: "other" }, "invalid_argument"],
    ["volume.list", { starting_token: "a/b" }, "invalid_argument"],
    ["snapshot.create.never", { volume_id: "never", snapshot_id: "s" }, "not_found"],
    ["snapshot.create.other", { ...of, snapshot_id: "s" }, "invalid_argument"],
    ["snapshot.create.*", { ...of, snapshot_id: "s" }, "invalid_argument"],
    [
      "snapshot.copy",
      { ...of, source_snapshot_id: "snap-1", destination_snapshot_id: "snap-1" },
      "invalid_argument",
    ],
    ["one.mount", { ...of, node_id: "two" }, "invalid_argument"],
    ["one.mount", { volume_id: "never", node_id: "one" }, "not_found"],
    ["one.mount", { ...of, node_id: "one", read_only: "yes" }, "invalid_argument"],
  ];
  for (const [subject, body, code] of cases) {
    assertEquals(await codeOf(provider(subject, body)), code, `${subject} ${JSON.stringify(body)}`);
  }
  assertEquals((await provider("volume.list")).volumes.length, 1);
});

Deno.test("the platform's subjects + mount to delete, by whichever node is asked", async () => {
  await using cluster = await Cluster.start();
  await cluster.node("one");
  await cluster.node("two");
  const { provider } = bound(cluster);
  const ask = (subject: string, body: object = {}) => cluster.ask(subject, body);
  await provider("volume.create", {
    ...{ volume_id: "vol-1", capacity_range: { required_bytes: 64 * MIB } },
  });
  const request = { Name: "vol-1", VolType: "gp3", Boot: true, EFI: false, NBDURI: "" };
  const announced = cluster.next("ebs.mount.response");
  const mounted = await ask("ebs.one.mount", request);
  assertMatch(mounted.URI, /^nbd\+unix:/);
  assertEquals({ ...mounted, URI: "" }, {
    ...{ URI: "", Volume: "vol-1", Mounted: true, Error: "", Retryable: false },
  });
  assertEquals(await announced, mounted);
  assertEquals(await ask("ebs.mount", request), mounted);
  const elsewhere = await ask("ebs.two.mount", request);
  assertEquals([elsewhere.Mounted, elsewhere.Code], [false, "volume_in_use"]);
  for (const _ of [1, 2, 3, 4]) {
    const synced = await ask("ebs.sync", { Volume: "vol-1" });
    assertEquals(synced, { Volume: "vol-1", Synced: true, Error: "" });
  }
  const snapshot = { Volume: "vol-1", SnapshotID: "snap-1" };
  assertEquals(await ask("ebs.snapshot.vol-1", snapshot), {
    ...{ SnapshotID: "snap-1", Success: true, Error: "" },
  });
  const VolumeConfig = { VolumeMetadata: { SizeGiB: 1, Tags: { a: "b" } } };
  for (const subject of ["ebs.config", "ebs.config.vol-1"]) {
    assertEquals(await ask(subject, { Volume: "vol-1", VolumeConfig }), {
      ...{ Volume: "vol-1", Success: true, Error: "" },
    });
  }
  const { volume } = await provider("volume.describe", { volume_id: "vol-1" });
  assertEquals(volume.capacity_bytes, GIB);
  const unmounted = { URI: "", Volume: "vol-1", Mounted: false, Error: "", Retryable: false };
  assertEquals(await ask("ebs.unmount", request), { ...unmounted, NotFound: false });
  // The answer may be lost: the same request comes again.
  for (const subject of ["ebs.unmount", "ebs.one.unmount", "ebs.unmount", "ebs.two.unmount"]) {
    assertEquals(await ask(subject, request), { ...unmounted, NotFound: true });
  }
  assertEquals((await ask("ebs.one.mount", request)).Mounted, true);
  for (const _ of [1, 2]) {
    assertEquals(await ask("ebs.delete", { Volume: "vol-1" }), {
      ...{ Volume: "vol-1", Success: true, Error: "" },
    });
  }
  const never = await ask("ebs.unmount", request);
  assertEquals(never, { ...unmounted, NotFound: true });
  const missing = await ask("ebs.mount", request);
  assertEquals([missing.Mounted, missing.Code, missing.Retryable], [false, "not_found", false]);
  for (const [subject, body] of [["ebs.mount", {}], ["ebs.sync", { Volume: "a/b" }]] as const) {
    const refused = await ask(subject, body);
    assertEquals(refused.Code, "invalid_argument");
    assert(refused.Error.length > 0);
  }
});

Deno.test("the design's subjects + EC2's names, states and tokens", async () => {
  await using cluster = await Cluster.start();
  await cluster.node("one");
  await cluster.node("two");
  const { provider } = bound(cluster);
  const ask = (subject: string, body: object = {}) => cluster.ask(`ebs.${subject}`, body);
  const codeOf = async (subject: string, body: object) => (await ask(subject, body)).Error?.Code;
  const wish = { Size: 1, ClientToken: "once", VolumeType: "gp3", Encrypted: false };
  const made = await Promise.all([ask("createvolume", wish), ask("createvolume", wish)]);
  const { VolumeId } = made[0];
  assertMatch(VolumeId, /^vol-[0-9a-f]{17}$/);
  assertEquals(made[1].VolumeId, VolumeId);
  const found = await ask("describevolumes", { VolumeIds: [VolumeId] });
  const { CreateTime, ...volume } = found.Volumes[0];
  assert(Date.parse(CreateTime) > 0);
  assertEquals(volume, {
    ...{ VolumeId, Size: 1, State: "available", Encrypted: false, VolumeType: "gp3" },
    ...{ AvailabilityZone: "zone", Attachments: [] },
  });
  assertEquals(
    (await ask("createvolume", { ...wish, AvailabilityZone: "zone" })).VolumeId,
    VolumeId,
  );
  const others = [{ Size: 2 }, { AvailabilityZone: "other" }, { VolumeType: "io2" }];
  for (const other of [...others, { VolumeType: undefined }]) {
    assertEquals(
      await codeOf("createvolume", { ...wish, ...other }),
      "IdempotentParameterMismatch",
      JSON.stringify(other),
    );
  }
  const attach = { VolumeId, InstanceId: "i-1", Device: "/dev/sdf", NodeId: "two", Access: "tcp" };
  const attached = await ask("attachvolume", attach);
  assertMatch(attached.NbdUri, /^nbd:\/\/127\.0\.0\.1:\d+\/$/);
  assertEquals([attached.State, attached.NodeId, attached.Device], ["attached", "two", "/dev/sdf"]);
  assertEquals(await ask("attachvolume", attach), attached);
  assertEquals(await codeOf("attachvolume", { ...attach, InstanceId: "i-2" }), "VolumeInUse");
  assertEquals(await codeOf("attachvolume", { ...attach, Device: "/dev/sdg" }), "VolumeInUse");
  assertEquals(await codeOf("attachvolume", { ...attach, NodeId: "one" }), "VolumeInUse");
  assertEquals(await codeOf("attachvolume", { ...attach, NodeId: "three" }), "Unavailable");
  assertEquals(await codeOf("attachvolume", { ...attach, NodeId: "*" }), "InvalidParameterValue");
  const inUse = (await ask("describevolumes")).Volumes[0];
  assertEquals([inUse.State, inUse.Attachments], ["in-use", [attached]]);

  const completion = cluster.next("ebs.provider.v1.snapshot.response.snap-1");
  await provider("snapshot.create." + VolumeId, { volume_id: VolumeId, snapshot_id: "snap-1" });
  await completion;
  const created = cluster.next("ebs.createvolume.response.vol-clone");
  const begun = await ask("createvolume", { VolumeId: "vol-clone", SnapshotId: "snap-1" });
  assertEquals([begun.State, begun.Size, begun.SnapshotId], ["creating", 1, "snap-1"]);
  assertEquals((await created).State, "available");

  assertEquals(
    await codeOf("detachvolume", { VolumeId, InstanceId: "i-2" }),
    "InvalidParameterValue",
  );
  assertEquals(
    await codeOf("detachvolume", { VolumeId, Device: "/dev/sdg" }),
    "InvalidParameterValue",
  );
  for (const Force of [true, false]) {
    assertEquals((await ask("detachvolume", { VolumeId, Force })).State, "detached");
  }
  const page = await ask("describevolumes", { MaxResults: 1 });
  assertEquals(page.Volumes.length, 1);
  const rest = await ask("describevolumes", { MaxResults: 1, NextToken: page.NextToken });
  assertEquals([rest.Volumes.length, rest.NextToken], [1, undefined]);
  const cases: readonly [string, object, string][] = [
    ["createvolume", { Size: 0 }, "InvalidParameterValue"],
    ["createvolume", { Size: 1.5 }, "InvalidParameterValue"],
    ["createvolume", { Size: 65537 }, "InvalidParameterValue"],
    ["createvolume", {}, "InvalidParameterValue"],
    ["createvolume", { Size: 1, Tags: [] }, "InvalidParameterValue"],
    ["createvolume", { Size: 1, Encrypted: true }, "UnsupportedOperation"],
    ["createvolume", { SnapshotId: "snap-no" }, "InvalidSnapshot.NotFound"],
    ["attachvolume", { VolumeId: "vol-no" }, "InvalidVolume.NotFound"],
    ["detachvolume", { VolumeId: "vol-no" }, "InvalidVolume.NotFound"],
    ["describevolumes", { VolumeIds: ["vol-no"] }, "InvalidVolume.NotFound"],
    ["describevolumes", { Filters: [] }, "InvalidParameterValue"],
  ];
  for (const [subject, body, code] of cases) {
    assertEquals(await codeOf(subject, body), code, `${subject} ${JSON.stringify(body)}`);
  }
});

async function codeOf(answer: Promise<{ error?: { code: string } }>): Promise<string | undefined> {
  return (await answer).error?.code;
}

function bound(cluster: Cluster) {
  return { provider: (subject: string, body: object = {}) => cluster.provider(subject, body) };
}
