/**
 * Reconcile loops of some nodes, with all that can happen to them. All but the network, the store and the
 * disks is the real code: see `tests/ebs/sim_cluster.ts`.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { SimCluster, type SimNode } from "../../tests/ebs/sim_cluster.ts";
import { eachSeed } from "../../tests/seeds.ts";
import { KeyValueError } from "../claims/key_value.ts";
import { UblkError } from "../../uapi/error.ts";

/** Nodes `a`, `b` and so on, and a volume `v`. */
function clusterOf(count: number) {
  const cluster = new SimCluster(1, 5);
  const nodes = [..."abc"].slice(0, count).map((name) => cluster.start(name));
  cluster.create("v");
  return { cluster, nodes, controller: cluster.controller(), time: cluster.time };
}

const names = (nodes: readonly SimNode[]) => nodes.map(({ name }) => name).join();

Deno.test("a volume that is to be attached is, within a second, and detached as quickly", async () => {
  const { cluster, controller, time } = clusterOf(2);
  await time.until(controller.attach("v", "a"));
  await time.pass(1000);
  assertEquals(names(cluster.answering("v")), "a");
  await time.until(controller.detach("v"));
  await time.pass(1000);
  assertEquals(names(cluster.answering("v")), "");
  assertEquals(await cluster.claims.keys(""), []);
  assertEquals(await cluster.wanted.keys("n"), [], "nobody need look any more");
  assertEquals(cluster.lines, []);
});

Deno.test("a hand-over between live nodes takes seconds, and no lease runs out", async () => {
  const { cluster, controller, time } = clusterOf(2);
  await time.until(controller.attach("v", "a"));
  await time.pass(60_000);
  await time.until(controller.move("v", "a", "b"));
  await time.pass(3000);
  assertEquals(names(cluster.answering("v")), "b");
  assertEquals(cluster.violations, []);
});

Deno.test("a volume of a node that died is another's within two lives of a lease, and a bit", async () => {
  const { cluster, nodes: [a], controller, time } = clusterOf(2);
  await time.until(controller.attach("v", "a"));
  await time.pass(60_000);
  cluster.kill(a!);
  await time.until(controller.move("v", "a", "b"));
  await time.pass(40_000);
  assertEquals(names(cluster.answering("v")), "");
  await time.pass(75_000);
  assertEquals(names(cluster.answering("v")), "b");
  assertEquals(cluster.violations, []);
});

Deno.test("a node that was started again has its volumes at once", async () => {
  const { cluster, nodes: [a], controller, time } = clusterOf(1);
  await time.until(controller.attach("v", "a"));
  await time.pass(20_000);
  cluster.kill(a!);
  cluster.start("a");
  await time.pass(2000);
  assertEquals(names(cluster.answering("v")), "a");
});

Deno.test("a node that is cut off stops answering, and another has the volume", async () => {
  const { cluster, nodes: [a], controller, time } = clusterOf(2);
  await time.until(controller.attach("v", "a"));
  await time.pass(20_000);
  a!.network.cutThere = a!.network.cutBack = true;
  await time.until(controller.move("v", "a", "b"));
  await time.pass(120_000);
  assertEquals(names(cluster.answering("v")), "b");
  assert(!a!.mounts.isMounted("v"), "it has ended its mount");
  a!.network.cutThere = a!.network.cutBack = false;
  await time.pass(150_000);
  assertEquals(names(cluster.answering("v")), "b");
  assertEquals(cluster.violations, []);
});

Deno.test("a node that is cut off for a while and keeps its volume goes on with it", async () => {
  const { cluster, nodes: [a], controller, time } = clusterOf(1);
  await time.until(controller.attach("v", "a"));
  await time.pass(20_000);
  a!.network.cutThere = a!.network.cutBack = true;
  await time.pass(100_000);
  assertEquals(names(cluster.answering("v")), "");
  a!.network.cutThere = a!.network.cutBack = false;
  await time.pass(30_000);
  assertEquals(names(cluster.answering("v")), "a");
});

Deno.test("a deletion waits for nobody, is done once, and frees the name", async () => {
  const { cluster, controller, time } = clusterOf(2);
  await time.until(controller.attach("v", "a"));
  await time.pass(1000);
  const busy = await assertRejects(() => time.until(controller.delete("v", "b")), UblkError);
  assertEquals(busy.code, "VOLUME_BUSY");
  await time.until(controller.detach("v", "a"));
  await time.until(controller.delete("v", "b"));
  await time.until(controller.delete("v", "a"));
  const gone = await assertRejects(() => time.until(controller.attach("v", "a")), UblkError);
  assertEquals(gone.code, "VOLUME_NOT_FOUND");
  await time.pass(5000);
  assertEquals([...cluster.store.heads.keys()], []);
  assertEquals([await cluster.wanted.keys(""), await cluster.claims.keys("")], [[], []]);
  cluster.create("v");
  await time.until(controller.attach("v", "b"));
  await time.pass(2000);
  assertEquals(names(cluster.answering("v")), "b");
  assertEquals(cluster.violations, []);
});

Deno.test("two controllers ask for one volume: one is told who has it; a late detach changes nothing", async () => {
  const { cluster, controller, time } = clusterOf(2);
  const other = cluster.controller();
  const asked = await time.until(
    Promise.allSettled([controller.attach("v", "a"), other.attach("v", "b")]),
  );
  assertEquals(asked.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  const winner = asked[0]!.status === "fulfilled" ? "a" : "b";
  await time.until(other.detach("v", winner === "a" ? "b" : "a"));
  await time.pass(2000);
  assertEquals(names(cluster.answering("v")), winner);
});

Deno.test("a notice without a record is dismissed; one whose watch missed it is found", async () => {
  const { cluster, time } = clusterOf(1);
  await cluster.wanted.create("n.a.v", new Uint8Array());
  await time.pass(5000);
  assertEquals(await cluster.wanted.keys(""), []);
  cluster.nodes.get("a")!.network.isLost = () => true;
  await cluster.wanted.create("n.a.v", new Uint8Array());
  await cluster.wanted.create("v.v", new TextEncoder().encode(`{"state":"attached","node":"a"}`));
  cluster.nodes.get("a")!.network.isLost = () => false;
  await time.pass(5000);
  assertEquals(names(cluster.answering("v")), "");
  await time.pass(150_000);
  assertEquals(names(cluster.answering("v")), "a");
});

Deno.test("a controller that died after its record, before its notice: the node heals what it sees", async () => {
  const { cluster, nodes: [a], time } = clusterOf(1);
  await cluster.wanted.create("v.v", new TextEncoder().encode(`{"state":"attached","node":"a"}`));
  await cluster.wanted.create("n.a.v", new Uint8Array());
  const { revision } = (await cluster.wanted.get("n.a.v"))!;
  // It looked before the record was there, and dismisses what it was told.
  time.after(7, () => void cluster.wanted.delete("n.a.v", revision));
  await time.pass(2000);
  assertEquals(names(cluster.answering("v")), "a");
  cluster.kill(a!);
  cluster.start("a");
  await time.pass(2000);
  assertEquals(names(cluster.answering("v")), "a");
});

Deno.test("a record that is none is told, and harms no other volume", async () => {
  const { cluster, controller, time } = clusterOf(1);
  await cluster.wanted.create("n.a.w", new Uint8Array());
  await cluster.wanted.create("v.w", new TextEncoder().encode("{}"));
  await time.until(controller.attach("v", "a"));
  await time.pass(5000);
  assertEquals(names(cluster.answering("v")), "a");
  assert(cluster.lines.some((line) => line.includes("the record of w")), cluster.lines.join("\n"));
});

Deno.test("a volume that is not there is told once, and costs few requests", async () => {
  const { cluster, controller, time } = clusterOf(1);
  await time.until(controller.attach("none", "a"));
  await time.pass(60_000);
  assertEquals(cluster.lines.filter((line) => line.includes("none")).length, 1);
  const begun = cluster.seconds.length;
  await time.pass(60_000);
  const requests = cluster.seconds.slice(begun).reduce((sum, { store }) => sum + store, 0);
  assert(requests < 15, `${requests} requests to the store`);
});

/** A while in which everything happens, and then a calm. */
async function chaos(seed: number): Promise<{ mounts: number; lines: readonly string[] }> {
  const cluster = new SimCluster(seed, 10);
  const { time, draw } = cluster;
  let mounts = 0;
  cluster.begun = () => void mounts++;
  let isCalm = false;
  const forever = async (most: number, act: () => Promise<unknown> | void) => {
    while (!isCalm) {
      await time.pause(draw(most));
      if (!isCalm) await act();
    }
  };
  const [nodes, volumes] = [["a", "b", "c"], ["v", "w", "x"]];
  const pick = <T>(from: readonly T[]): T => from[draw(from.length)]!;
  for (const volume of volumes) cluster.create(volume);
  const shake = (node: SimNode) => {
    node.network.delayMs = () => draw(15) === 0 ? draw(8000) : draw(200);
    node.network.isLost = () => !isCalm && draw(25) === 0;
    node.storage.delayMs = () => draw(20) === 0 ? draw(10_000) : draw(300);
    node.storage.isLost = () => !isCalm && draw(40) === 0;
    return node;
  };
  for (const name of nodes) {
    shake(cluster.start(name));
    const now = () => cluster.nodes.get(name)!;
    forever(300_000, async () => {
      cluster.kill(now());
      await time.pause(draw(100_000));
      shake(cluster.start(name));
    });
    forever(200_000, async () => {
      const { network } = now();
      network[pick(["cutThere", "cutBack"] as const)] = true;
      await time.pause(draw(100_000));
      if (now().network === network) network.cutThere = network.cutBack = false;
    });
    forever(300_000, async () => {
      now().storage.isAway = true;
      await time.pause(draw(100_000));
      now().storage.isAway = false;
    });
  }
  for (const network of [0, 1]) {
    const link = shake({ network: { cutThere: false, cutBack: false }, storage: {} } as SimNode);
    const controller = cluster.controller(link.network);
    forever(20_000 + network, async () => {
      const volume = pick(volumes);
      const act = draw(10);
      const [from, to] = [pick(nodes), pick(nodes)];
      const only = draw(2) === 0 ? from : undefined;
      const ask = () => {
        if (act < 4) return controller.attach(volume, to);
        if (act < 6) return controller.detach(volume, only);
        return act < 9 ? controller.move(volume, from, to) : controller.delete(volume, to);
      };
      // Whoever gets no answer asks again.
      const isDone = () => ask().then(() => true, (error) => !(error instanceof KeyValueError));
      while (!await isDone());
      const isGone = !cluster.store.heads.has(volume) &&
        await cluster.wanted.get(`v.${volume}`) === undefined;
      if (isGone && draw(2) === 0) cluster.create(volume);
    });
  }
  const check = () => {
    assertEquals(cluster.violations, []);
    for (const volume of volumes) {
      const answering = cluster.answering(volume);
      assert(answering.length <= 1, `${names(answering)} answer for ${volume}`);
    }
  };
  await time.pass(20 * 60_000, check);
  isCalm = true;
  await time.pass(8 * 60_000, check);
  const controller = cluster.controller();
  for (const volume of volumes) {
    const { wanted } = await time.until(controller.get(volume)) ?? {};
    const holder = (await cluster.claims.keys("")).includes(volume);
    const state = [names(cluster.answering(volume)), holder];
    const isThere = cluster.store.heads.has(volume);
    if (wanted?.state === "attached") {
      if (isThere) assertEquals(state, [wanted.node, true], `${volume} of seed ${seed}`);
    } else assertEquals(state, ["", false], `${volume} of seed ${seed}: ${wanted?.state}`);
    assert(wanted?.state !== "deleted", `${volume} is not deleted`);
    const notices = (await cluster.wanted.keys("n")).filter((key) => key.endsWith(`.${volume}`));
    const due = wanted?.state === "attached" ? [`n.${wanted.node}.${volume}`] : [];
    assertEquals(notices, due);
  }
  return { mounts, lines: cluster.lines };
}

Deno.test("attach, move, detach and delete in any order, by two controllers, on nodes that die", async (test) => {
  let mounts = 0;
  const ran = await eachSeed(test, 12, async (seed) => void (mounts += (await chaos(seed)).mounts));
  assert(mounts > 10 * ran, `${mounts} mounts`);
});
