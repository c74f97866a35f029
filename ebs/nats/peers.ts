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

/** The nodes that are connected to the same servers. */
export function natsPeers(connection: Pick<NatsConnection, "request">): Peers {
  return {
    async isThere(node) {
      try {
        await connection.request(`ebs.${node}.status`, "{}", { timeout: ANSWER_MS });
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
