/** Buckets of a real NATS server against the checks that the ones in memory pass. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { checkKeyValueConformance } from "../../ebs/claims/conformance.ts";
import { KeyValueError } from "../../ebs/claims/key_value.ts";
import { type NatsBucketOptions, openNatsBucket } from "../../ebs/claims/nats_key_value.ts";
import { UblkError } from "../../uapi/error.ts";
import { NatsServer } from "../ebs/nats_server.ts";
import { Scratch } from "../scratch.ts";

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

Deno.test("a bucket of JetStream conforms", async () => {
  await using server = await NatsServer.start();
  const connections = [
    await connect({ servers: server.url }),
    await connect({ servers: server.url }),
  ];
  const [bucket, other] = await Promise.all(
    connections.map((connection) => openNatsBucket({ connection, bucket: "B", ttlMs: 4000 })),
  );
  await checkKeyValueConformance({ bucket: bucket!, other: other!, pause });
  for (const connection of connections) await connection.close();
});

Deno.test("a bucket that is there keeps its life, and must have one if claims are in it", async () => {
  await using server = await NatsServer.start();
  const connection = await connect({ servers: server.url });
  await openNatsBucket({ connection, bucket: "CLAIMS", ttlMs: 3000 });
  assertEquals((await openNatsBucket({ connection, bucket: "CLAIMS", ttlMs: 45_000 })).ttlMs, 3000);
  await openNatsBucket({ connection, bucket: "RECORDS", ttlMs: 0 });
  for (const [bucket, ttlMs] of [["RECORDS", 45_000], ["CLAIMS", 0]] as const) {
    const error = await assertRejects(
      () => openNatsBucket({ connection, bucket, ttlMs }),
      UblkError,
    );
    assertEquals(error.code, "INVALID_ARGUMENT");
  }
  await connection.close();
});

Deno.test("a bucket whose entries live for ever keeps nothing of what is deleted, and all else", async () => {
  await using server = await NatsServer.start();
  const connection = await connect({ servers: server.url });
  const bucket = await openNatsBucket({ connection, bucket: "B", ttlMs: 0 });
  const { streams } = await jetstreamManager(connection);
  const kept = await bucket.create("n.a.kept", new Uint8Array(1));
  for (let nth = 0; nth < 100; nth++) {
    const key = `n.a.v${nth}`;
    const first = await bucket.create(key, new Uint8Array(1));
    assertEquals(await bucket.delete(key, first! - 1), false);
    const second = await bucket.update(key, new Uint8Array(2), first!);
    assertEquals(await bucket.delete(key, second!), true);
    assertEquals(await bucket.update(key, new Uint8Array(3), second!), undefined);
  }
  assertEquals((await streams.info("KV_B")).state.messages, 1);
  assertEquals((await bucket.get("n.a.kept"))?.revision, kept);
  // Of a key that is deleted and made again by others at once, the last value stays.
  const other = await openNatsBucket({ connection, bucket: "B", ttlMs: 0 });
  for (let round = 0; round < 20; round++) {
    const revision = await bucket.create("k", new Uint8Array(1));
    const deleted = bucket.delete("k", revision!);
    let made: number | undefined;
    while (made === undefined) made = await other.create("k", new Uint8Array(2));
    await deleted;
    assertEquals((await bucket.get("k"))?.revision, made);
    await other.delete("k", made);
  }
  await connection.close();
});

/** Servers of one cluster. */
async function clustered(stack: AsyncDisposableStack, count: number): Promise<NatsServer[]> {
  const ports = Array.from({ length: count }, () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    return listener.addr.port;
  });
  const routes = ports.map((port) => `"nats://127.0.0.1:${port}"`).join();
  return await Promise.all(ports.map(async (port, nth) => {
    const scratch = stack.use(new Scratch());
    const cluster = `cluster { name: c, listen: "127.0.0.1:${port}", routes: [${routes}] }`;
    Deno.writeTextFileSync(`${scratch.path}/config`, `server_name: s${nth}\n${cluster}\n`);
    const within = ["sh", "-c", `exec "$@" --config ${scratch.path}/config`, "sh"];
    return stack.use(await NatsServer.start({ within }));
  }));
}

/** Opens a bucket once the servers have found each other. */
async function openedInCluster(
  options: NatsBucketOptions,
): Promise<Awaited<ReturnType<typeof openNatsBucket>>> {
  for (const endMs = performance.now() + 60_000;;) {
    try {
      return await openNatsBucket(options);
    } catch (error) {
      if (!(error instanceof KeyValueError) || performance.now() > endMs) throw error;
      await pause(200);
    }
  }
}

for (const [servers, replicas] of [[3, 3], [2, 1]] as const) {
  Deno.test(`a bucket in a cluster of ${servers} is kept by ${replicas}`, async () => {
    await using stack = new AsyncDisposableStack();
    const [server] = await clustered(stack, servers);
    const connection = await connect({ servers: server!.url });
    stack.defer(() => connection.close());
    const lines: string[] = [];
    const report = (line: string) => void lines.push(line);
    const bucket = await openedInCluster({ connection, bucket: "B", ttlMs: 0, report });
    const told = replicas < 3 ? ["the bucket B is kept by 1 server of NATS, and not by 3"] : [];
    assertEquals(lines.map((line) => line.split(":")[0]), told, `${lines}`);
    // Whoever asks for one is told nothing.
    await openNatsBucket({ connection, bucket: "C", ttlMs: 0, replicas: 1, report });
    assertEquals(lines.length, told.length, `${lines}`);
    const { streams } = await jetstreamManager(connection);
    assertEquals((await streams.info("KV_B")).config.num_replicas, replicas);
    const revision = await bucket.create("k", new Uint8Array(1));
    assertEquals(await bucket.update("k", new Uint8Array(1), revision! + 1), undefined);
    assert(await bucket.delete("k", revision!));
  });
}

Deno.test("a bucket with more replicas than servers is refused if they were asked for", async () => {
  await using server = await NatsServer.start();
  await using stack = new AsyncDisposableStack();
  const connection = await connect({ servers: server.url });
  stack.defer(() => connection.close());
  const error = await assertRejects(
    () => openNatsBucket({ connection, bucket: "B", ttlMs: 0, replicas: 3 }),
    UblkError,
    "make a bucket with 3 replicas: ",
  );
  assertEquals(error.code, "INVALID_ARGUMENT");
  const { streams } = await jetstreamManager(connection);
  const lines: string[] = [];
  const report = (line: string) => void lines.push(line);
  await openNatsBucket({ connection, bucket: "B", ttlMs: 0, report });
  assertEquals((await streams.info("KV_B")).config.num_replicas, 1);
  // There is no other server.
  assertEquals(lines, []);
});

Deno.test("a server that is away is an error of a bucket, in one line", async () => {
  const server = await NatsServer.start();
  const connection = await connect({ servers: server.url, maxReconnectAttempts: -1 });
  const bucket = await openNatsBucket({ connection, bucket: "B", ttlMs: 3000, timeoutMs: 2000 });
  const revision = await bucket.create("k", new Uint8Array(1));
  await server[Symbol.asyncDispose]();
  const calls = [
    () => bucket.get("k"),
    () => bucket.keys(""),
    () => bucket.watch("", () => {}),
    () => bucket.create("other", new Uint8Array(1)),
    () => bucket.update("k", new Uint8Array(1), revision!),
    () => bucket.delete("k", revision!),
  ];
  await Promise.all(calls.map(async (call) => {
    const error = await assertRejects(call, KeyValueError);
    assertStringIncludes(error.message, "see whether the NATS server can be reached");
  }));
  await connection.close();
});
