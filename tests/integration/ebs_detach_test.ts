/** Detachments of volumes that several nodes have: whoever is asked, it ends at the one that is meant. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { Records } from "../../ebs/records.ts";
import { MACHINE } from "../../volume/seam.ts";
import { MIB } from "../ebs/bed.ts";
import { type Body, Cluster } from "../ebs/cluster.ts";

const VolumeId = "vol-1";

/** Three nodes, and a volume that one of them writes and another one reads. */
async function threeNodes(): Promise<Cluster> {
  const cluster = await Cluster.start();
  for (const node of ["one", "two", "three"]) await cluster.node(node);
  await cluster.provider("volume.create", {
    ...{ volume_id: VolumeId, capacity_range: { required_bytes: 64 * MIB } },
  });
  return cluster;
}

const attach = (cluster: Cluster, NodeId: string, InstanceId: string, ReadOnly = false) =>
  cluster.ask("ebs.attachvolume", { VolumeId, NodeId, InstanceId, Device: "/dev/sdf", ReadOnly });

const detach = (cluster: Cluster, meant: object): Promise<Body> =>
  cluster.ask("ebs.detachvolume", { VolumeId, ...meant });

/** The nodes that have the volume. */
async function nodesOf(cluster: Cluster): Promise<string[]> {
  const { Volumes } = await cluster.ask("ebs.describevolumes", { VolumeIds: [VolumeId] });
  return Volumes[0].Attachments.map(({ NodeId }: Body) => NodeId).sort();
}

Deno.test("ebs.detachvolume and ebs.unmount + a reader on any node + are carried out there, each time", async () => {
  await using cluster = await threeNodes();
  for (let times = 0; times < 6; times++) {
    assertEquals((await attach(cluster, "two", "i-2", true)).ReadOnly, true);
    assertEquals((await detach(cluster, {})).InstanceId, "i-2");
    assertEquals(await nodesOf(cluster), []);
    await attach(cluster, "three", "i-2", true);
    assertEquals((await cluster.ask("ebs.unmount", { Name: VolumeId })).Error, "");
    assertEquals(await nodesOf(cluster), []);
  }
});

Deno.test("ebs.detachvolume + a writer and readers + ends the one that is named, or none", async () => {
  await using cluster = await threeNodes();
  const all = async () => {
    await attach(cluster, "one", "i-1");
    await attach(cluster, "two", "i-2", true);
    await attach(cluster, "three", "i-3", true);
  };
  await all();
  for (const meant of [{}, { Device: "/dev/sdf" }, { Force: true }]) {
    for (let times = 0; times < 3; times++) {
      const { Error } = await detach(cluster, meant);
      assertEquals(Error.Code, "InvalidParameterValue");
      assertStringIncludes(Error.Message, "say which: give NodeId or InstanceId");
    }
  }
  const refused = await cluster.ask("ebs.unmount", { Name: VolumeId });
  assertEquals([refused.Code, refused.Mounted], ["invalid_argument", true]);
  const wrong = [
    ...[{ InstanceId: "i-4" }, { InstanceId: "i-1", NodeId: "two" }, {
      InstanceId: "i-4",
      Force: true,
    }],
    { InstanceId: "i-2", Device: "/dev/sdg" },
  ];
  for (const meant of wrong) {
    assertEquals((await detach(cluster, meant)).Error?.Code, "InvalidParameterValue");
  }
  assertEquals(await nodesOf(cluster), ["one", "three", "two"]);
  assertEquals((await detach(cluster, { InstanceId: "i-3" })).State, "detached");
  assertEquals(await nodesOf(cluster), ["one", "two"]);
  // Again, also while others have it.
  for (const _ of [1, 2]) {
    assertEquals((await detach(cluster, { NodeId: "two" })).State, "detached");
    assertEquals(await nodesOf(cluster), ["one"]);
  }
  await all();
  assertEquals((await detach(cluster, { InstanceId: "i-1" })).State, "detached");
  assertEquals(await nodesOf(cluster), ["three", "two"]);
  for (const NodeId of ["three", "two"]) await detach(cluster, { NodeId });
  assertEquals(await nodesOf(cluster), []);
});

Deno.test("ebs.detachvolume + a dead node's attachment, and another instance + is refused, also by force", async () => {
  await using cluster = await threeNodes();
  await attach(cluster, "one", "i-1", true);
  // A node that died with it.
  const records = Records.volumes(cluster.bed.store, MACHINE);
  const dead = { node: "gone", instance: "i-9", readOnly: true, uri: "nbd://h:1/", time: 0 };
  await records.change(VolumeId, (now) => ({ ...now, attachments: [...now.attachments, dead] }));
  for (const Force of [false, true]) {
    const meant = { NodeId: "gone", InstanceId: "i-1", Force };
    assertEquals((await detach(cluster, meant)).Error?.Code, "InvalidParameterValue");
    assertEquals(await nodesOf(cluster), ["gone", "one"]);
  }
  const { Error } = await detach(cluster, { InstanceId: "i-9" });
  assertEquals(Error.Code, "Unavailable");
  assertStringIncludes(Error.Message, "is mounted on gone, which does not answer");
  // One that is dead goes, beside one that lives.
  assertEquals((await detach(cluster, { InstanceId: "i-9", Force: true })).State, "detached");
  assertEquals(await nodesOf(cluster), ["one"]);
});
