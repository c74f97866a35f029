/**
 * Uploads of large objects in parts, of which several are under way at a time. There is no object
 * before the last request, which has the condition.
 *
 * ```
 *   POST ?uploads ─▶ PUT ?partNumber=1 … n ─▶ POST ?uploadId, If-None-Match or If-Match
 * ```
 *
 * @module
 */

import { createHash } from "node:crypto";
import { retried } from "../retry.ts";
import { StoreError } from "../store.ts";
import { attempts } from "./attempts.ts";
import type { S3Answer, S3Client } from "./client.ts";
import { codeOf, failureOf } from "./failure.ts";
import { sumHeaders, sumOf } from "./sum.ts";
import { contentsOf, textOf } from "./xml.ts";

/** Larger objects are uploaded in parts, in bytes. */
const MOST_AT_ONCE = 16 << 20;
/** Bytes of a part. S3 wants 5 MiB at least. */
const PART_BYTES = 8 << 20;
/** An upload that was begun so long ago, in milliseconds, has no owner any more. */
const ABANDONED_MS = 24 * 3600 * 1000;

/** An object to upload. */
export interface PartsUpload {
  /** Its key. */
  readonly key: string;
  /** All of it. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** The header with the condition. */
  readonly condition: Readonly<Record<string, string>>;
  /** The upload in words, for errors. */
  readonly where: string;
  /** Ends it early. */
  readonly signal?: AbortSignal;
  /** Sends the last request, after which there may be an object. */
  readonly complete: (send: () => Promise<S3Answer>) => Promise<S3Answer>;
}

/** The parts of {@linkcode PartsUploads}. */
export interface PartsUploadsParts {
  /** The bucket. */
  readonly client: S3Client;
  /** Before each object's name in its key. */
  readonly prefix: string;
  /** How long a part is tried again, in milliseconds. */
  readonly tryMs: number;
}

/** Uploads in parts to one store. */
export class PartsUploads {
  readonly #parts: PartsUploadsParts;
  /** Whether the store keeps their conditions; undefined until the first of them. */
  #keepsConditions: Promise<boolean> | undefined = undefined;

  /** Uploads nothing yet. */
  constructor(parts: PartsUploadsParts) {
    this.#parts = parts;
  }

  /** Whether a body is to be uploaded in parts. A store that then ignores conditions gets none. */
  async isFor(
    body: Uint8Array<ArrayBuffer>,
    where: string,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (body.length <= MOST_AT_ONCE) return false;
    this.#keepsConditions ??= this.#tryConditions(where, signal);
    try {
      return await this.#keepsConditions;
    } catch (error) {
      this.#keepsConditions = undefined;
      throw error;
    }
  }

  /**
   * Uploads an object. What was uploaded in vain is removed.
   *
   * @returns The answer to the last request: its status says whether the condition held, and if that is
   *   200, {@linkcode tagOfParts} whether there is an object.
   * @throws {StoreError}
   */
  async put(upload: PartsUpload): Promise<S3Answer> {
    const { client } = this.#parts;
    const { key, where, signal, condition, complete } = upload;
    const query = { uploadId: await this.#begin(upload) };
    let isDone = false;
    try {
      const sent = await this.#sendAll(upload, query.uploadId);
      const body = new TextEncoder().encode(
        `<CompleteMultipartUpload>${sent.join("")}</CompleteMultipartUpload>`,
      );
      // A list of parts with a damaged name would make a shorter object, of which no sum is known.
      const sum = createHash("sha256").update(body).digest("hex");
      const headers = { ...condition, "x-amz-content-sha256": sum };
      const answer = await complete(() =>
        client.send({ method: "POST", key, query, headers, body, where, signal })
      );
      isDone = answer.status === 200;
      return answer;
    } finally {
      // If the last request has arrived, there is nothing to remove, and that is no error of ours.
      if (!isDone) await client.send({ method: "DELETE", key, query, where }).catch(() => {});
    }
  }

  /** Removes the parts that programs have left which are dead. If that fails, somebody else will. */
  async removeAbandoned(where: string, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#removeAbandoned(where, signal);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
    }
  }

  async #removeAbandoned(where: string, signal: AbortSignal | undefined): Promise<void> {
    const { client, prefix } = this.#parts;
    const query = { uploads: "", prefix };
    const answer = await client.send({ method: "GET", key: "", query, where, signal });
    // Whoever may not look leaves it to others.
    if (answer.status !== 200) return;
    // By the store's own clock.
    const now = Date.parse(answer.headers.get("date") ?? "");
    for (const content of contentsOf(new TextDecoder().decode(answer.bytes), "Upload")) {
      const [key, uploadId] = [textOf(content, "Key"), textOf(content, "UploadId")];
      const isOld = now - Date.parse(textOf(content, "Initiated") ?? "") > ABANDONED_MS;
      if (!isOld || uploadId === undefined || !key?.startsWith(prefix)) continue;
      await client.send({ method: "DELETE", key, query: { uploadId }, where, signal });
    }
  }

  async #begin({ key, where, signal }: PartsUpload): Promise<string> {
    return await retried(async () => {
      const answer = await this.#parts.client.send({
        ...{ method: "POST", key, query: { uploads: "" }, where, signal },
        headers: { "x-amz-checksum-algorithm": "CRC32" },
      });
      const id = textOf(new TextDecoder().decode(answer.bytes), "UploadId");
      if (answer.status === 200 && id !== undefined && id !== "") return id;
      throw failureOf(answer, where);
    }, attempts(this.#parts.tryMs, signal));
  }

  /** Uploads all parts. @returns What the last request says of each. */
  async #sendAll(upload: PartsUpload, uploadId: string): Promise<string[]> {
    const { body, signal } = upload;
    const failed = new AbortController();
    const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
    const count = Math.ceil(body.length / PART_BYTES);
    const sent = Array.from(
      { length: count },
      (_, nth) => this.#send({ ...upload, signal: either }, uploadId, nth),
    );
    try {
      return await Promise.all(sent);
    } catch (error) {
      // Nothing of the body may be read once this has returned.
      failed.abort(error);
      await Promise.allSettled(sent);
      throw error;
    }
  }

  async #send(
    { key, body, where, signal }: PartsUpload,
    uploadId: string,
    nth: number,
  ): Promise<string> {
    const part = body.subarray(nth * PART_BYTES, (nth + 1) * PART_BYTES);
    const tag = await retried(async () => {
      const answer = await this.#parts.client.send({
        ...{ method: "PUT", key, body: part, where, signal, headers: sumHeaders(part) },
        query: { partNumber: `${1 + nth}`, uploadId },
      });
      if (answer.status !== 200) throw failureOf(answer, where);
      return answer.headers.get("etag") ?? "";
    }, attempts(this.#parts.tryMs, signal));
    return `<Part><PartNumber>${1 + nth}</PartNumber><ETag>${escaped(tag)}</ETag>` +
      `<ChecksumCRC32>${sumOf(part)}</ChecksumCRC32></Part>`;
  }

  /** Tries whether an upload replaces an object that it must not replace. */
  async #tryConditions(where: string, signal: AbortSignal | undefined): Promise<boolean> {
    const { client, prefix } = this.#parts;
    const key = `${prefix}.tmp-probe-${crypto.randomUUID()}`;
    const body = new TextEncoder().encode(key);
    const headers = sumHeaders(body);
    const answer = await client.send({ method: "PUT", key, body, headers, where, signal });
    if (answer.status !== 200) throw failureOf(answer, where);
    try {
      const condition = { "if-none-match": "*" };
      const { status } = await this.put({
        ...{ key, body: new Uint8Array(1), condition, where, signal, complete: (send) => send() },
      });
      return status === 412 || status === 409;
    } finally {
      await client.send({ method: "DELETE", key, where }).catch(() => {});
    }
  }
}

/** The tag of an object that was uploaded in parts; undefined if it was not, after all. */
export function tagOfParts({ bytes }: S3Answer): string | undefined {
  const xml = new TextDecoder().decode(bytes);
  // The status was sent before the work was done, which may fail afterwards.
  return /<CompleteMultipartUploadResult[\s>]/.test(xml) ? textOf(xml, "ETag") : undefined;
}

/** The failure of a last request whose status said that it had succeeded. */
export function failedParts(answer: S3Answer, where: string): StoreError {
  const code = codeOf(answer) || "no result";
  return new StoreError("unavailable", `${where}: ${code} after all parts had come`);
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
