/**
 * What the service knows of volumes and snapshots beyond what the volumes themselves know. It is in
 * the volumes' store, so that every node knows it:
 *
 * ```
 * .ebs/volumes/VOLUME        JSON, replaced
 * .ebs/snapshots/SNAPSHOT    JSON, replaced
 * ```
 *
 * No volume has a name that begins with a dot. A record is there before what it describes, and goes
 * after it, so that a list of records leaves nothing out. It is not what decides whether there is a
 * volume: that is the volume's head.
 *
 * @module
 */

import { retried } from "../store/retry.ts";
import type { Store } from "../store/store.ts";
import { thrownText } from "../uapi/error.ts";
import type { Seam } from "../volume/seam.ts";
import { EbsError } from "./error.ts";
import { isId } from "./names.ts";
import { BYTES, checked, ID, TEXT, v } from "./schema.ts";

/** How long a store that fails is asked again, in milliseconds: less than a client waits. */
const PATIENCE_MS = 10_000;
/** Records of a page that are read at a time. */
const AT_ONCE = 16;

const ATTACHMENT = v.object({
  node: ID,
  instance: v.optional(TEXT),
  device: v.optional(TEXT),
  readOnly: v.boolean(),
  uri: TEXT,
  time: BYTES,
});

/** Where a volume is mounted. */
export type Attachment = v.InferOutput<typeof ATTACHMENT>;

const VOLUME = v.object({
  nonce: TEXT,
  id: ID,
  bytes: BYTES,
  /**
   * `retired`: deleted, and its snapshots are not. It is removed with the last of them.
   */
  state: v.picklist(["creating", "available", "deleting", "error", "retired"]),
  created: BYTES,
  /** The node that makes it, while it is `creating`. */
  maker: v.optional(ID),
  zone: v.optional(TEXT),
  type: v.optional(TEXT),
  token: v.optional(TEXT),
  source: v.optional(v.object({ volume: ID, snapshot: ID })),
  /** It is made with the key of the nodes. What it has become, its head says. */
  encrypted: v.optional(v.boolean()),
  /** The SHA-256 of the bytes that it began with. */
  seed: v.optional(TEXT),
  attachments: v.array(ATTACHMENT),
  /** What `ebs.config` was given: kept for whoever gave it. */
  config: v.optional(v.unknown()),
});

/** The record of a volume. */
export type VolumeRecord = v.InferOutput<typeof VOLUME>;

const SNAPSHOT = v.object({
  nonce: TEXT,
  id: ID,
  volume: ID,
  state: v.picklist(["pending", "completed", "deleting"]),
  /** When it was asked for first. */
  created: BYTES,
  /** When what it has was taken, once it is complete. That may be later, after a failure. */
  taken: v.optional(BYTES),
  /** Of its volume, when it was asked for; of itself, once it is complete. */
  bytes: BYTES,
  /** The snapshot that it is a copy of. */
  source: v.optional(ID),
  /** When its volume was made: another one may have the id by the time at which this one is gone on with. */
  volumeCreated: v.optional(BYTES),
});

/** The record of a snapshot. */
export type SnapshotRecord = v.InferOutput<typeof SNAPSHOT>;

/** A page of records. */
export interface Page<R> {
  /** The records, sorted by their ids. */
  readonly records: readonly R[];
  /** The token of the next page: the last id that was looked at; empty if this is the last one. */
  readonly next: string;
}

/** What all records have. */
interface AnyRecord {
  /** Of this state of the record. */
  readonly nonce: string;
  readonly id: string;
  readonly state: string;
  /** When it was made, in milliseconds since 1970. It never changes, so it tells records of one id apart. */
  readonly created: number;
}

/** Records of one kind. */
export class Records<R extends AnyRecord> {
  readonly #store: Store;
  readonly #seam: Seam;
  readonly #prefix: string;
  readonly #schema: v.GenericSchema<unknown, R>;

  private constructor(store: Store, seam: Seam, kind: string, schema: v.GenericSchema<unknown, R>) {
    this.#store = store;
    this.#seam = seam;
    this.#prefix = `.ebs/${kind}/`;
    this.#schema = schema;
  }

  /** Those of volumes. */
  static volumes(store: Store, seam: Seam): Records<VolumeRecord> {
    return new Records<VolumeRecord>(store, seam, "volumes", VOLUME);
  }

  /** Those of snapshots. */
  static snapshots(store: Store, seam: Seam): Records<SnapshotRecord> {
    return new Records<SnapshotRecord>(store, seam, "snapshots", SNAPSHOT);
  }

  /** A record; undefined if there is none. */
  async get(id: string): Promise<R | undefined> {
    return (await this.#read(id))?.record;
  }

  /** Makes a record. @returns The one that is there now: it is another's if its nonce is. */
  async create(record: Omit<R, "nonce">): Promise<{ record: R; isNew: boolean }> {
    const made = { ...record, nonce: this.#seam.uuid() } as R;
    const there = await retried(async () => {
      const put = await this.#store.putIfAbsent(this.#nameOf(made.id), encoded(made));
      return put !== undefined ? made : await this.get(made.id);
    }, { withinMs: PATIENCE_MS });
    // A lost answer looks like a lost race; and whoever was there may have gone again.
    if (there !== undefined) return { record: there, isNew: there.nonce === made.nonce };
    throw new EbsError("unavailable", `${made.id}: it was being deleted; try again`);
  }

  /**
   * Changes a record.
   *
   * @param change Makes the new one; undefined leaves it as it is. It may throw, and may be called more
   *   than once.
   * @returns The one that counts now; undefined if there is none.
   */
  async change(id: string, change: (record: R) => R | undefined): Promise<R | undefined> {
    let mine: string | undefined;
    return await retried(async () => {
      for (;;) {
        const found = await this.#read(id);
        if (found === undefined || found.record.nonce === mine) return found?.record;
        const changed = change(found.record);
        if (changed === undefined) return found.record;
        mine = this.#seam.uuid();
        const after = { ...changed, nonce: mine };
        const put = await this.#store.replace(this.#nameOf(id), encoded(after), found.version);
        if (put !== undefined) return after;
      }
    }, { withinMs: PATIENCE_MS });
  }

  /**
   * Deletes a record as it was read, whatever else has been noted in it since. One that is in another
   * state by now stays, and so does one that was made since: a deletion that came late, or whose answer
   * was lost, took the record of the next volume of that id.
   */
  async delete({ id, state, created }: R): Promise<void> {
    await retried(async () => {
      for (;;) {
        const found = await this.#read(id);
        if (found?.record.state !== state || found.record.created !== created) return;
        const { version } = found;
        if (await this.#store.delete(this.#nameOf(id), { version })) return;
      }
    }, { withinMs: PATIENCE_MS });
  }

  /**
   * A page of records after a token. It has fewer than `most` if some are gone by now, or damaged.
   *
   * @param report Takes a line about one that is damaged: nobody could get past it otherwise.
   */
  async page(after: string, most: number, report: (line: string) => void): Promise<Page<R>> {
    const ids: string[] = [];
    for await (const { name } of this.#store.list(this.#prefix)) {
      const id = name.slice(this.#prefix.length);
      if (isId(id) && id > after) ids.push(id);
    }
    ids.sort();
    const page = ids.slice(0, most);
    const found = new Map<string, R>();
    const left = page.values();
    const work = async () => {
      for (const id of left) {
        try {
          const record = await this.get(id);
          if (record !== undefined) found.set(id, record);
        } catch (error) {
          // The store's own errors are of all records.
          if (!(error instanceof EbsError)) throw error;
          report(error.message);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    return {
      records: page.flatMap((id) => found.get(id) ?? []),
      next: ids.length > page.length ? page.at(-1)! : "",
    };
  }

  #nameOf(id: string): string {
    return `${this.#prefix}${id}`;
  }

  async #read(id: string): Promise<{ record: R; version: string } | undefined> {
    const found = await this.#store.get(this.#nameOf(id));
    if (found === undefined) return undefined;
    try {
      const value: unknown = JSON.parse(new TextDecoder().decode(found.bytes));
      const record = checked(this.#schema, value, this.#nameOf(id));
      return { record, version: found.version };
    } catch (error) {
      const reason = `the record ${this.#nameOf(id)} in ${this.#store.url} is damaged`;
      throw new EbsError("internal", `${reason}: ${thrownText(error)}`, { cause: error });
    }
  }
}

function encoded(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}
