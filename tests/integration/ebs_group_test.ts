/** Nodes as one service: the queue group, and what a micro-service of NATS answers. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { QUEUE_GROUP, ROWS } from "../../ebs/nats/server.ts";
import { Cluster } from "../ebs/cluster.ts";

Deno.test("the queue group + many requests + are shared by its nodes, and answered once each", async () => {
  await using cluster = await Cluster.start();
  for (const node of ["one", "two"]) await cluster.node(node);
  const count = 100;
  let answers = 0;
  const reply = "answers";
  cluster.client.subscribe(reply, { callback: () => void answers++ });
  for (let nth = 0; nth < count; nth++) {
    cluster.client.publish("ebs.describevolumes", "{}", { reply });
  }
  const endMs = performance.now() + 20_000;
  while (answers < count && performance.now() < endMs) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const shares = await cluster.requests("ebs.describevolumes");
  assertEquals([answers, shares.reduce((sum, one) => sum + one, 0)], [count, count]);
  // The server draws a node for each. That one of the two gets fewer than ten is one chance in 10^16.
  assert(shares.every((one) => one >= 10), `${shares}`);
});

Deno.test("$SRV.PING, INFO and STATS + asked of all, of a name and of one node + tell of it", async () => {
  await using cluster = await Cluster.start();
  for (const node of ["one", "two"]) await cluster.node(node);
  const pings = await cluster.all("$SRV.PING");
  assertEquals([...pings.keys()].sort(), ["one", "two"]);
  const { id, metadata, ...ping } = pings.get("one");
  assertMatch(id, /^[0-9a-f]{32}$/);
  assertEquals(metadata, { node: "one" });
  const identity = { name: "ublk-ebs", version: "1.2.3" };
  assertEquals(ping, { type: "io.nats.micro.v1.ping_response", ...identity });
  for (const [verb, type] of [["PING", "ping"], ["INFO", "info"], ["STATS", "stats"]]) {
    assertEquals([...(await cluster.all(`$SRV.${verb}.ublk-ebs`)).keys()].sort(), ["one", "two"]);
    const one = await cluster.ask(`$SRV.${verb}.ublk-ebs.${id}`);
    assertEquals(one.type, `io.nats.micro.v1.${type}_response`);
    assertEquals([one.id, one.name, one.version], [id, identity.name, identity.version]);
  }
  const info = await cluster.ask(`$SRV.INFO.ublk-ebs.${id}`);
  const subjects = ROWS.map(({ subject, does }) => ({
    ...{ subject: subject.replace("{node}", "one").replace("{volume}", "*") },
    ...{ queue_group: QUEUE_GROUP, metadata: { does } },
  }));
  const names = info.endpoints.map(({ name }: { name: string }) => name);
  assert(names.every((name: string) => /^[A-Za-z0-9_-]+$/.test(name)), "names of micro-services");
  assertEquals(
    info.endpoints.map(({ name: _, ...endpoint }: { name: string }) => endpoint),
    subjects,
  );
  const stats = await cluster.ask(`$SRV.STATS.ublk-ebs.${id}`);
  assert(Date.parse(stats.started) > 0);
  assertEquals(stats.endpoints.map(({ name }: { name: string }) => name), names);
});
