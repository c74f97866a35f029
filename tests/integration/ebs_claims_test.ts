/** Claims in a bucket of a real NATS server. What can happen to them is in `ebs/claims/claims_test.ts`. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { openNatsBucket } from "../../ebs/claims/nats_key_value.ts";
import { openClaims } from "../../ebs/claims/open.ts";
import { CLAIMS_BUCKET, decodeClaim } from "../../ebs/claims/record.ts";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { NatsServer } from "../ebs/nats_server.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const TTL_MS = 4000;
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

Deno.test("claims over NATS: one has it, renews it, releases it, loses it with the server", async () => {
  const server = await NatsServer.start();
  const connection = await connect({ servers: server.url, maxReconnectAttempts: -1 });
  // A bucket that is there keeps its life.
  const bucket = await openNatsBucket({ connection, bucket: CLAIMS_BUCKET, ttlMs: TTL_MS });
  using a = (await openClaims({ connection, node: "a" }))!;
  using b = (await openClaims({ connection, node: "b" }))!;
  assertEquals(a.terms.claimTtlSeconds, TTL_MS / 1000);
  const first = await a.claim("vol-1");
  await pause(2.5 * TTL_MS);
  assert(first.isHeld, "it is renewed");
  const error = await assertRejects(() => b.claim("vol-1"), UblkError);
  assertEquals(error.code, "VOLUME_BUSY");
  assertEquals(decodeClaim((await bucket.get("vol-1"))!.value).owner, "a");
  await first.release();
  const second = await b.claim("vol-1");
  assert(second.generation > first.generation);
  await server[Symbol.asyncDispose]();
  assertEquals(await second.lost, "it could not be renewed in time");
  await connection.close();
});

Deno.test("claims over NATS: a bucket that is deleted under its nodes is made again, and loses nothing", async () => {
  await using server = await NatsServer.start();
  const connection = await connect({ servers: server.url });
  await openNatsBucket({ connection, bucket: CLAIMS_BUCKET, ttlMs: TTL_MS });
  using a = (await openClaims({ connection, node: "a" }))!;
  using b = (await openClaims({ connection, node: "b" }))!;
  const held = [await a.claim("vol-1"), await a.claim("vol-2"), await b.claim("vol-3")];
  const { streams } = await jetstreamManager(connection);
  const stream = `KV_${CLAIMS_BUCKET}`;
  for (let round = 0; round < 2; round++) {
    await streams.delete(stream);
    // All of them have been due by then, and have outlived their renewal of before.
    await pause(TTL_MS * 1.25);
    assertEquals(held.map(({ isHeld }) => isHeld), [true, true, true]);
    assertEquals((await b.holder("vol-1"))?.owner, "a");
    assertEquals((await a.holder("vol-3"))?.owner, "b");
  }
  assertEquals((await streams.info(stream)).config.max_age, TTL_MS * 1e6, "with its own life");
  const error = await assertRejects(() => b.claim("vol-2"), UblkError);
  assertEquals(error.code, "VOLUME_BUSY");
  await streams.delete(stream);
  assert((await a.claim("vol-4")).isHeld, "a first claim makes the bucket, too");
  await connection.close();
});

Deno.test("a server without JetStream has no claims", async () => {
  await using server = await NatsServer.start({ jetStream: false });
  const connection = await connect({ servers: server.url });
  assertEquals(await openClaims({ connection, node: "a" }), undefined);
  await connection.close();
});
