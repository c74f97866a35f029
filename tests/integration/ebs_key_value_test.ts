/** Buckets of a real NATS server against the checks that the ones in memory pass. */

import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connect } from "@nats-io/transport-node";
import { checkKeyValueConformance } from "../../ebs/claims/conformance.ts";
import { KeyValueError } from "../../ebs/claims/key_value.ts";
import { openNatsBucket } from "../../ebs/claims/nats_key_value.ts";
import { UblkError } from "../../uapi/error.ts";
import { NatsServer } from "../ebs/nats_server.ts";

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
