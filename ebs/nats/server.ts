/**
 * Serves the dialects over NATS.
 *
 * Every request is answered, whatever it is: by a result, or by an error with a code. Requests about a
 * volume that another node has mounted are passed on to that node, by subjects of our own:
 *
 * ```
 * ebs.owner.{volume}    to the node that has the volume mounted
 * ebs.node.{node}       to a node
 * ```
 *
 * They carry the request as it came, and its subject in a header.
 *
 * @module
 */

import type { Msg, NatsConnection, Subscription } from "@nats-io/transport-node";
import { thrownText } from "../../uapi/error.ts";
import type { Context, Row } from "../dialects/dialect.ts";
import { EC2_ROWS } from "../dialects/ec2.ts";
import { PLATFORM_ROWS } from "../dialects/platform.ts";
import { OWNER_ROWS, PROVIDER_ROWS } from "../dialects/provider.ts";
import { EbsError, ebsErrorOf } from "../error.ts";
import { decodeJson } from "../json.ts";
import { isId, isNodeName } from "../names.ts";
import type { EbsService } from "../service.ts";
import { ANSWERS, type Endpoint, endpointOf, type Told, type Verb, verbSubjects } from "./micro.ts";
import { isNobody } from "./peers.ts";
import { STATUS_ROW } from "./status_row.ts";

/** The queue group of all nodes. */
export const QUEUE_GROUP = "spinifex-workers";
/** How long a request may take before it is answered that it is still at work, in milliseconds. */
const ANSWER_MS = 25_000;
/** The answer to a request that takes longer. */
const STILL_AT_WORK = new EbsError("unavailable", "still at work; ask again for the result");
/** How long another node has to answer what is passed on: a little more. */
const PASSED_ON_MS = 27_000;
/** For so much longer an answer of another node is waited for than one of this node. */
const LONGER_MS = 2_500;
/** How long what nobody asks for again is published again if the connection breaks, in milliseconds. */
const PUBLISH_MS = 60_000;
/** The header with the subject of a request that is passed on. */
const SUBJECT_HEADER = "Ublk-Subject";
/** Bytes of the headers of such a request, without the subject: their version, its name, line breaks. */
const HEADER_BYTES = "NATS/1.0\r\n".length + `${SUBJECT_HEADER}: \r\n\r\n`.length;
/** Most bytes of a message if the server tells nothing. */
const MOST_BYTES = 1 << 20;

/** All rows but those of owners. */
export const ROWS: readonly Row[] = [...PROVIDER_ROWS, ...PLATFORM_ROWS, ...EC2_ROWS, STATUS_ROW];

/** The parts of an {@linkcode EbsServer}. */
export interface ServerParts {
  readonly connection: NatsConnection;
  readonly service: EbsService;
  /** The version of this package. */
  readonly version: string;
  readonly zone: string | undefined;
  /** The access that a mount has if none is asked for. */
  readonly access: "unix" | "tcp";
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
  /**
   * How long a request may take, in milliseconds.
   *
   * @default 25_000
   */
  readonly answerMs?: number;
}

/** A row at a subject. */
interface Served {
  readonly row: Row;
  readonly endpoint: Endpoint;
}

/** Serves a node's service. */
export class EbsServer implements AsyncDisposable {
  readonly #parts: ServerParts;
  readonly #context: Context;
  readonly #served: readonly Served[];
  readonly #owners: Served[];
  /** The subscriptions for each volume that is mounted here. */
  readonly #ownerSubscriptions = new Map<string, readonly Subscription[]>();
  readonly #subscriptions: Subscription[] = [];
  readonly #underWay = new Set<Promise<void>>();

  private constructor(parts: ServerParts) {
    const { service, zone, access } = parts;
    this.#parts = parts;
    this.#context = {
      ...{ service, zone, access },
      // Another server may take more, or less.
      get mostBytes() {
        return mostBytesOf(parts.connection);
      },
      publish: (subject, body) => this.#publish(subject, body),
      later: (work) => this.#track(work),
    };
    const served = (row: Row) => {
      const subject = row.subject.replace("{node}", service.node).replace("{volume}", "*");
      return { row, endpoint: endpointOf(subject, QUEUE_GROUP, row.does) };
    };
    this.#served = ROWS.map(served);
    this.#owners = OWNER_ROWS.map(served);
  }

  /** Begins to serve: resolves once requests arrive. */
  static async start(parts: ServerParts): Promise<EbsServer> {
    const server = new EbsServer(parts);
    server.#start();
    await parts.connection.flush();
    return server;
  }

  #start(): void {
    const { service } = this.#parts;
    const open = this.#subscriptions;
    for (const served of this.#served) {
      open.push(this.#listen(served.endpoint.subject, QUEUE_GROUP, (message) => {
        this.#track(this.#answer(served, message, message.subject, false));
      }));
    }
    open.push(this.#listen(`ebs.node.${service.node}`, QUEUE_GROUP, (one) => this.#passedOn(one)));
    const id = crypto.randomUUID().replaceAll("-", "");
    const told: Told = {
      ...{ id, version: this.#parts.version, started: service.started },
      metadata: { node: service.node },
      endpoints: this.#served.map(({ endpoint }) => endpoint),
    };
    for (const [verb, answerOf] of Object.entries(ANSWERS)) {
      for (const subject of verbSubjects(verb as Verb, id)) {
        open.push(this.#listen(subject, undefined, (one) => this.#respond(one, answerOf(told))));
      }
    }
    service.mounts.watch({
      mounted: ({ volume, readOnly }) => readOnly || this.#own(volume),
      unmounted: (volume) => this.#disown(volume),
    });
  }

  #listen(subject: string, queue: string | undefined, take: (message: Msg) => void): Subscription {
    const { connection, report } = this.#parts;
    return connection.subscribe(subject, {
      ...queue !== undefined && { queue },
      callback(error, message) {
        // Who may not listen at a subject serves the others all the same.
        if (error) report(`${subject}: ${error.message}`);
        else take(message);
      },
    });
  }

  /** Takes requests about a volume that is mounted here. */
  #own(volume: string): void {
    if (this.#ownerSubscriptions.has(volume) || this.#parts.connection.isClosed()) return;
    const passed = this.#listen(`ebs.owner.${volume}`, undefined, (one) => this.#passedOn(one));
    const asked = this.#owners.map((served) =>
      this.#listen(served.endpoint.subject.replace("*", volume), undefined, (message) => {
        this.#track(this.#answer(served, message, message.subject, true));
      })
    );
    this.#ownerSubscriptions.set(volume, [passed, ...asked]);
  }

  #disown(volume: string): void {
    for (const subscription of this.#ownerSubscriptions.get(volume) ?? []) {
      // Not unsubscribed: what the server of NATS had sent already got no answer.
      if (!subscription.isClosed()) void subscription.drain().catch(() => {});
    }
    this.#ownerSubscriptions.delete(volume);
  }

  /** A request that another node has passed on. */
  #passedOn(message: Msg): void {
    const subject = message.headers?.get(SUBJECT_HEADER) ?? "";
    const served = this.#served.find(({ endpoint }) => matches(endpoint.subject, subject));
    if (served !== undefined) {
      this.#track(this.#answer(served, message, subject, true));
      return;
    }
    const words = `there is no subject ${JSON.stringify(subject.slice(0, 100))} here`;
    this.#respond(message, { error: { code: "invalid_argument", message: words } });
  }

  /** Answers a request. Never rejects. @param isDirect It is not to be passed on. */
  async #answer(
    { row, endpoint }: Served,
    message: Msg,
    subject: string,
    isDirect: boolean,
  ): Promise<void> {
    const startedMs = performance.now();
    endpoint.requests++;
    let body: object = {};
    const refusalOf = (error: unknown) => {
      const refused = ebsErrorOf(error);
      if (refused.code === "internal") this.#parts.report(`${subject}: ${refused.message}`);
      endpoint.lastError = `${refused.code}: ${refused.message}`;
      return row.refuse(refused, body as Record<string, unknown>);
    };
    let isBegun = false;
    let isLate = false;
    try {
      body = decodeJson(message.data);
      const request = row.read(body, subject);
      const passed = isDirect
        ? undefined
        : await this.#inTime(this.#passOn(row, request, message, startedMs), startedMs + LONGER_MS);
      if (passed !== undefined) this.#send(message, passed.data);
      else {
        const work = row.run(this.#context, request);
        isBegun = true;
        // It goes on, also if nobody waits for it, and the next request finds what has become of it.
        this.#track(work.then(
          (answer) => void (isLate && this.#announce(row, answer)),
          (error) => void (isLate && this.#announce(row, refusalOf(error))),
        ));
        const answer = await this.#inTime(work, startedMs);
        this.#checkAnswer(answer);
        this.#respond(message, answer);
        this.#announce(row, answer);
      }
    } catch (error) {
      endpoint.errors++;
      isLate = isBegun && error === STILL_AT_WORK;
      const refusal = refusalOf(error);
      this.#respond(message, refusal);
      // Late work announces its own result once it ends.
      if (!isLate) this.#announce(row, refusal);
    } finally {
      endpoint.processedMs += performance.now() - startedMs;
    }
  }

  /** An answer that the server of NATS does not take would be none. @throws {EbsError} */
  #checkAnswer(answer: object): void {
    const bytes = bytesOf(JSON.stringify(answer));
    const most = this.#context.mostBytes;
    if (bytes <= most) return;
    const words =
      `the answer has ${bytes} bytes, and messages ${most} at most; ask for less at a time`;
    throw new EbsError("invalid_argument", words);
  }

  /** Tells everybody who listens how a request has ended, if it is one of that kind. */
  #announce({ announces }: Row, body: object): void {
    if (announces !== undefined) this.#publish(announces, body);
  }

  /** The answer of a node that is to answer instead; undefined if this one is, or there is none. */
  async #passOn(
    row: Row,
    request: unknown,
    message: Msg,
    sinceMs: number,
  ): Promise<Msg | undefined> {
    const { connection, service } = this.#parts;
    const { volume, node } = await row.destination(request, service);
    const isHere = node === service.node ||
      volume !== undefined && service.mounts.get(volume)?.readOnly === false;
    if (isHere || node === undefined && volume === undefined) return undefined;
    if (node !== undefined && !isNodeName(node)) {
      throw new EbsError("invalid_argument", `there can be no node ${JSON.stringify(node)}`);
    }
    const { headers } = await import("@nats-io/transport-node");
    const header = headers();
    header.set(SUBJECT_HEADER, message.subject);
    const most = mostBytesOf(connection) - HEADER_BYTES - bytesOf(message.subject);
    if (message.data.length > most) {
      const words = `${message.data.length} bytes are too many for a request that is passed on`;
      throw new EbsError("invalid_argument", `bad request: ${words}; ${most} at most`);
    }
    const leftMs = sinceMs + PASSED_ON_MS - performance.now();
    try {
      return await connection.request(
        node === undefined ? `ebs.owner.${volume}` : `ebs.node.${node}`,
        message.data,
        { headers: header, timeout: Math.max(1, leftMs) },
      );
    } catch (error) {
      if (isNobody(error) && node === undefined) return undefined;
      const who = node === undefined ? `the node that has volume ${volume}` : `node ${node}`;
      throw new EbsError("unavailable", `${who} does not answer; try again later`);
    }
  }

  /** Waits for work, but not for longer than its client does, who has waited since a moment. */
  async #inTime<T>(work: Promise<T>, sinceMs: number): Promise<T> {
    const { answerMs = ANSWER_MS } = this.#parts;
    const leftMs = Math.max(0, sinceMs + answerMs - performance.now());
    let timer: ReturnType<typeof setTimeout> | undefined;
    const overdue = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(STILL_AT_WORK), leftMs);
    });
    try {
      return await Promise.race([work, overdue]);
    } finally {
      clearTimeout(timer);
    }
  }

  #respond(message: Msg, body: object): void {
    this.#send(message, JSON.stringify(body));
  }

  /** The only way by which an answer leaves, whoever has made it. */
  #send({ reply }: Msg, data: string | Uint8Array): void {
    // The answer would be a request: nobody may make one in our name.
    if (reply === undefined || /^(ebs\.|\$)/.test(reply)) return;
    this.#publishData(reply, data);
  }

  #publish(subject: string, body: unknown): void {
    void this.#publishSurely(subject, JSON.stringify(body));
  }

  /**
   * Publishes what nobody asks for again, until a server has it; it may have it twice then. The client
   * forgets what was published before it dials anew, so the end of a snapshot that came just then was told
   * to nobody.
   */
  async #publishSurely(subject: string, data: string): Promise<void> {
    const { connection, report } = this.#parts;
    const endMs = performance.now() + PUBLISH_MS;
    while (this.#publishData(subject, data)) {
      try {
        return await connection.flush();
      } catch (error) {
        // This comes when the client dials anew, or when it is closed.
        if (performance.now() > endMs) return report(`${subject}: ${thrownText(error)}`);
      }
    }
  }

  /** @returns Whether the client has it. */
  #publishData(subject: string, data: string | Uint8Array): boolean {
    const { connection, report } = this.#parts;
    try {
      connection.publish(subject, data);
      return true;
    } catch (error) {
      report(`${subject}: ${thrownText(error)}`);
      return false;
    }
  }

  #track(work: Promise<void>): void {
    this.#underWay.add(work);
    void work.finally(() => this.#underWay.delete(work));
  }

  /**
   * Takes no more requests, and answers those that have come. What then still waits for the store goes
   * on without anybody who asks. The connection stays.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const volume of [...this.#ownerSubscriptions.keys()]) this.#disown(volume);
    const open = this.#subscriptions.filter((one) => !one.isClosed());
    // A server of NATS that does not answer drains nothing: that has its time too.
    const done = Promise.allSettled(open.map((one) => one.drain()))
      .then(() => Promise.all(this.#underWay));
    let timer: ReturnType<typeof setTimeout> | undefined;
    const overdue = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.#parts.answerMs ?? ANSWER_MS);
    });
    await Promise.race([done, overdue]);
    clearTimeout(timer);
  }
}

/** Most bytes of a message with its headers. */
function mostBytesOf({ info }: NatsConnection): number {
  return info?.max_payload ?? MOST_BYTES;
}

function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** Whether a subject is one of a pattern's. */
function matches(pattern: string, subject: string): boolean {
  const [wanted, given] = [pattern.split("."), subject.split(".")];
  return wanted.length === given.length &&
    wanted.every((part, at) => part === given[at] || part === "*" && isId(given[at]));
}
