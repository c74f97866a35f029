/**
 * A server that speaks enough of S3 for a store, keeps its objects in memory, and fails as told: for
 * tests.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import {
  answerOf,
  errorAnswer,
  type FakeFault,
  isAfter,
  SLOW_PARTS,
  SLOW_PAUSE_MS,
} from "./fake_faults.ts";
import { FakeUploads } from "./fake_uploads.ts";
import { encodeMessage, type HttpMessage, HttpReader, writeAll } from "./wire.ts";

const BUCKET = "bucket";

/** A request, as it is counted. */
export interface FakeRequest {
  /** Number of the request, from 1. */
  readonly number: number;
  /** The method. */
  readonly method: string;
  /** The key; empty for the bucket. */
  readonly key: string;
  /** Its headers. */
  readonly headers: ReadonlyMap<string, string>;
}

/** An S3 server in this process. */
export class FakeS3 implements AsyncDisposable {
  /** Decides which requests have a fault. */
  faults: ((request: FakeRequest) => FakeFault | undefined) | undefined = undefined;
  /** The objects by their keys. */
  readonly objects = new Map<string, Uint8Array<ArrayBuffer>>();
  /** Uploads in parts. */
  readonly uploads = new FakeUploads();
  /** The requests so far, with their faults. */
  readonly log: string[] = [];
  /** The URL of a store here. */
  readonly url: string;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #connections = new Set<Deno.Conn>();
  readonly #work: Promise<void>[] = [];
  readonly #pageSize: number;

  /** @param pageSize Entries of one page of a list. */
  constructor(pageSize = 1000) {
    this.#pageSize = pageSize;
    const { port } = this.#listener.addr;
    this.url = `s3://${BUCKET}/some/prefix?endpoint=http://127.0.0.1:${port}`;
    this.#work.push(this.#accept());
  }

  /** Closes all connections, and listens no more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) this.#close(connection);
    await Promise.all(this.#work);
  }

  async #accept(): Promise<void> {
    try {
      for await (const connection of this.#listener) {
        this.#connections.add(connection);
        this.#work.push(this.#serve(connection));
      }
    } catch {
      // It was closed.
    }
  }

  async #serve(connection: Deno.Conn): Promise<void> {
    const reader = new HttpReader(connection);
    for (;;) {
      const request = await reader.next();
      if (request === undefined || !await this.#answer(connection, request)) break;
    }
    this.#close(connection);
  }

  #close(connection: Deno.Conn): void {
    if (this.#connections.delete(connection)) connection.close();
  }

  /** @returns Whether the connection goes on. */
  async #answer(connection: Deno.Conn, request: HttpMessage): Promise<boolean> {
    const [method, target] = request.start.split(" ");
    const url = new URL(target, "http://fake");
    const key = decodeURIComponent(url.pathname.slice(BUCKET.length + 2));
    const { headers } = request;
    const number = this.log.length + 1;
    const fault = this.faults?.({ number, method, key, headers });
    const part = url.searchParams.get("partNumber");
    const shown = part !== null
      ? ` part ${part}`
      : url.searchParams.has("uploads")
      ? " uploads"
      : "";
    this.log.push(`${method} ${key}${shown}${fault === undefined ? "" : ` (${fault})`}`);
    if (fault === "hang") return true;
    if (fault === "reset") return false;
    const early = fault === undefined ? undefined : errorAnswer(fault);
    if (early !== undefined && !isAfter(fault)) {
      return await writeAll(connection, encodeMessage(early));
    }
    const answer = this.#do(method, key, url.searchParams, request, fault);
    if (fault === "hang after") return true;
    if (fault === "reset after") return false;
    const bytes = early === undefined ? answerOf(answer, fault, method) : encodeMessage(early);
    if (fault === "slow") return await writeSlowly(connection, bytes);
    return await writeAll(connection, bytes) && fault !== "short";
  }

  #do(
    method: string,
    key: string,
    query: URLSearchParams,
    { headers, body }: HttpMessage,
    fault: FakeFault | undefined,
  ): HttpMessage {
    if (!headers.get("authorization")?.includes("Credential=AK/")) return errorAnswer("denied")!;
    if (method === "POST" && query.has("uploadId")) {
      const sum = createHash("sha256").update(body).digest("hex");
      if (headers.get("x-amz-content-sha256") !== sum) return errorAnswer("bad digest")!;
    }
    const upload = this.uploads.answer({ method, key, query, body }, (bytes) => {
      const sum: [string, string] = ["x-amz-checksum-crc32", sumOf(bytes)];
      return this.#put(key, this.objects.get(key), new Map([...headers, sum]), bytes, fault);
    });
    if (upload !== undefined) return upload;
    if (key === "") return this.#list(query);
    const found = this.objects.get(key);
    if (method === "PUT") return this.#put(key, found, headers, body, fault);
    if (method === "DELETE") {
      const tag = fault === "conditions ignored" ? undefined : headers.get("if-match");
      if (tag !== undefined && found === undefined) return errorAnswer("no key")!;
      if (tag !== undefined && tag !== tagOf(found!)) return errorAnswer("412")!;
      this.objects.delete(key);
      return made(204, {}, new Uint8Array(0));
    }
    if (found === undefined) return errorAnswer("no key")!;
    return get(found, headers.get("range"));
  }

  #put(
    key: string,
    found: Uint8Array<ArrayBuffer> | undefined,
    headers: ReadonlyMap<string, string>,
    body: Uint8Array<ArrayBuffer>,
    fault: FakeFault | undefined,
  ): HttpMessage {
    if (fault !== "conditions ignored") {
      // As real stores do: an empty header is no condition.
      const tag = headers.get("if-match") || undefined;
      if (tag !== undefined && found === undefined) return errorAnswer("no key")!;
      const hasLost = headers.has("if-none-match")
        ? found !== undefined
        : tag !== undefined && tag !== tagOf(found!);
      if (hasLost) return errorAnswer("412")!;
    }
    if (headers.get("x-amz-checksum-crc32") !== sumOf(body)) return errorAnswer("bad digest")!;
    this.objects.set(key, body);
    return made(200, { etag: tagOf(body) }, new Uint8Array(0));
  }

  #list(query: URLSearchParams): HttpMessage {
    const prefix = query.get("prefix") ?? "";
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
    const from = Number(query.get("continuation-token")?.slice("page&".length) ?? 0);
    const end = from + this.#pageSize;
    const entries = keys.slice(from, end).map((key) =>
      `<Contents><Key>${encodeURIComponent(key)}</Key>` +
      `<Size>${this.objects.get(key)!.length}</Size></Contents>`
    );
    const more = end < keys.length;
    const next = more ? `<NextContinuationToken>page&amp;${end}</NextContinuationToken>` : "";
    const xml = `<?xml version="1.0"?><ListBucketResult xmlns="x"><IsTruncated>${more}` +
      `</IsTruncated>${next}${entries.join("")}</ListBucketResult>`;
    return made(200, {}, new TextEncoder().encode(xml));
  }
}

async function writeSlowly(connection: Deno.Conn, bytes: Uint8Array): Promise<boolean> {
  const length = Math.ceil(bytes.length / SLOW_PARTS);
  for (let at = 0; at < bytes.length; at += length) {
    await new Promise((resolve) => setTimeout(resolve, SLOW_PAUSE_MS));
    if (!await writeAll(connection, bytes.subarray(at, at + length))) return false;
  }
  return true;
}

function get(found: Uint8Array<ArrayBuffer>, range: string | undefined): HttpMessage {
  const common = { etag: tagOf(found) };
  if (range === undefined) {
    return made(200, { ...common, "x-amz-checksum-crc32": sumOf(found) }, found);
  }
  const [from, to] = range.slice("bytes=".length).split("-").map(Number);
  if (from >= found.length) return errorAnswer("416")!;
  const bytes = found.slice(from, to + 1);
  const told = `bytes ${from}-${from + bytes.length - 1}/${found.length}`;
  return made(206, { ...common, "content-range": told }, bytes);
}

function made(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array<ArrayBuffer>,
): HttpMessage {
  return { start: `HTTP/1.1 ${status} X`, headers: new Map(Object.entries(headers)), body };
}

/** Objects are whole and never change: each is hashed once, however often a range of it is read. */
const tags = new WeakMap<Uint8Array, string>();

function tagOf(bytes: Uint8Array): string {
  const known = tags.get(bytes);
  if (known !== undefined) return known;
  const tag = `"${createHash("md5").update(bytes).digest("hex")}"`;
  tags.set(bytes, tag);
  return tag;
}

function sumOf(bytes: Uint8Array): string {
  const sum = new Uint8Array(4);
  new DataView(sum.buffer).setUint32(0, crc32(bytes) >>> 0);
  return sum.toBase64();
}
