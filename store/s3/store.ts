/**
 * A store in a bucket of S3, or of what speaks its protocol.
 *
 * | call          | request                                  | an answer that was lost               |
 * | ------------- | ---------------------------------------- | ------------------------------------- |
 * | `get`, `list` | GET                                      | is asked for again                    |
 * | `putIfAbsent` | PUT, `If-None-Match: *`                  | the object is read and compared       |
 * | `replace`     | PUT, `If-Match`                          | the object is read and compared       |
 * | of > 16 MiB   | POST, PUTs, POST with the condition      | the same                              |
 * | `delete`      | DELETE                                   | the object is looked for; if there is |
 * |               |                                          | one, it may be another: an error      |
 * | of a version  | DELETE, `If-Match`                       | the version is looked for             |
 * | never reused  | DELETE                                   | is sent again                         |
 *
 * What may pass is tried again with pauses, within a bound. A put is sent a second time only with the
 * same bytes and the same condition, so that at most one of both counts, whichever arrives first.
 *
 * Some stores do not know the condition of a DELETE, and ignore or refuse it. There the version is only
 * looked at just before, and a request that arrives late deletes what is there by then.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { checkName, checkPrefix, isName } from "../names.ts";
import { checkRange } from "../ranges.ts";
import { retried } from "../retry.ts";
import {
  type ByteRange,
  type DeleteTerms,
  type GetTerms,
  type ListedObject,
  type Store,
  type StoredObject,
  StoreError,
  type StoreTerms,
  type Version,
} from "../store.ts";
import { attempts } from "./attempts.ts";
import { NoAnswerError, type S3Answer, S3Client } from "./client.ts";
import { type CredentialSource, credentialSource, type S3Credentials } from "./credentials.ts";
import { environment } from "./environment.ts";
import { codeOf, failureOf, isAbsent, isUndone } from "./failure.ts";
import { pageOf } from "./list.ts";
import { failedParts, PartsUploads, tagOfParts } from "./parts.ts";
import { placeOf, type S3Place } from "./place.ts";
import { probeConditions } from "./probe.ts";
import { regionOfProfile } from "./profile.ts";
import { sumHeaders, sumOf } from "./sum.ts";

/** How long something is tried again, in milliseconds. */
const TRY_MS = 15_000;
/** Bytes that came damaged so often in a row are damaged in the store. */
const DAMAGED = 3;
/** The form of versions: a strong entity tag. */
const TAG = /^"[^"]+"$/;

/** Options of {@linkcode S3Store.open}. */
export interface S3StoreOptions {
  /**
   * Credentials.
   *
   * @default Those of the environment, or what the AWS SDK finds
   */
  readonly credentials?: S3Credentials;
  /**
   * No attempt begins later than this, in milliseconds after the first.
   *
   * @default 15_000
   */
  readonly tryMs?: number;
  /**
   * The time in which an answer must begin, and then go on, in milliseconds.
   *
   * @default 20_000
   */
  readonly answerMs?: number;
}

/** Bytes came that the store itself says are others. */
class WrongSumError extends StoreError {}

/** The condition of a put: the object is not there, or has a version. */
type Condition = { readonly version: Version | undefined };

/**
 * A store in S3.
 *
 * @example
 * ```ts ignore
 * import { S3Store } from "./store.ts";
 *
 * await using store = S3Store.open("s3://bucket/volumes?endpoint=http://127.0.0.1:9000");
 * await store.putIfAbsent("a/1", new Uint8Array([1, 2, 3]));
 * ```
 */
export class S3Store implements Store {
  readonly url: string;
  readonly #place: S3Place;
  readonly #client: S3Client;
  readonly #tryMs: number;
  readonly #uploads: PartsUploads;

  private constructor(place: S3Place, credentials: CredentialSource, options: S3StoreOptions) {
    this.url = place.url;
    this.#place = place;
    this.#client = new S3Client({ place, credentials, answerMs: options.answerMs });
    this.#tryMs = options.tryMs ?? TRY_MS;
    const { prefix } = place;
    this.#uploads = new PartsUploads({ client: this.#client, prefix, tryMs: this.#tryMs });
  }

  /**
   * Opens a store. Nothing is asked of it yet.
   *
   * @param url `s3://BUCKET/PREFIX?endpoint=…&region=…&path-style=…&max-connections=…&bandwidth=…`
   * @throws {StoreError} `refused` if the URL is wrong.
   */
  static open(url: string, options: S3StoreOptions = {}): S3Store {
    const place = placeOf(url, environment, () => regionOfProfile(environment));
    return new S3Store(place, credentialSource(options.credentials, environment), options);
  }

  async get(
    name: string,
    { range, signal, silenceMs }: GetTerms = {},
  ): Promise<StoredObject | undefined> {
    checkName(name);
    signal?.throwIfAborted();
    const where = this.#where("get", name);
    if (range !== undefined) return await this.#range(name, range, where, { signal, silenceMs });
    let damaged = 0;
    return await this.#tried(signal, async () => {
      try {
        return await this.#whole(name, where, signal, silenceMs);
      } catch (error) {
        if (!(error instanceof WrongSumError) || ++damaged < DAMAGED) throw error;
        throw new StoreError("corrupt", error.message);
      }
    }, silenceMs);
  }

  async putIfAbsent(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    { signal }: StoreTerms = {},
  ): Promise<Version | undefined> {
    checkName(name);
    signal?.throwIfAborted();
    return await this.#put("put", name, bytes, { version: undefined }, signal);
  }

  async replace(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    version: Version,
    { signal }: StoreTerms = {},
  ): Promise<Version | undefined> {
    checkName(name);
    signal?.throwIfAborted();
    // No object has such a version, and stores take an empty one for no condition.
    if (!TAG.test(version)) return undefined;
    return await this.#put("replace", name, bytes, { version }, signal);
  }

  async *list(prefix: string, { signal }: StoreTerms = {}): AsyncIterable<ListedObject> {
    checkPrefix(prefix);
    signal?.throwIfAborted();
    const where = this.#where("list", prefix);
    let token: string | undefined = undefined;
    do {
      const next: string | undefined = token;
      const page = await this.#tried(signal, async () => {
        const answer = await this.#client.send({
          ...{ method: "GET", key: "", where, signal },
          query: {
            ...{ "list-type": "2", "encoding-type": "url", prefix: this.#place.prefix + prefix },
            ...(next === undefined ? {} : { "continuation-token": next }),
          },
        });
        if (answer.status !== 200) throw failureOf(answer, where);
        return pageOf(answer, where);
      });
      for (const { key, size } of page.entries) {
        const name = key.slice(this.#place.prefix.length);
        if (key.startsWith(this.#place.prefix) && isName(name)) yield { name, size };
      }
      token = page.next;
    } while (token !== undefined);
  }

  async delete(
    name: string,
    { version, neverReused = false, signal }: DeleteTerms = {},
  ): Promise<boolean> {
    checkName(name);
    signal?.throwIfAborted();
    const where = this.#where("delete", name);
    let condition: Record<string, string> = version === undefined ? {} : { "if-match": version };
    let isUnsure = false;
    return await this.#tried(signal, async () => {
      if (version !== undefined || isUnsure && !neverReused) {
        const found = await this.#whole(name, where, signal);
        if (found === undefined) return true;
        // It may have been deleted, and made again by somebody else, whom a second request would hit.
        if (version === undefined) throw unsureDeletion(where);
        if (found.version !== version) return false;
      }
      const answer = await this.#changed(
        () =>
          this.#client.send({
            ...{ method: "DELETE", key: this.#key(name), headers: condition, where, signal },
          }),
        () => isUnsure = true,
      );
      if (answer.status === 200 || answer.status === 204 || isAbsent(answer)) return true;
      if (version !== undefined && [409, 412].includes(answer.status)) {
        throw new StoreError("unavailable", `${where}: ${answer.status}; others change it`);
      }
      if (answer.status === 501 && "if-match" in condition) {
        condition = {};
        throw new StoreError("unavailable", `${where}: 501; it is tried without a condition`);
      }
      throw failureOf(answer, where);
    });
  }

  /**
   * Tries whether the store keeps conditions of writes. Some ignore them, and two writers would then
   * overwrite each other.
   *
   * @throws {StoreError} `refused` if it does not.
   */
  async verify({ signal }: StoreTerms = {}): Promise<void> {
    const where = this.#where("try conditional writes", "");
    await probeConditions({
      where,
      put: (name, bytes, headers) =>
        this.#tried(signal, async () => {
          const answer = await this.#sendPut(name, bytes, headers, where, signal);
          if (![200, 409, 412].includes(answer.status)) throw failureOf(answer, where);
          return answer.status === 200;
        }),
      get: (name) => this.#tried(signal, () => this.#whole(name, where, signal)),
      delete: async (name) => {
        await this.#client.send({ method: "DELETE", key: this.#key(name), where, signal });
      },
    });
    await this.#uploads.removeAbandoned(where, signal);
  }

  /** Closes the connections. */
  // deno-lint-ignore require-await -- what throws here must reject
  async [Symbol.asyncDispose](): Promise<void> {
    this.#client[Symbol.dispose]();
  }

  #key(name: string): string {
    return this.#place.prefix + name;
  }

  #where(verb: string, name: string): string {
    return `${verb} ${name === "" ? "" : `${name} `}in ${this.url}`;
  }

  /** A whole object, once. @throws {WrongSumError} */
  async #whole(
    name: string,
    where: string,
    signal: AbortSignal | undefined,
    silenceMs?: number,
  ): Promise<StoredObject | undefined> {
    const answer = await this.#client.send({
      ...{ method: "GET", key: this.#key(name), where, signal, silenceMs },
      headers: { "x-amz-checksum-mode": "ENABLED" },
    });
    if (isAbsent(answer)) return undefined;
    if (answer.status !== 200) throw failureOf(answer, where);
    const { bytes, headers } = answer;
    const sum = headers.get("x-amz-checksum-crc32");
    // The sum of an object of several parts is one of their sums.
    if (sum !== null && !sum.includes("-") && sum !== sumOf(bytes)) {
      throw new WrongSumError(
        "unavailable",
        `${where}: the bytes that came have another sum than the store says; it or the way is bad`,
      );
    }
    return { bytes, version: tagOf(answer, where), size: bytes.length };
  }

  async #range(
    name: string,
    range: ByteRange,
    where: string,
    { signal, silenceMs }: GetTerms,
  ): Promise<StoredObject | undefined> {
    checkRange(range, Infinity, where);
    const { offset, length } = range;
    return await this.#tried(signal, async () => {
      const answer = await this.#client.send({
        ...{ method: "GET", key: this.#key(name), where, signal, silenceMs, expected: length },
        headers: { range: `bytes=${offset}-${offset + length - 1}` },
      });
      if (isAbsent(answer)) return undefined;
      if (answer.status === 416) {
        checkRange(range, await this.#size(name, where, { signal, silenceMs }), where);
        throw new StoreError("unavailable", `${where}: the object has become longer meanwhile`);
      }
      if (answer.status === 200) {
        throw new StoreError(
          "refused",
          `${where}: the whole object came instead of a range; use a store that knows ranges`,
        );
      }
      if (answer.status !== 206) throw failureOf(answer, where);
      const [, from, to, total] =
        /^bytes (\d+)-(\d+)\/(\d+)$/.exec(answer.headers.get("content-range") ?? "")?.map(Number) ??
          [];
      const { bytes } = answer;
      const isRight = from === offset && to === Math.min(offset + length, total) - 1 &&
        bytes.length === to - from + 1;
      if (!isRight) {
        throw new StoreError("unavailable", `${where}: another range came than was asked for`);
      }
      checkRange(range, total, where);
      return { bytes, version: "", size: total };
    }, silenceMs);
  }

  async #size(name: string, where: string, terms: GetTerms): Promise<number> {
    const { signal, silenceMs } = terms;
    const key = this.#key(name);
    const answer = await this.#client.send({ method: "HEAD", key, where, signal, silenceMs });
    const length = answer.headers.get("content-length");
    if (answer.status !== 200 || length === null) throw failureOf(answer, where);
    return Number(length);
  }

  async #put(
    verb: string,
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    { version }: Condition,
    signal: AbortSignal | undefined,
  ): Promise<Version | undefined> {
    const where = this.#where(verb, name);
    const condition: Record<string, string> = version === undefined
      ? { "if-none-match": "*" }
      : { "if-match": version };
    let isUnsure = false;
    return await this.#tried(signal, async () => {
      if (isUnsure) {
        const found = await this.#whole(name, where, signal);
        if (found !== undefined && Buffer.compare(found.bytes, bytes) === 0) {
          return found.version;
        }
        // An earlier request of ours may still arrive. With the same condition it then fails, or
        // does what the next one would.
        if (found?.version !== version) return undefined;
      }
      const unsure = () => isUnsure = true;
      const inParts = await this.#uploads.isFor(bytes, where, signal);
      const answer = inParts
        ? await this.#uploads.put({
          ...{ key: this.#key(name), body: bytes, condition, where, signal },
          // No other request makes an object.
          complete: (send) => this.#changed(send, unsure),
        })
        : await this.#changed(() => this.#sendPut(name, bytes, condition, where, signal), unsure);
      if (answer.status === 200) {
        if (!inParts) return tagOf(answer, where);
        const tag = tagOfParts(answer);
        if (tag !== undefined && TAG.test(tag)) return tag;
        unsure();
        throw failedParts(answer, where);
      }
      if (answer.status === 412 || version !== undefined && isAbsent(answer)) {
        if (!isUnsure) return undefined;
        throw new StoreError("unavailable", `${where}: an earlier request of ours may have won`);
      }
      if (answer.status === 409) {
        // Somebody else is at the same object, and nobody has won yet.
        isUnsure = true;
        throw new StoreError("unavailable", `${where}: 409 ${codeOf(answer)}; others write to it`);
      }
      // The last request may have arrived twice.
      if (inParts && answer.status === 404) unsure();
      throw failureOf(answer, where);
    });
  }

  async #sendPut(
    name: string,
    body: Uint8Array<ArrayBuffer>,
    condition: Readonly<Record<string, string>>,
    where: string,
    signal?: AbortSignal,
  ): Promise<S3Answer> {
    return await this.#client.send({
      ...{ method: "PUT", key: this.#key(name), body, where, signal },
      headers: { ...condition, ...sumHeaders(body) },
    });
  }

  /** Sends a request that changes something, and tells if nobody knows whether it has. */
  async #changed(send: () => Promise<S3Answer>, unsure: () => void): Promise<S3Answer> {
    try {
      const answer = await send();
      if (answer.status >= 300 && !isUndone(answer)) unsure();
      return answer;
    } catch (error) {
      if (error instanceof NoAnswerError && error.mayBeDone) unsure();
      throw error;
    }
  }

  /** Tries something until it succeeds, cannot get better, or the time is over. */
  #tried<T>(
    signal: AbortSignal | undefined,
    attempt: () => Promise<T>,
    mostMs = Infinity,
  ): Promise<T> {
    return retried(attempt, attempts(Math.min(this.#tryMs, mostMs), signal));
  }
}

/** The entity tag of an answer, as a version. */
function tagOf({ headers }: S3Answer, where: string): Version {
  const tag = headers.get("etag") ?? "";
  if (TAG.test(tag)) return tag;
  throw new StoreError(
    "refused",
    `${where}: the answer has no strong ETag, by which a change would be noticed; ` +
      "use a store that has them, and no proxy that rewrites answers",
  );
}

function unsureDeletion(where: string): StoreError {
  return new StoreError(
    "refused",
    `${where}: the store did not say whether it has deleted the object, and there is one; ` +
      "run the command again",
  );
}
