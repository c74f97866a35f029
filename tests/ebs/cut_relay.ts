/**
 * A program: passes on a controller's requests to the NATS server that only a namespace reaches, and tells
 * what becomes of the volume's claim. It makes the bucket of claims, with a short life. A line of JSON each
 * way; it ends with its stdin.
 *
 * @module
 */

import { connect } from "@nats-io/transport-node";
import { openNatsBucket } from "../../ebs/claims/nats_key_value.ts";
import { CLAIMS_BUCKET, decodeClaim } from "../../ebs/claims/record.ts";
import { thrownText } from "../../uapi/error.ts";
import type { RelayLine, RelayRequest } from "./cut_controller.ts";
import { linesOf } from "./cut_program.ts";

const { nats, ttlMs } = JSON.parse(Deno.args[0]!);
const print = (line: RelayLine) => console.log(JSON.stringify(line));

const connection = await connect({ servers: nats, maxReconnectAttempts: -1 });
const bucket = await openNatsBucket({ connection, bucket: CLAIMS_BUCKET, ttlMs });
let claim: ReturnType<typeof decodeClaim> | undefined;
await bucket.watch("", ({ entry }) => {
  const before = claim;
  claim = entry && decodeClaim(entry.value);
  if (claim !== undefined) {
    print({ node: claim.owner, event: claim.nonce === before?.nonce ? "renewing" : "opening" });
  } else if (before !== undefined) print({ node: before.owner, event: "releasing" });
});

async function pass({ id, subject, body, timeoutMs }: RelayRequest): Promise<void> {
  try {
    const answer = await connection.request(subject, JSON.stringify(body), { timeout: timeoutMs });
    print({ id, answer: answer.json() });
  } catch (error) {
    print({ id, error: thrownText(error) });
  }
}

print({});
for await (const line of linesOf(Deno.stdin.readable)) void pass(JSON.parse(line));
Deno.exit(0);
