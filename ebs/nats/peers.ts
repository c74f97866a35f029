/**
 * Finds out by NATS whether a node is there.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { thrownText } from "../../uapi/error.ts";
import type { Peers } from "../peers.ts";

/** How long a node may take to answer, in milliseconds. */
const ANSWER_MS = 2000;

type Asked = Pick<NatsConnection, "request">;

function askStatus(connection: Asked, node: string): Promise<unknown> {
  return connection.request(`ebs.${node}.status`, "{}", { timeout: ANSWER_MS });
}

/**
 * Whether somebody answers to a node's name. A machine that has just gone does not, though its server of
 * NATS may take it for one that is there.
 */
export async function isAnswered(connection: Asked, node: string): Promise<boolean> {
  try {
    await askStatus(connection, node);
    return true;
  } catch {
    return false;
  }
}

/** The nodes that are connected to the same servers. */
export function natsPeers(connection: Asked): Peers {
  return {
    async isThere(node) {
      try {
        await askStatus(connection, node);
        return true;
      } catch (error) {
        // A node that is slow is there. That nobody listens, the server says at once.
        return !isNobody(error);
      }
    },
  };
}

/** Whether a request failed because nobody listens at its subject. */
export function isNobody(error: unknown): boolean {
  return /no responders/.test(thrownText(error));
}
