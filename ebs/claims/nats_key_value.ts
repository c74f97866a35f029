/**
 * A bucket of JetStream, by `@nats-io/kv`.
 *
 * Reads go to the stream's leader, not to any replica: a claim is decided by what was written last.
 * The bucket has one time to live for all keys, which servers since 2.6 know.
 *
 * @module
 */

import type { KV } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/transport-node";
import { thrownText, UblkError } from "../../uapi/error.ts";
import {
  type KeyValue,
  type KeyValueChange,
  type KeyValueEntry,
  KeyValueError,
} from "./key_value.ts";

/**
 * JetStream's codes of a write whose expected revision is not the key's. The second is that of a bucket
 * on several servers, while another write is under way.
 */
const WRONG_LAST_SEQUENCE: ReadonlySet<unknown> = new Set([10071, 10164]);
/** Its codes of more replicas than there are servers: without a cluster, and in one. */
const NO_CLUSTER = 10074;
const TOO_FEW_PEERS = 10005;
/** How often a cluster that begins gets time to find its servers, and how long, in milliseconds. */
const PEER_TRIES = 10;
const PEER_PAUSE_MS = 500;
/** Its code of a stream that is not there. */
const STREAM_NOT_FOUND = 10059;
/** Servers that keep a bucket, if there are so many, and otherwise one. */
const REPLICAS = 3;
/** A request without an answer has failed after so long, in milliseconds. */
const TIMEOUT_MS = 5000;
/** The server's error of a stream whose subjects another one has. */
const SUBJECTS_OVERLAP = 10065;
/** How often a bucket that another node is making is asked for again, and the pause between. */
const TRIES = 20;
const PAUSE_MS = 50;
/** A list of keys has failed after so long, in milliseconds. */
const LIST_MS = 60_000;

/** A bucket to open. */
export interface NatsBucketOptions {
  /** The connection, which stays the caller's. */
  readonly connection: NatsConnection;
  /** The bucket's name: letters, digits, `_` and `-`. */
  readonly bucket: string;
  /**
   * An entry's life in milliseconds, if the bucket has to be made; 0 for ever. A bucket that is there
   * keeps its own.
   */
  readonly ttlMs: number;
  /**
   * Servers that keep the bucket, if it has to be made: 5 at most.
   *
   * @default 3 in a cluster of so many, else 1
   */
  readonly replicas?: number;
  /**
   * How long a request waits for its answer, in milliseconds.
   *
   * @default 5 s
   */
  readonly timeoutMs?: number;
  /**
   * Takes a line for the log if fewer servers keep the bucket than are wished for.
   *
   * @default Nobody is told
   */
  readonly report?: (line: string) => void;
}

/**
 * Opens a bucket, and makes it if it is missing; also later, as soon as a call finds that it is gone. It
 * is empty then.
 *
 * @throws {KeyValueError} if the server cannot be reached, or has no JetStream.
 * @throws {UblkError} `INVALID_ARGUMENT` if entries of the bucket live for ever and must not, or the
 *   other way about, or if there are not as many servers as replicas.
 */
export async function openNatsBucket(options: NatsBucketOptions): Promise<NatsKeyValue> {
  const { connection, bucket, ttlMs, replicas, timeoutMs = TIMEOUT_MS, report } = options;
  const [{ Kvm }, { jetstream, jetstreamManager }, { headers }] = await Promise.all([
    import("@nats-io/kv"),
    import("@nats-io/jetstream"),
    import("@nats-io/transport-node"),
  ]);
  return await asked(`open the bucket ${bucket}`, async () => {
    const client = jetstream(connection, { timeout: timeoutMs });
    const { streams } = await jetstreamManager(connection, { timeout: timeoutMs });
    const manager = new Kvm(client);
    const make = (ttl: number) =>
      madeByOne(() =>
        madeOf(replicas, (count) =>
          manager.create(bucket, {
            ...{ ttl, replicas: count, history: 1, allow_direct: false },
          }))
      );
    const made = async (wantedMs: number) => {
      const kv = await make(wantedMs);
      const { ttl, replicas: kept } = await kv.status();
      const wished = replicas ?? REPLICAS;
      // A server without a cluster has all that there is.
      const isClustered = connection.info?.cluster !== undefined;
      if (kept < wished && isClustered) report?.(fewer(bucket, kept, wished));
      return { kv, ttl };
    };
    const { kv, ttl } = await made(ttlMs);
    if ((ttl === 0) !== (ttlMs === 0)) throw wrongLife(bucket, ttl, ttlMs);
    // With the life that it had: whoever has claims in it counts on that.
    return new NatsKeyValue({
      ...{ kv, ttlMs: ttl, bucket, makeAgain: () => made(ttl) },
      async mark(key, revision) {
        const marker = headers();
        marker.set("KV-Operation", "DEL");
        const expect = { lastSubjectSequence: revision };
        const { seq } = await client.publish(`$KV.${bucket}.${key}`, "", {
          ...{ headers: marker, expect },
        });
        return seq;
      },
      async purge(key, seq) {
        await streams.purge(`KV_${bucket}`, { filter: `$KV.${bucket}.${key}`, seq: seq + 1 });
      },
    });
  });
}

/** The parts of a {@linkcode NatsKeyValue}. */
export interface NatsKeyValueParts {
  /** The open bucket. */
  readonly kv: KV;
  /** An entry's life in milliseconds; 0 for ever. */
  readonly ttlMs: number;
  /** The bucket's name. */
  readonly bucket: string;
  /** Makes the bucket if it is missing. */
  readonly makeAgain: () => Promise<unknown>;
  /** Marks a key that still has a revision as deleted. @returns The marker's revision. */
  readonly mark: (key: string, revision: number) => Promise<number>;
  /** Removes what a key has had up to a revision, and with it. */
  readonly purge: (key: string, revision: number) => Promise<void>;
}

/** A bucket of JetStream. */
export class NatsKeyValue implements KeyValue {
  readonly ttlMs: number;
  readonly #parts: NatsKeyValueParts;
  readonly #kv: KV;
  #making: Promise<unknown> | undefined = undefined;

  /** Takes over an open bucket. See {@linkcode openNatsBucket}. */
  constructor(parts: NatsKeyValueParts) {
    this.ttlMs = parts.ttlMs;
    this.#parts = parts;
    this.#kv = parts.kv;
  }

  create(key: string, value: Uint8Array): Promise<number | undefined> {
    return this.#swap(`create ${key}`, () => this.#kv.create(key, value));
  }

  get(key: string): Promise<KeyValueEntry | undefined> {
    return this.#ask(`get ${key}`, async () => {
      const entry = await this.#kv.get(key);
      return entry === null || entry.operation !== "PUT" ? undefined : entryOf(entry);
    });
  }

  update(key: string, value: Uint8Array, revision: number): Promise<number | undefined> {
    return this.#swap(`update ${key}`, () => this.#kv.update(key, value, revision));
  }

  async delete(key: string, revision: number): Promise<boolean> {
    const marker = await this.#swap(`delete ${key}`, () => this.#parts.mark(key, revision));
    if (marker === undefined) return false;
    // Markers run out with a bucket's entries. Where those live for ever, so did one marker for each key
    // that there had ever been.
    if (this.ttlMs === 0) await this.#forget(key, marker);
    return true;
  }

  /** Removes a marker, but no later value. If that fails, the marker stays, which is no error. */
  async #forget(key: string, marker: number): Promise<void> {
    try {
      await this.#parts.purge(key, marker);
    } catch {
      // The next deletion of the key removes it.
    }
  }

  keys(parts: string): Promise<string[]> {
    return this.#ask(`list ${parts}`, async () => {
      const keys: string[] = [];
      const found = await this.#kv.keys(filterOf(parts));
      let isLate = false;
      // A server that goes away meanwhile would be waited for until it is back.
      const timer = setTimeout(() => {
        isLate = true;
        found.stop();
      }, LIST_MS);
      try {
        for await (const key of found) keys.push(key);
      } finally {
        clearTimeout(timer);
      }
      if (isLate) throw new Error(`not all keys after ${LIST_MS} ms`);
      return keys;
    });
  }

  async watch(parts: string, changed: (change: KeyValueChange) => void): Promise<AsyncDisposable> {
    const entries = await this.#ask(
      `watch ${parts}`,
      () => this.#kv.watch({ key: filterOf(parts) }),
    );
    const told = (async () => {
      for await (const entry of entries) {
        const isThere = entry.operation === "PUT";
        changed({ key: entry.key, entry: isThere ? entryOf(entry) : undefined });
      }
    })();
    return {
      async [Symbol.asyncDispose]() {
        entries.stop();
        await told;
      },
    };
  }

  /** Makes a change that depends on a revision. @returns Undefined if it was another one. */
  async #swap(what: string, change: () => Promise<number>): Promise<number | undefined> {
    return await this.#ask(what, async () => {
      try {
        return await change();
      } catch (error) {
        if (WRONG_LAST_SEQUENCE.has(codeOf(error))) return undefined;
        throw error;
      }
    });
  }

  /**
   * Asks once more if the bucket was gone. It was only made at the start: once its servers had lost it, or
   * somebody had deleted it, every call failed until the nodes were started anew.
   */
  #ask<T>(what: string, ask: () => Promise<T>): Promise<T> {
    return asked(`${this.#parts.bucket}: ${what}`, async () => {
      try {
        return await ask();
      } catch (error) {
        if (!isGone(error)) throw error;
        await (this.#making ??= this.#makeAgain());
        return await ask();
      }
    });
  }

  async #makeAgain(): Promise<void> {
    try {
      await this.#parts.makeAgain();
    } catch (error) {
      // Fewer servers than replicas are no wrong argument by now: the others are away, and may come back.
      const reason = `it was gone, and could not be made again: ${thrownText(error)}`;
      throw new Error(reason, { cause: error });
    } finally {
      this.#making = undefined;
    }
  }
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}

/** Whether a call found no bucket. To a write, nobody answers then. */
function isGone(error: unknown): boolean {
  return codeOf(error) === STREAM_NOT_FOUND ||
    error instanceof Error && error.name === "JetStreamNotEnabled";
}

/** Makes a bucket with as many replicas as are asked for, or as there can be. */
async function madeOf(
  replicas: number | undefined,
  make: (replicas: number) => Promise<KV>,
): Promise<KV> {
  for (let left = PEER_TRIES;; left--) {
    try {
      return await make(replicas ?? REPLICAS);
    } catch (error) {
      const code = codeOf(error);
      if (code !== NO_CLUSTER && code !== TOO_FEW_PEERS) throw error;
      if (code === NO_CLUSTER || left === 0) {
        if (replicas === undefined) return await make(1);
        throw tooFew(replicas, error);
      }
    }
    // A bucket that was made as the cluster began had one replica for good.
    await new Promise((resolve) => setTimeout(resolve, PEER_PAUSE_MS));
  }
}

function tooFew(replicas: number, cause: unknown): UblkError {
  return new UblkError("INVALID_ARGUMENT", {
    operation: `make a bucket with ${replicas} replicas`,
    reason: thrownText(cause),
    hint: "ask for fewer, or add servers of NATS to the cluster",
    cause,
  });
}

function entryOf({ key, value, revision }: KeyValueEntry): KeyValueEntry {
  return { key, value, revision };
}

/** The subjects of whole parts. */
function filterOf(parts: string): string {
  return parts === "" ? ">" : `${parts}.>`;
}

/**
 * Makes a bucket that others may be making at the same moment: to them the server says that their
 * subjects overlap with an existing stream's, until it has that stream. Nodes start together.
 */
async function madeByOne(make: () => Promise<KV>): Promise<KV> {
  for (let left = TRIES;; left--) {
    try {
      return await make();
    } catch (error) {
      if (codeOf(error) !== SUBJECTS_OVERLAP || left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

async function asked<T>(what: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof Error) || error instanceof UblkError) throw error;
    const remedy = "see whether the NATS server can be reached and has JetStream";
    throw new KeyValueError(`${what}: ${error.message}; ${remedy}`, { cause: error });
  }
}

function fewer(bucket: string, kept: number, wished: number): string {
  const servers = `${kept} server${kept === 1 ? "" : "s"} of NATS`;
  return `the bucket ${bucket} is kept by ${servers}, and not by ${wished}: ` +
    `what it has is lost with ${kept === 1 ? "that one" : "them"}`;
}

function wrongLife(bucket: string, foundMs: number, wantedMs: number): UblkError {
  return new UblkError("INVALID_ARGUMENT", {
    operation: `open the bucket ${bucket}`,
    reason: foundMs === 0
      ? "its entries live for ever, and claims must run out"
      : `its entries run out after ${foundMs} ms, and must not`,
    hint: wantedMs === 0 ? "name another bucket" : "remove the bucket, or name another one",
  });
}
