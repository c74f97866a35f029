/**
 * Claims of a node in a bucket of JetStream.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { MACHINE } from "../../volume/seam.ts";
import { Claims } from "./claims.ts";
import { KeyValueError } from "./key_value.ts";
import { openNatsBucket } from "./nats_key_value.ts";
import { CLAIM_TTL_MS, CLAIMS_BUCKET } from "./record.ts";

/** Options of {@linkcode openClaims}. */
export interface OpenClaimsOptions {
  /** The connection, which stays the caller's. */
  readonly connection: NatsConnection;
  /** The node's name, which no other has. */
  readonly node: string;
  /**
   * Servers that keep the bucket, if it has to be made: 5 at most.
   *
   * @default 3 in a cluster of so many, else 1
   */
  readonly replicas?: number;
  /**
   * Takes a line for the log if fewer servers keep the bucket than are wished for.
   *
   * @default Nobody is told
   */
  readonly report?: (line: string) => void;
}

/**
 * Opens the bucket of claims, and makes it if it is missing. One that is there keeps the life of its
 * entries.
 *
 * @returns Undefined if the server has no JetStream: then the stores of volumes alone say who has them.
 * @throws {KeyValueError} if the server cannot be reached.
 * @throws {UblkError} `INVALID_ARGUMENT` if entries of the bucket live for ever, or if
 *   there are not as many servers as replicas.
 */
export async function openClaims(options: OpenClaimsOptions): Promise<Claims | undefined> {
  const { connection, node, replicas, report } = options;
  const terms = { connection, replicas, report, bucket: CLAIMS_BUCKET, ttlMs: CLAIM_TTL_MS };
  try {
    return new Claims({ bucket: await openNatsBucket(terms), node, seam: MACHINE });
  } catch (error) {
    if (error instanceof KeyValueError && isWithoutJetStream(error.cause)) return undefined;
    throw error;
  }
}

function isWithoutJetStream(cause: unknown): boolean {
  return cause instanceof Error && cause.name === "JetStreamNotEnabled";
}
