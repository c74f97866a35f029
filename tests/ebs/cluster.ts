/**
 * Nodes of a cluster in this process, with a real server of NATS between them and their clients.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { NatsConnection } from "@nats-io/transport-node";
import { isSocketAftermath } from "../../ebs/nats/aftermath.ts";
import { connectNats, type NatsTerms } from "../../ebs/nats/connect.ts";
import { natsPeers } from "../../ebs/nats/peers.ts";
import { EbsServer } from "../../ebs/nats/server.ts";
import type { EbsService } from "../../ebs/service.ts";
import { Bed, type BedParts } from "./bed.ts";
import { NatsServer, type NatsServerOptions } from "./nats_server.ts";

// As the command does.
addEventListener("error", (event) => {
  if (isSocketAftermath(event.error)) event.preventDefault();
});

/** The body of an answer. */
// deno-lint-ignore no-explicit-any
export type Body = any;

/** A node. */
export interface ClusterNode {
  readonly service: EbsService;
  readonly server: EbsServer;
  readonly connection: NatsConnection;
}

/** A cluster. */
export class Cluster implements AsyncDisposable {
  readonly bed: Bed;
  readonly nats: Pick<NatsServer, "url">;
  readonly client: NatsConnection;
  readonly lines: string[] = [];
  readonly #nodes: ClusterNode[] = [];
  #own: NatsServer | undefined;

  private constructor(bed: Bed, nats: Pick<NatsServer, "url">, client: NatsConnection) {
    this.bed = bed;
    this.nats = nats;
    this.client = client;
  }

  /** Starts one without nodes. */
  static async start(
    options: NatsServerOptions = {},
    terms: Partial<NatsTerms> = {},
  ): Promise<Cluster> {
    const nats = await NatsServer.start(options);
    const cluster = await Cluster.at(nats, terms);
    cluster.#own = nats;
    return cluster;
  }

  /** Starts one without nodes around a server of the caller's. */
  static async at(
    nats: Pick<NatsServer, "url">,
    terms: Partial<NatsTerms> = {},
  ): Promise<Cluster> {
    const bed = await Bed.make();
    const client = await connectNats({ servers: [nats.url], name: "client", ...terms });
    return new Cluster(bed, nats, client);
  }

  /** Starts a node. */
  async node(
    name: string,
    { answerMs, ...parts }: BedParts & { readonly answerMs?: number } = {},
    terms: Partial<NatsTerms> = {},
  ): Promise<ClusterNode> {
    const connection = await connectNats({ servers: [this.nats.url], name, ...terms });
    const service = this.bed.node(name, { peers: natsPeers(connection), ...parts });
    const report = (line: string) => void this.lines.push(line);
    const server = await EbsServer.start({
      ...{ connection, service, version: "1.2.3", zone: "zone", access: "unix", report },
      answerMs,
    });
    const node = { connection, service, server };
    this.#nodes.push(node);
    return node;
  }

  /** Asks, with a body that is JSON or is to become JSON. */
  async ask(subject: string, body: unknown = {}): Promise<Body> {
    const data = typeof body === "string" || body instanceof Uint8Array
      ? body
      : JSON.stringify(body);
    return (await this.client.request(subject, data, { timeout: 30_000 })).json();
  }

  /** Asks by the provider's contract, whose version every body has. */
  async provider(subject: string, body: object = {}): Promise<Body> {
    const answer = await this.ask(`ebs.provider.v1.${subject}`, { schema_version: 1, ...body });
    assertEquals(answer.schema_version, 1);
    return answer;
  }

  /** The answers of all nodes at a subject of the micro-service, by the node's name. */
  async all(subject: string): Promise<Map<string, Body>> {
    const bodies = new Map<string, Body>();
    const answers = await this.client.requestMany(subject, "", {
      ...{ strategy: "count", maxMessages: this.#nodes.length, maxWait: 10_000 },
    });
    for await (const message of answers) {
      const body: Body = message.json();
      bodies.set(body.metadata.node, body);
    }
    return bodies;
  }

  /** How many requests each node has had at a subject. */
  async requests(subject: string): Promise<number[]> {
    const stats = [...(await this.all("$SRV.STATS.ublk-ebs")).values()];
    return stats.map(({ endpoints }) =>
      endpoints.find((one: Body) => one.subject === subject).num_requests
    );
  }

  /** The next message at a subject, once it is there. */
  next(subject: string): Promise<Body> {
    const { promise, resolve } = Promise.withResolvers<Body>();
    this.client.subscribe(subject, { max: 1, callback: (_, message) => resolve(message.json()) });
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { server, service, connection } of this.#nodes) {
      await server[Symbol.asyncDispose]();
      await service.end();
      await connection.close();
    }
    await this.client.close();
    await this.#own?.[Symbol.asyncDispose]();
    await this.bed[Symbol.asyncDispose]();
  }
}
