/**
 * One signed request to a bucket, and its whole answer. Neither tries again, nor judges the answer.
 *
 * `aws4fetch` signs, `fetch` sends. A request that changes something has a connection of its own: on one
 * that was used before, Deno sends a request a second time if the connection breaks off, even if a part
 * of the answer has come. The body is not part of the signature, because SHA-256 takes
 * longer than the rest of a request: a signed CRC-32 of it is.
 *
 * @module
 */

import { printable, shortened } from "../../uapi/printable.ts";
import { Pace } from "../pace.ts";
import { StoreError } from "../store.ts";
import type { CredentialSource, S3Credentials } from "./credentials.ts";
import type { S3Place } from "./place.ts";
import { Slots } from "../slots.ts";

/**
 * A body of fewer bytes never waits for the limit of bandwidth: a lease is renewed by one, and an
 * answer about many may be what somebody else waits for.
 */
const SMALL_BYTES = 1 << 15;
/** Time in which an answer must begin, and then go on, in milliseconds. */
const ANSWER_MS = 20_000;
/** The slowest line on which a body may be sent, in bytes per millisecond. */
const SLOWEST = 64;
/** A body that comes more slowly is given up, though it moves: 1 MiB in some four minutes. */
const DRIBBLE = 4;

/** A request. */
export interface S3Request {
  /** The method. */
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** The key; empty for the bucket itself. */
  readonly key: string;
  /** The query. */
  readonly query?: Readonly<Record<string, string>>;
  /** Headers besides those of the signature. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The body. */
  readonly body?: Uint8Array<ArrayBuffer>;
  /** The request in words, for errors. */
  readonly where: string;
  /**
   * Bytes of the answer's body, as far as they are known before.
   *
   * @default 0
   */
  readonly expected?: number;
  /**
   * Time in which the answer must begin, and then go on, in milliseconds.
   *
   * @default The client's
   */
  readonly silenceMs?: number;
  /** Ends it early. */
  readonly signal?: AbortSignal;
}

/** An answer. */
export interface S3Answer {
  /** The status. */
  readonly status: number;
  /** The headers. */
  readonly headers: Headers;
  /** The body: as many bytes as the headers say. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** No answer came, or a part of one. */
export class NoAnswerError extends StoreError {
  /** The store may have done what was asked for. */
  readonly mayBeDone: boolean;

  /** @param words As of a {@linkcode StoreError}. */
  constructor(words: string, mayBeDone: boolean) {
    super("unavailable", words);
    this.mayBeDone = mayBeDone;
  }
}

/** The parts of a {@linkcode S3Client}. */
export interface S3ClientParts {
  /** The bucket. */
  readonly place: S3Place;
  /** Gives credentials. */
  readonly credentials: CredentialSource;
  /**
   * Time in which an answer must begin, and then go on, in milliseconds.
   *
   * @default 20_000
   */
  readonly answerMs?: number;
}

/** Sends requests to a bucket. */
export class S3Client implements Disposable {
  readonly #parts: S3ClientParts;
  readonly #slots: Slots;
  readonly #reads: Deno.HttpClient;
  readonly #changes = Deno.createHttpClient({ poolMaxIdlePerHost: 0, http2: false });
  readonly #sent: Pace;
  readonly #received: Pace;
  /** Keys of signatures, which hold for a day. */
  readonly #keys = new Map<string, ArrayBuffer>();

  /** Connects to nothing yet. */
  constructor(parts: S3ClientParts) {
    this.#parts = parts;
    const { connections, bandwidth } = parts.place;
    this.#slots = new Slots(connections);
    this.#reads = Deno.createHttpClient({ poolMaxIdlePerHost: connections, http2: false });
    this.#sent = new Pace(bandwidth);
    this.#received = new Pace(bandwidth);
  }

  /**
   * Sends a request.
   *
   * @throws {NoAnswerError} If no whole answer came.
   * @throws {StoreError} `refused` if there are no credentials, `unavailable` if they do not come.
   */
  async send(request: S3Request): Promise<S3Answer> {
    const { body, expected = 0, signal } = request;
    return await this.#slots.run(async () => {
      await turn(this.#sent, body?.length ?? 0, signal);
      // Once a range was paid for when it had come, and a call that was ended meanwhile lost what was
      // here and left what it owed: below some rate nothing came through any more.
      await turn(this.#received, expected, signal);
      const answer = await this.#answer(request).catch((error) => {
        this.#received.forgive(expected);
        throw error;
      });
      const more = answer.bytes.length - expected;
      if (more < SMALL_BYTES) this.#received.owe(more);
      else await this.#received.pay(more, signal);
      return answer;
    }, signal);
  }

  /** Closes the connections. */
  [Symbol.dispose](): void {
    this.#reads.close();
    this.#changes.close();
  }

  async #answer(request: S3Request): Promise<S3Answer> {
    const answer = await this.#send(request, false);
    return hasExpired(answer) ? await this.#send(request, true) : answer;
  }

  async #send(request: S3Request, renew: boolean): Promise<S3Answer> {
    const { where, method, body, signal } = request;
    const answerMs = request.silenceMs ?? this.#parts.answerMs ?? ANSWER_MS;
    const credentials = await this.#parts.credentials({ renew, signal, withinMs: answerMs });
    const { url, headers } = await this.#signed(request, credentials);
    using limit = new Limit(signal);
    const client = method === "GET" || method === "HEAD" ? this.#reads : this.#changes;
    limit.allow(answerMs + (body?.length ?? 0) / SLOWEST);
    try {
      const response = await fetch(url, {
        ...{ method, headers, body, signal: limit.signal, client },
        // A redirect leads to another region, where the signature does not hold.
        redirect: "manual",
      });
      const told = response.headers.get("content-length");
      const length = told === null || method === "HEAD" ? undefined : Number(told);
      const mostMs = answerMs + (length ?? 0) / DRIBBLE;
      const startMs = performance.now();
      const bytes = await readBody(response, length, () => {
        if (length === undefined || performance.now() - startMs < mostMs) limit.allow(answerMs);
      });
      if (length !== undefined && bytes.length !== length) {
        throw new NoAnswerError(`${where}: ${bytes.length} of ${length} bytes came`, true);
      }
      return { status: response.status, headers: response.headers, bytes };
    } catch (error) {
      if (error instanceof NoAnswerError) throw error;
      signal?.throwIfAborted();
      if (limit.isOver) throw new NoAnswerError(`${where}: nothing came for ${answerMs} ms`, true);
      throw lost(error, `${where} (${new URL(url).host})`);
    }
  }

  async #signed({ method, key, query, headers, body }: S3Request, credentials: S3Credentials) {
    const { base, region } = this.#parts.place;
    // It is loaded with the first request: most programs make none.
    const { AwsV4Signer } = await import("aws4fetch");
    const url = new URL(base + key);
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
    const signed = await new AwsV4Signer({
      ...{ url: url.href, method, headers, body, region, service: "s3", cache: this.#keys },
      ...credentials,
    }).sign();
    return { url: signed.url.href, headers: signed.headers };
  }
}

async function turn(pace: Pace, bytes: number, signal: AbortSignal | undefined): Promise<void> {
  if (bytes < SMALL_BYTES) pace.owe(bytes);
  else await pace.turn(bytes, signal);
}

/** The store says that credentials have ended. */
function hasExpired({ status, bytes }: S3Answer): boolean {
  return (status === 400 || status === 403) &&
    /<Code>(ExpiredToken|TokenRefreshRequired)<\/Code>/.test(new TextDecoder().decode(bytes));
}

/** The error of a connection that was not made, or broke. */
function lost(error: unknown, where: string): NoAnswerError {
  let words = "";
  for (let at = error; at instanceof Error; at = at.cause) words = at.message || words;
  const isUnsent = words.includes("client error (Connect)");
  const reason = words.replace(/^.*? for url \([^)]*\)( from \S+)?:? */s, "");
  return new NoAnswerError(printable(shortened(`${where}: ${reason}`, 300)), !isUnsent);
}

/** Reads a body. @param came Called for each part. */
async function readBody(
  { body }: Response,
  length: number | undefined,
  came: () => void,
): Promise<Uint8Array<ArrayBuffer>> {
  if (body === null) return new Uint8Array(0);
  return length === undefined ? await readAll(body, came) : await readInto(body, length, came);
}

/**
 * Reads a body of known length into one buffer, which the stream fills itself. That takes half of the
 * CPU of parts that the stream allocates: those have 64 KiB each.
 */
async function readInto(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  length: number,
  came: () => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader({ mode: "byob" });
  let bytes = new Uint8Array(length);
  for (let filled = 0;;) {
    // Once all has come, the end is to come: only then the connection serves the next request.
    const isFull = filled === length;
    const room = isFull ? new Uint8Array(1) : bytes.subarray(filled);
    const { value, done } = await reader.read(room);
    came();
    if (!isFull && value !== undefined) bytes = new Uint8Array(value.buffer);
    if (done) return bytes.subarray(0, filled);
    if (isFull) throw new Error(`more than the ${length} bytes came that were announced`);
    filled += value.length;
  }
}

async function readAll(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  came: () => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for await (const part of body) {
    came();
    parts.push(part);
    length += part.length;
  }
  const bytes = new Uint8Array(length);
  let filled = 0;
  for (const part of parts) {
    bytes.set(part, filled);
    filled += part.length;
  }
  return bytes;
}

/** A limit of time for one request, which also ends with its caller's signal. */
class Limit implements Disposable {
  /** Some time is over. */
  isOver = false;
  readonly #inner = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #end = () => this.#inner.abort(this.#outer!.reason);
  /** When the time is over. */
  #untilMs = Infinity;
  /** When the timer fires, which may be before. */
  #firesMs = Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined = undefined;

  constructor(outer: AbortSignal | undefined) {
    this.#outer = outer;
    if (outer?.aborted) this.#end();
    else outer?.addEventListener("abort", this.#end);
  }

  /** Ends the request. */
  get signal(): AbortSignal {
    return this.#inner.signal;
  }

  /** Allows so many milliseconds from now on. It is cheap, since each part of a body calls it. */
  allow(ms: number): void {
    this.#untilMs = performance.now() + ms;
    if (this.#untilMs < this.#firesMs) this.#arm(ms);
  }

  #arm(ms: number): void {
    clearTimeout(this.#timer);
    this.#firesMs = performance.now() + ms;
    this.#timer = setTimeout(() => {
      const leftMs = this.#untilMs - performance.now();
      if (leftMs > 0) return this.#arm(leftMs);
      this.isOver = true;
      this.#inner.abort();
    }, ms);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#end);
  }
}
