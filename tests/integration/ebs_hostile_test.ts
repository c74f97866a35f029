/**
 * Requests from strangers: each gets a clear error, or is not delivered, and nobody else notices. What
 * a subject may do is the server's to decide, by the permissions of docs/ebs.md.
 */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { openClaims } from "../../ebs/claims/open.ts";
import { connectNats } from "../../ebs/nats/connect.ts";
import { ROWS } from "../../ebs/nats/server.ts";
import { statusOf } from "../../ebs/nats/status.ts";
import { UblkError } from "../../uapi/error.ts";
import { MIB } from "../ebs/bed.ts";
import { type Body, Cluster } from "../ebs/cluster.ts";
import type { Msg } from "@nats-io/transport-node";
import { Scratch } from "../scratch.ts";

/** A code in whatever form a dialect has it. */
function codeOf(answer: Record<string, unknown>): unknown {
  const { error, Error: text, Code } = answer as {
    error?: { code: string };
    Error?: { Code: string };
    Code?: string;
  };
  return error?.code ?? Code ?? text?.Code;
}

const INVALID = ["invalid_argument", "InvalidParameterValue"];

Deno.test("every subject + bytes that are no request + an error with a code, each time", async () => {
  await using cluster = await Cluster.start();
  await cluster.node("one");
  const bodies: Record<string, string | Uint8Array> = {
    "no JSON": "{",
    "no UTF-8": new Uint8Array([0x7b, 0xff, 0xfe, 0x7d]),
    "no object": "[1]",
    "deep": '{"a":'.repeat(100_000) + "1" + "}".repeat(100_000),
    "huge": JSON.stringify({ a: "x".repeat(900_000) }),
    "a prototype": '{"__proto__":{"schema_version":1,"volume_id":"v"}}',
    "numbers for names": '{"schema_version":1,"volume_id":1,"Name":1,"Volume":1,"VolumeId":1}',
    "a path for a name": JSON.stringify({
      ...{ schema_version: 1, volume_id: "../../etc/passwd", snapshot_id: "/", node_id: "one" },
      ...{ Name: "../x", Volume: "/etc", VolumeId: ".", Size: 1, SnapshotID: ".." },
      ...{ starting_token: "..", source_snapshot_id: "/", VolumeIds: ["/"] },
      capacity_range: { required_bytes: 4096 },
    }),
  };
  // What asks for nothing cannot be wrong.
  const isHarmless = (subject: string) => /capabilities|status/.test(subject);
  let count = 0;
  for (const row of ROWS) {
    const subject = row.subject.replace("{node}", "one").replace("{volume}", "vol-1");
    for (const [what, body] of Object.entries(bodies)) {
      const answer = await cluster.ask(subject, body);
      const code = codeOf(answer);
      const isFine = code === undefined &&
        (isHarmless(subject) || /\.list|describev/.test(subject));
      const isVersion = code === "unsupported_version";
      assert(
        isFine || isVersion || INVALID.includes(code as string),
        `${subject}, ${what}: ${code}`,
      );
      assert(JSON.stringify(answer).length < 2000, `${subject}, ${what}: the answer is short`);
      count++;
    }
  }
  assert(count > 150, "all of them");
  assertEquals((await cluster.provider("volume.list")).volumes, []);
  const stats = await cluster.ask("$SRV.STATS");
  const create = stats.endpoints.find((one: { subject: string }) =>
    one.subject === "ebs.provider.v1.volume.create"
  );
  assertEquals([create.num_requests, create.num_errors], [8, 8]);
  assertStringIncludes(create.last_error, ": ");
  assertEquals(cluster.lines, []);
});

Deno.test("tokens, wildcards and replies that are subjects + harm nobody", async () => {
  await using cluster = await Cluster.start();
  const { service } = await cluster.node("one");
  await service.create({ id: "vol-1", bytes: 64 * MIB });
  await service.mount({ volume: "vol-1", access: "unix", readOnly: false });
  const body = { schema_version: 1, volume_id: "vol-1", snapshot_id: "s" };
  for (const subject of ["snapshot.create.*", "snapshot.create.>", "snapshot.create.Vol-1"]) {
    assertEquals(codeOf(await cluster.provider(subject, body)), "invalid_argument", subject);
  }
  const data = JSON.stringify({ Volume: "vol-1" });
  // The answer to one request is no request to another.
  cluster.client.publish("ebs.sync", data, { reply: "ebs.delete" });
  cluster.client.publish("ebs.delete", "{}", { reply: "$SRV.PING" });
  // Subjects of nodes take what was passed on, and say so.
  assertEquals(codeOf(await cluster.ask("ebs.node.one", body)), "invalid_argument");
  assertEquals(codeOf(await cluster.ask("ebs.owner.vol-1", body)), "invalid_argument");
  assertEquals((await service.describe("vol-1")).state, "in-use");
  // One client asks too much at a time: another one's requests go on.
  const many = Array.from({ length: 600 }, () => cluster.ask("ebs.sync", { Volume: "vol-1" }));
  const other = await cluster.provider("volume.describe", { volume_id: "vol-1" });
  assertEquals(other.volume.state, "in-use");
  const synced = await Promise.all(many);
  assert(synced.every((one) => one.Synced || codeOf(one) === "unavailable"));
  assertEquals((await cluster.ask("ebs.unmount", { Name: "vol-1" })).Error, "");
});

Deno.test("an answer that a node passes on + a reply that is a subject + is no request either", async () => {
  await using cluster = await Cluster.start();
  await cluster.node("one");
  const { service } = await cluster.node("two");
  await service.create({ id: "vol-1", bytes: 64 * MIB });
  await service.mount({ volume: "vol-1", access: "unix", readOnly: false });
  // Once, the answer of node two came back through node one as a request in its name, to delete.
  const data = JSON.stringify({ Volume: "vol-1" });
  for (let times = 0; times < 20; times++) {
    cluster.client.publish("ebs.sync", data, { reply: "ebs.delete" });
  }
  const sum = (counts: number[]) => counts.reduce((total, one) => total + one, 0);
  const endMs = performance.now() + 20_000;
  // Those that were passed on count twice.
  while (sum(await cluster.requests("ebs.sync")) <= 20 && performance.now() < endMs) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  // Answers leave one after the other: these come after all of those.
  for (let times = 0; times < 20; times++) await cluster.ask("ebs.sync", { Volume: "vol-1" });
  assertEquals(sum(await cluster.requests("ebs.delete")), 0);
  assertEquals((await service.describe("vol-1")).state, "in-use");
});

Deno.test("answers and requests that the server does not take + are refused with a code", async () => {
  using scratch = new Scratch();
  const most = 16_384;
  Deno.writeTextFileSync(`${scratch.path}/server.conf`, `max_payload: ${most}\n`);
  const within = ["sh", "-c", `exec "$@" --config ${scratch.path}/server.conf`, "sh"];
  await using cluster = await Cluster.start({ within });
  await cluster.node("one");
  const { service } = await cluster.node("two");
  const ids = Array.from({ length: 40 }, (_, nth) => `vol-${nth + 10}`);
  for (const id of ids) await service.create({ id, bytes: 64 * MIB, zone: "z".repeat(1000) });
  // A page has what an answer has room for.
  const found: string[] = [];
  let pages = 0;
  for (let NextToken = "";; pages++) {
    const page = await cluster.ask("ebs.describevolumes", { NextToken });
    assertEquals(codeOf(page), undefined);
    found.push(...page.Volumes.map(({ VolumeId }: { VolumeId: string }) => VolumeId));
    if (page.NextToken === undefined) break;
    NextToken = page.NextToken;
  }
  assertEquals(found, ids);
  assert(pages >= 2, "more than one page");
  assertEquals((await statusOf(cluster.client)).volumes.length, ids.length);
  const all = await cluster.ask("ebs.describevolumes", { VolumeIds: ids });
  assertEquals(codeOf(all), "InvalidParameterValue");
  assertStringIncludes(all.Error.Message, "ask for less at a time");
  // What came is not sent back in full.
  const long = await cluster.ask("ebs.sync", { Volume: "x".repeat(most - 20) });
  assertEquals(codeOf(long), "invalid_argument");

  // With its subject beside it, such a request is too long for the node that has the volume.
  await service.mount({ volume: ids[0]!, access: "unix", readOnly: false });
  const config = (bytes: number) => {
    const text = JSON.stringify({ Volume: ids[0], VolumeConfig: { a: "" } });
    return text.replace('"a":""', `"a":"${"x".repeat(bytes - text.length)}"`);
  };
  const codes = async (bytes: number) => {
    const answers = Array.from({ length: 20 }, () => cluster.ask("ebs.config", config(bytes)));
    return new Set((await Promise.all(answers)).map(codeOf));
  };
  assertEquals(await codes(most), new Set([undefined, "invalid_argument"]));
  // "Ublk-Subject: ebs.config" and the version of headers, with line breaks.
  const passed = most - 38;
  assertEquals(await codes(passed), new Set([undefined]));
  assertEquals(await codes(passed + 1), new Set([undefined, "invalid_argument"]));
  assertEquals(cluster.lines, []);
});

Deno.test("work that takes longer than its client waits + goes on, is announced and found done", async () => {
  await using cluster = await Cluster.start();
  const held = Promise.withResolvers<void>();
  const exporter = {
    async open() {
      await held.promise;
      return {
        ...{ uri: "nbd://h:1/", port: 1, size: 64 * MIB, shut() {} },
        resize: () => Promise.resolve(),
        close: () => Promise.resolve(),
      };
    },
    drain: () => Promise.resolve(),
  };
  const { service } = await cluster.node("one", { exporter, answerMs: 1000 });
  await service.create({ id: "vol-1", bytes: 64 * MIB });
  const announced: Body[] = [];
  for (const subject of ["ebs.mount.response", "ebs.unmount.response"]) {
    const callback = (_: unknown, message: Msg) => void announced.push(message.json());
    cluster.client.subscribe(subject, { callback });
  }
  const slow = await cluster.ask("ebs.one.mount", { Name: "vol-1" });
  assertEquals([slow.Mounted, slow.Code, slow.Retryable], [false, "unavailable", true]);
  const other = await cluster.node("two", { exporter, answerMs: 1000 });
  void cluster.client.publish("ebs.two.mount", '{"Name":"vol-1"}');
  await cluster.ask("ebs.two.status");
  // It does not hold up the end of a service either.
  await other.server[Symbol.asyncDispose]();
  held.resolve();
  const mounted = await cluster.ask("ebs.one.mount", { Name: "vol-1" });
  assertEquals(mounted.URI, "nbd://h:1/");
  // Everybody is told how all three have ended, and not that they went on.
  const endMs = performance.now() + 20_000;
  while (announced.length < 3 && performance.now() < endMs) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assertEquals(announced, [mounted, mounted, mounted]);
});

/** A server's users, as `docs/ebs.md` has them. */
const USERS = /```text\n(authorization \{[\s\S]*?\n\})\n```/.exec(
  Deno.readTextFileSync(new URL("../../docs/ebs.md", import.meta.url)),
)![1];

Deno.test("permissions of docs/ebs.md + a node serves, a tenant sees only what it may", async () => {
  using scratch = new Scratch();
  Deno.writeTextFileSync(`${scratch.path}/users.conf`, USERS);
  const login = (user: string) => {
    const file = `${scratch.path}/${user}`;
    Deno.writeTextFileSync(file, `${user}\n${user}-secret\n`);
    return { login: file };
  };
  const within = ["sh", "-c", `exec "$@" --config ${scratch.path}/users.conf`, "sh"];
  await using cluster = await Cluster.start({ within }, login("control"));
  const { connection } = await cluster.node("one", {}, login("node"));
  using claims = await openClaims({ connection, node: "one" });
  await (await claims!.claim("any")).release();
  const body = { volume_id: "vol-1", capacity_range: { required_bytes: 64 * MIB } };
  assertEquals((await cluster.provider("volume.create", body)).volume.id, "vol-1");
  assertMatchUri(await cluster.provider("one.mount", { volume_id: "vol-1", node_id: "one" }));
  const told = ["mount", "unmount"].map((verb) => cluster.next(`ebs.${verb}.response`));
  await cluster.ask("ebs.one.mount", { Name: "vol-1" });
  await cluster.ask("ebs.one.unmount", { Name: "vol-1" });
  assertEquals((await Promise.all(told)).map(({ Mounted }) => Mounted), [true, false]);
  const watcher = await connectNats({ servers: [cluster.nats.url], name: "w", ...login("watch") });
  try {
    const asked = await watcher.request("ebs.describevolumes", "{}");
    assertEquals(asked.json<{ Volumes: unknown[] }>().Volumes.length, 1);
    await assertRejects(() => watcher.request("ebs.delete", '{"Volume":"vol-1"}'));
  } finally {
    await watcher.close();
  }
  assertEquals(cluster.lines, []);
  const connect = (terms: object) =>
    assertRejects(
      () => connectNats({ servers: [cluster.nats.url], name: "x", ...terms }),
      UblkError,
    );
  Deno.writeTextFileSync(`${scratch.path}/wrong`, "control\nno\n");
  const { message } = await connect({ login: `${scratch.path}/wrong` });
  assertStringIncludes(message, "check the address, the credentials and their permissions");
  assert(!message.includes("no;"), "no secret in the message");
  assertStringIncludes((await connect({ login: "/none" })).message, "give a readable file");
  assertStringIncludes((await connect({ token: "/a", nkey: "/b" })).message, "more than one kind");
});

function assertMatchUri(answer: { published?: { nbd_uri: string } }): void {
  assertStringIncludes(answer.published?.nbd_uri ?? "", "nbd+unix://");
}
