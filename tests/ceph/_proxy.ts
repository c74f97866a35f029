/**
 * A proxy before a store in S3 that delays, cuts, corrupts and repeats what goes through it.
 *
 * Bytes of ranges are not corrupted: nothing but the sums of the volume's own blocks finds that, and
 * they make it an error of the reader, which is right and no subject here.
 *
 * @module
 */

import type { Dice } from "../../uapi/dice.ts";
import { encodeMessage, type HttpMessage, HttpReader, writeAll } from "../../store/s3/wire.ts";

/** A fault of one request. */
export type ProxyFault =
  /** Request and answer take their time. */
  | "delay"
  /** The request never arrives. */
  | "cut before"
  /** It is carried out, and no answer comes. */
  | "cut after"
  /** It is carried out, and half of the answer comes. */
  | "cut within"
  /** The connection breaks off, and the request arrives later. */
  | "late"
  /** A bit of the request's body is flipped. */
  | "corrupt request"
  /** A bit of the answer's body is flipped, if it is a whole object. */
  | "corrupt answer"
  /** The request arrives twice. The second answer counts. */
  | "twice";

/** All faults. */
export const PROXY_FAULTS: readonly ProxyFault[] = [
  ...["delay", "cut before", "cut after", "cut within", "late"] as const,
  ...["corrupt request", "corrupt answer", "twice"] as const,
];

/** A proxy. */
export class Proxy implements AsyncDisposable {
  /** Decides which requests have a fault. */
  faults: (() => ProxyFault | undefined) | undefined = undefined;
  /** Faults by their numbers so far. */
  readonly counts = new Map<ProxyFault, number>();
  /** The URL. */
  readonly endpoint: string;
  readonly #upstream: URL;
  readonly #dice: Dice;
  readonly #listener: Deno.TcpListener;
  readonly #connections = new Set<Deno.Conn>();
  readonly #work = new Set<Promise<void>>();

  /** Listens at an address of this machine before the store at a URL. */
  constructor(upstream: string, dice: Dice, hostname = "127.0.0.1") {
    this.#upstream = new URL(upstream);
    this.#dice = dice;
    this.#listener = Deno.listen({ hostname, port: 0 });
    this.endpoint = `http://${hostname}:${this.#listener.addr.port}`;
    this.#spawn(this.#accept());
  }

  /** Ends it. What is late still arrives before. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) this.#close(connection);
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  #spawn(work: Promise<void>): void {
    this.#work.add(work);
    void work.finally(() => this.#work.delete(work));
  }

  async #accept(): Promise<void> {
    try {
      for await (const connection of this.#listener) {
        this.#connections.add(connection);
        this.#spawn(this.#serve(connection));
      }
    } catch {
      // It was closed.
    }
  }

  async #serve(connection: Deno.Conn): Promise<void> {
    const reader = new HttpReader(connection);
    for (;;) {
      const request = await reader.next();
      if (request === undefined || !await this.#pass(connection, request)) break;
    }
    this.#close(connection);
  }

  #close(connection: Deno.Conn): void {
    if (this.#connections.delete(connection)) connection.close();
  }

  /** @returns Whether the connection goes on. */
  async #pass(connection: Deno.Conn, request: HttpMessage): Promise<boolean> {
    const fault = this.faults?.();
    if (fault !== undefined) this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1);
    if (fault === "cut before") return false;
    if (fault === "late") {
      this.#spawn(pause(200 + this.#dice.draw(1500)).then(() => this.#ask(request)).then(() => {}));
      return false;
    }
    if (fault === "delay") await pause(this.#dice.draw(400));
    const sent = fault === "corrupt request" ? this.#flipped(request) : request;
    if (fault === "twice") await this.#ask(sent);
    const answer = await this.#ask(sent);
    if (answer === undefined || fault === "cut after") return false;
    const isWhole = answer.start.includes(" 200 ") && answer.headers.has("etag");
    const returned = fault === "corrupt answer" && isWhole ? this.#flipped(answer) : answer;
    const bytes = encodeMessage(returned);
    if (fault !== "cut within") return await writeAll(connection, bytes);
    await writeAll(connection, bytes.subarray(0, bytes.length >> 1));
    return false;
  }

  /** Sends a request to the store; undefined if no answer comes. */
  async #ask(request: HttpMessage): Promise<HttpMessage | undefined> {
    const { hostname, port } = this.#upstream;
    try {
      using upstream = await Deno.connect({ hostname, port: Number(port) });
      await writeAll(upstream, encodeMessage(request));
      return await new HttpReader(upstream).next(!request.start.startsWith("HEAD "));
    } catch {
      return undefined;
    }
  }

  #flipped({ start, headers, body }: HttpMessage): HttpMessage {
    const flipped = body.slice();
    if (flipped.length > 0) flipped[this.#dice.draw(flipped.length)] ^= 1 << this.#dice.draw(8);
    return { start, headers, body: flipped };
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
