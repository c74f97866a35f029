/**
 * What is to be of all volumes, in a bucket of JetStream.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { MACHINE } from "../../volume/seam.ts";
import { openNatsBucket } from "../claims/nats_key_value.ts";
import { WANTED_BUCKET, WantedVolumes } from "./wanted.ts";

/**
 * Opens the bucket of what is to be, and makes it if it is missing. The connection stays the caller's.
 *
 * @throws {KeyValueError} if the server cannot be reached, or has no JetStream.
 * @param replicas Servers that keep the bucket, if it has to be made; by default 3 in a cluster of so
 *   many, else 1.
 * @param report Takes a line for the log if fewer servers keep it than are wished for.
 * @throws {UblkError} `INVALID_ARGUMENT` if entries of the bucket run out, or if there are not as many
 *   servers as replicas.
 */
export async function openWanted(
  connection: NatsConnection,
  replicas?: number,
  report?: (line: string) => void,
): Promise<WantedVolumes> {
  const terms = { connection, bucket: WANTED_BUCKET, ttlMs: 0, replicas, report };
  const bucket = await openNatsBucket(terms);
  return new WantedVolumes({ bucket, clock: () => MACHINE.clock() });
}
