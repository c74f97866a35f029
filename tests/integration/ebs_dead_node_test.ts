/**
 * A node that is killed with a volume: what is told of it, who may take the volume, and when. Programs
 * with a real server of NATS.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { statusLines } from "../../cmd/ebs/status.ts";
import { openNatsBucket } from "../../ebs/claims/nats_key_value.ts";
import { CLAIM_TTL_MS, CLAIMS_BUCKET, keyOf } from "../../ebs/claims/record.ts";
import { connectNats } from "../../ebs/nats/connect.ts";
import { statusOf } from "../../ebs/nats/status.ts";
import { openWanted } from "../../ebs/reconcile/open.ts";
import { NatsServer } from "../ebs/nats_server.ts";
import { Scratch } from "../scratch.ts";
import { client, Serving } from "./_nbd.ts";
import { commandLine } from "./_run_command.ts";

const PATIENCE_MS = 30_000;

async function until<T>(look: () => Promise<T | undefined>, words: string): Promise<T> {
  for (const endMs = performance.now() + PATIENCE_MS;;) {
    const found = await look();
    if (found !== undefined) return found;
    assert(performance.now() < endMs, words);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

Deno.test("a node that is killed + its volume is told as lost, taken by force, and never written twice", async () => {
  using scratch = new Scratch();
  await using nats = await NatsServer.start();
  const connection = await connectNats({ servers: [nats.url], name: "controller" });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => connection.close());
  const terms = { connection, bucket: CLAIMS_BUCKET, ttlMs: CLAIM_TTL_MS };
  const claims = await openNatsBucket(terms);
  const wanted = await openWanted(connection);
  const started = async (node: string) =>
    await new Serving(commandLine("ublk-ebs", [
      ...["serve", "--node", node, "--nats", nats.url, "--journal-size", "16M"],
      ...["--store", `${scratch.path}/store`, "--journal", `${scratch.path}/${node}`],
    ])).announced();
  const [first, two] = await Promise.all([started("one"), started("two")]);
  stack.defer(async () => void await first.end("SIGKILL"));
  stack.defer(async () => void await two.end("SIGTERM"));
  // deno-lint-ignore no-explicit-any
  const ask = async (subject: string, body: object): Promise<any> =>
    (await connection.request(subject, JSON.stringify(body), { timeout: 30_000 })).json();
  const VolumeId = "vol-1";
  const attach = (NodeId: string) => ask("ebs.attachvolume", { VolumeId, NodeId });
  const detach = (Force = false) => ask("ebs.detachvolume", { VolumeId, Force });
  const codeOf = async (answer: Promise<{ Error?: { Code: string } }>) =>
    (await answer).Error?.Code;
  const view = async () => (await ask("ebs.describevolumes", { VolumeIds: [VolumeId] })).Volumes[0];
  const put = (uri: string, byte: number) =>
    client("qemu-io", "-f", "raw", "-c", `write -P ${byte} 0 64k`, "-c", "flush", uri);
  const has = (uri: string, byte: number) =>
    client("qemu-io", "-f", "raw", "-c", `read -P ${byte} 0 64k`, uri);

  // An attachment to a node that is not there is refused, and leaves no record.
  assertEquals((await ask("ebs.createvolume", { VolumeId, Size: 1 })).State, "available");
  assertEquals(await codeOf(attach("three")), "Unavailable");
  assertEquals(await wanted.get(VolumeId), undefined);

  // Force takes nothing from a node that is there: it brings everything into the store.
  await put((await attach("one")).NbdUri, 1);
  assertEquals((await detach(true)).State, "detached");
  const attached = await attach("one");
  await has(attached.NbdUri, 1);
  assertEquals((await view()).Attachments, [attached]);

  await first.end("SIGKILL");
  const lost = { ...attached, NodeState: "unreachable" };
  const isTold = async () => (await view()).Attachments[0].NodeState === "unreachable" || undefined;
  await until(isTold, "the server knows that it is dead");
  assertEquals([(await view()).State, (await view()).Attachments], ["in-use", [lost]]);
  const lines = statusLines(await statusOf(connection), true);
  assertMatch(lines.join("\n"), /^two .*\n\nvol-1 .* in-use .*\n\nvol-1 +one +unreachable /);
  assertEquals(await codeOf(attach("one")), "Unavailable");
  assertEquals(await codeOf(detach()), "Unavailable");
  assertEquals(await codeOf(attach("two")), "VolumeInUse");

  // By force it is free once the claim of the dead node has run out, and goes on elsewhere.
  const refused = await detach(true);
  assertEquals(refused.Error?.Code, "Unavailable");
  assertMatch(
    refused.Error.Message,
    /one has it; .+ a node that is dead loses it within 45 s; ask/,
  );
  // Its life is over: that the bucket sees to it is tested with claims.
  const claim = (await claims.get(keyOf(VolumeId)))!;
  assertEquals(await claims.delete(keyOf(VolumeId), claim.revision), true);
  assertEquals((await detach(true)).State, "detached");
  assertEquals([(await view()).State, (await view()).Attachments], ["available", []]);
  const elsewhere = await attach("two");
  assertEquals(elsewhere.NodeId, "two");
  await has(elsewhere.NbdUri, 1);
  await put(elsewhere.NbdUri, 2);

  // The node that was dead comes back, and leaves the volume alone.
  const again = await started("one");
  stack.defer(async () => void await again.end("SIGTERM"));
  await until(async () => (await ask("ebs.one.status", {})).mounts.length === 0 || undefined, "");
  assertEquals((await view()).Attachments, [elsewhere]);
  await has(elsewhere.NbdUri, 2);
  assertEquals((await detach()).State, "detached");
  await has((await attach("one")).NbdUri, 2);
});
