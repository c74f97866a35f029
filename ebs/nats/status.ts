/**
 * Asks all nodes what they have, and the store what volumes there are.
 *
 * @module
 */

import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { thrownText, UblkError } from "../../uapi/error.ts";
import { decodeJson } from "../json.ts";
import { checked, v } from "../schema.ts";
import { SERVICE_NAME } from "./micro.ts";
import { isNobody } from "./peers.ts";
import { NODE_STATUS, type NodeStatus } from "./status_row.ts";

/** How long nodes are waited for, in milliseconds. */
const NODES_MS = 2000;
/** How long is waited for another node after one has answered, in milliseconds. */
const SILENCE_MS = 300;
/** How long an answer is waited for, in milliseconds. */
const ANSWER_MS = 10_000;

const PING = v.object({ version: v.string(), metadata: v.object({ node: v.string() }) });

const ATTACHMENT = v.object({
  VolumeId: v.string(),
  InstanceId: v.optional(v.string()),
  Device: v.optional(v.string()),
  NodeId: v.string(),
  NodeState: v.optional(v.string()),
  ReadOnly: v.boolean(),
  NbdUri: v.optional(v.string()),
  DevicePath: v.optional(v.string()),
});

const VOLUME = v.object({
  VolumeId: v.string(),
  Size: v.number(),
  State: v.string(),
  Encrypted: v.boolean(),
  AvailabilityZone: v.optional(v.string()),
  SnapshotId: v.optional(v.string()),
  Attachments: v.array(ATTACHMENT),
});

const PAGE = v.object({
  Volumes: v.array(VOLUME),
  NextToken: v.optional(v.string()),
});

const REFUSAL = v.object({ Error: v.object({ Message: v.string() }) });

/** A node. */
export interface Node extends Partial<NodeStatus> {
  readonly node: string;
  readonly version: string;
}

/** What there is. */
export interface Status {
  /** The nodes, sorted. One that answers no further question has only its name. */
  readonly nodes: readonly Node[];
  /** The volumes, sorted, in EC2's words. */
  readonly volumes: readonly v.InferOutput<typeof VOLUME>[];
}

/** Asks. @throws {UblkError} If nobody answers. */
export async function statusOf(connection: NatsConnection): Promise<Status> {
  const nodes = new Map<string, Node>();
  const answers = await connection.requestMany(`$SRV.PING.${SERVICE_NAME}`, "", {
    ...{ strategy: "stall", maxWait: NODES_MS, stall: SILENCE_MS },
  });
  try {
    for await (const message of answers) {
      const { version, metadata: { node } } = read(PING, message);
      nodes.set(node, { node, version });
    }
  } catch (error) {
    // Otherwise nobody listens, and that is told below.
    if (!isNobody(error)) throw error;
  }
  if (nodes.size === 0) {
    throw new UblkError("SYSCALL_FAILED", {
      operation: "ask the nodes",
      reason: "no service answers",
      hint: "start one: ublk-ebs serve",
    });
  }
  const known = await Promise.all([...nodes.values()].map(async (node): Promise<Node> => {
    try {
      const message = await ask(connection, `ebs.${node.node}.status`, {});
      return { ...node, ...read(NODE_STATUS, message) };
    } catch {
      return node;
    }
  }));
  const volumes: v.InferOutput<typeof VOLUME>[] = [];
  for (let NextToken = "";;) {
    const message = await ask(connection, "ebs.describevolumes", { NextToken });
    const page = read(PAGE, message);
    volumes.push(...page.Volumes);
    if (page.NextToken === undefined) break;
    NextToken = page.NextToken;
  }
  return { nodes: known.sort((one, two) => one.node < two.node ? -1 : 1), volumes };
}

async function ask(connection: NatsConnection, subject: string, body: object): Promise<Msg> {
  try {
    return await connection.request(subject, JSON.stringify(body), { timeout: ANSWER_MS });
  } catch (error) {
    const operation = `ask at ${subject}`;
    const hint = "see the log of the nodes";
    throw new UblkError("SYSCALL_FAILED", { operation, reason: thrownText(error), hint });
  }
}

function read<S extends v.GenericSchema>(schema: S, message: Msg): v.InferOutput<S> {
  const body = decodeJson(message.data);
  if (v.is(REFUSAL, body)) {
    throw new UblkError("SYSCALL_FAILED", {
      operation: "ask the nodes",
      reason: body.Error.Message,
      hint: "see the log of the nodes",
    });
  }
  return checked(schema, body, "an answer");
}
