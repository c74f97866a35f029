/**
 * What is to be: which volume is to be attached to which node, or deleted. It stands in a bucket whose
 * entries do not run out:
 *
 * ```
 * v.VOLUME         {"state":"attached","node":"a"}     decides, and is replaced by compare-and-swap
 * n.NODE.VOLUME                                        NODE is to look at v.VOLUME
 * ```
 *
 * A node watches the keys that begin with its own name, and so is told of its own volumes only. Such a
 * key, a notice, is written before the record that concerns the node, and again after it. So once a
 * change has resolved, the node looks, however often it is started anew. A change that failed may be half
 * done: whoever asked for it asks again, or for the opposite.
 *
 * @module
 */

import { Backoff } from "../../store/retry.ts";
import { assert, UblkError } from "../../uapi/error.ts";
import { type KeyValue, KeyValueError } from "../claims/key_value.ts";
import { fieldsOf, keyOf, volumeOf } from "../claims/record.ts";

/** The bucket of what is to be. */
export const WANTED_BUCKET = "UBLK_WANTED";
/** A bucket that cannot be reached is tried so long, in milliseconds. */
const PATIENCE_MS = 15_000;

/** The record of a volume. */
export interface Wanted {
  /** `deleted` until it is. */
  readonly state: "attached" | "detached" | "deleted";
  /** The node that has it, had it last, or deletes it. */
  readonly node: string;
  /** How the node has it: JSON that the node understands. */
  readonly how?: unknown;
}

/** A record, and its revision. */
export interface RecordedWish {
  /** The record. */
  readonly wanted: Wanted;
  /** For what depends on it. */
  readonly revision: number;
}

/** The parts of {@linkcode WantedVolumes}. */
export interface WantedParts {
  /** The bucket, whose entries do not run out. */
  readonly bucket: KeyValue;
  /** A clock in milliseconds that never goes back. */
  readonly clock: () => number;
  /**
   * Waits for some milliseconds.
   *
   * @default A timer
   */
  readonly pause?: (ms: number) => Promise<void>;
  /**
   * From 0 to 1.
   *
   * @default {Math.random}
   */
  readonly random?: () => number;
}

/** What is to be of all volumes: for controllers, which change it, and nodes, which make it so. */
export class WantedVolumes {
  readonly #parts: WantedParts;

  /** Takes over the parts. */
  constructor(parts: WantedParts) {
    assert(parts.bucket.ttlMs === 0, "what is to be does not run out");
    this.#parts = parts;
  }

  /** The record of a volume; undefined if there is none. @throws {KeyValueError} */
  async get(volume: string): Promise<RecordedWish | undefined> {
    const entry = await this.#parts.bucket.get(recordKey(volume));
    if (entry === undefined) return undefined;
    const { state, node, how } = fieldsOf(entry.value);
    const isKnown = state === "attached" || state === "detached" || state === "deleted";
    if (!isKnown || typeof node !== "string") throw damaged(volume);
    const wanted = { state, node, ...how !== undefined && { how } } as const;
    return { wanted, revision: entry.revision };
  }

  /**
   * Asks a node to have a volume. Idempotent.
   *
   * @param how How it has it. @param from Also if it is this node that has it.
   * @throws {UblkError} `VOLUME_BUSY` if another node is to have it; `VOLUME_NOT_FOUND` if it is to be
   *   deleted.
   * @throws {KeyValueError}
   */
  async attach(volume: string, node: string, how?: unknown, from = node): Promise<void> {
    await this.#change(volume, (before) => {
      if (before?.state === "deleted") throw goes(volume);
      const isOthers = before?.state === "attached" && before.node !== node && before.node !== from;
      if (isOthers) throw taken(volume, before.node);
      return { state: "attached", node, ...how !== undefined && { how } };
    }, node);
  }

  /** Notes how a node has a volume, if it is still to have it. @throws {KeyValueError} */
  async note(volume: string, node: string, how: unknown): Promise<void> {
    await this.#change(volume, (before) => {
      const isOurs = before?.state === "attached" && before.node === node;
      return isOurs ? { ...before, how } : undefined;
    });
  }

  /**
   * Asks another node to have a volume that one has, which is dead or asked to let go. Idempotent.
   *
   * @throws {UblkError} `VOLUME_BUSY` if it is attached to a third one; `VOLUME_NOT_FOUND` if it is not
   *   attached, nor to be deleted by that node: then the other one deletes it.
   * @throws {KeyValueError}
   */
  async move(volume: string, from: string, to: string): Promise<void> {
    await this.#change(volume, (before) => {
      if (before === undefined || before.state === "detached") throw goes(volume);
      if (before.node !== from && before.node !== to) throw taken(volume, before.node);
      return { ...before, node: to };
    }, to);
  }

  /**
   * Asks for a volume to be nowhere. Idempotent.
   *
   * @param node Only if it is this one that has it: what another has by now stays as it is.
   * @throws {KeyValueError}
   */
  async detach(volume: string, node?: string): Promise<void> {
    await this.#change(volume, (before) => {
      const isMeant = before?.state === "attached" && (node === undefined || before.node === node);
      return isMeant ? { state: "detached", node: before.node } : before;
    });
  }

  /**
   * Asks a node to delete a volume. Idempotent: one that is asked for already stays with its node.
   *
   * @throws {UblkError} `VOLUME_BUSY` if it is attached.
   * @throws {KeyValueError}
   */
  async delete(volume: string, node: string): Promise<void> {
    await this.#change(volume, (before) => {
      if (before?.state === "attached") throw taken(volume, before.node);
      return before?.state === "deleted" ? before : { state: "deleted", node };
    }, node);
  }

  /** Forgets a record that is as it was, and whose deletion is done. @throws {KeyValueError} */
  async forget(volume: string, revision: number): Promise<void> {
    await this.#parts.bucket.delete(recordKey(volume), revision);
  }

  /** The volumes at which a node is to look. @throws {KeyValueError} */
  async volumesOf(node: string): Promise<string[]> {
    const keys = await this.#parts.bucket.keys(nodeParts(node));
    return keys.map((key) => volumeOf(key.slice(nodeParts(node).length + 1)));
  }

  /** Tells volumes at which a node is to look. @throws {KeyValueError} */
  watch(node: string, look: (volume: string) => void): Promise<AsyncDisposable> {
    return this.#parts.bucket.watch(nodeParts(node), ({ key, entry }) => {
      if (entry !== undefined) look(volumeOf(key.slice(nodeParts(node).length + 1)));
    });
  }

  /** Sees to it that a node looks at a volume, sooner or later, and also after it was started anew. */
  async keepNotice(volume: string, node: string): Promise<void> {
    await this.#parts.bucket.create(noticeKey(volume, node), new Uint8Array());
  }

  /** The revision of the key by which a node is to look at a volume; undefined for none. */
  async noticed(volume: string, node: string): Promise<number | undefined> {
    return (await this.#parts.bucket.get(noticeKey(volume, node)))?.revision;
  }

  /** A node need not look at a volume any more, unless it has been told again since. */
  async dismiss(volume: string, node: string, revision: number): Promise<void> {
    await this.#parts.bucket.delete(noticeKey(volume, node), revision);
  }

  /** Changes a record. `change` may throw, and be called more than once. */
  async #change(
    volume: string,
    change: (before: Wanted | undefined) => Wanted | undefined,
    concerned?: string,
  ): Promise<void> {
    const { bucket } = this.#parts;
    await this.#reached(async () => {
      for (;;) {
        const found = await this.get(volume);
        const wanted = change(found?.wanted);
        if (wanted === undefined) return;
        const told = new Set([found?.wanted.node, concerned].filter((node) => node !== undefined));
        const isSame = JSON.stringify(found?.wanted) === JSON.stringify(wanted);
        if (!isSame) {
          if (concerned !== undefined) await this.keepNotice(volume, concerned);
          const value = new TextEncoder().encode(JSON.stringify(wanted));
          const key = recordKey(volume);
          const put = found === undefined
            ? await bucket.create(key, value)
            : await bucket.update(key, value, found.revision);
          if (put === undefined) continue;
        }
        // Also if it stood there: whoever wrote it may have died before he told.
        await Promise.all([...told].map((node) => this.#tell(volume, node)));
        return;
      }
    });
  }

  /** Has a node look at a volume. */
  async #tell(volume: string, node: string): Promise<void> {
    const { bucket } = this.#parts;
    const key = noticeKey(volume, node);
    for (;;) {
      const found = await bucket.get(key);
      const put = found === undefined
        ? await bucket.create(key, new Uint8Array())
        : await bucket.update(key, new Uint8Array(), found.revision);
      if (put !== undefined) return;
    }
  }

  async #reached(change: () => Promise<void>): Promise<void> {
    const { clock, pause = wait, random } = this.#parts;
    const end = clock() + PATIENCE_MS;
    const backoff = new Backoff(random);
    for (;;) {
      try {
        return await change();
      } catch (error) {
        if (!(error instanceof KeyValueError) || clock() >= end) throw error;
        await pause(backoff.next());
      }
    }
  }
}

function recordKey(volume: string): string {
  return `v.${keyOf(volume)}`;
}

function nodeParts(node: string): string {
  return `n.${keyOf(node)}`;
}

function noticeKey(volume: string, node: string): string {
  return `${nodeParts(node)}.${keyOf(volume)}`;
}

function taken(volume: string, node: string): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `volume ${volume}`,
    reason: `it is attached to ${node}`,
    hint: "detach it there first",
  });
}

function goes(volume: string): UblkError {
  return new UblkError("VOLUME_NOT_FOUND", {
    operation: `volume ${volume}`,
    reason: "it is being deleted, or attached to no node",
    hint: "use another volume, or attach it first",
  });
}

function damaged(volume: string): UblkError {
  return new UblkError("VOLUME_DAMAGED", {
    operation: `the record of ${volume} in ${WANTED_BUCKET}`,
    reason: "it is none",
    hint: `delete the key ${recordKey(volume)}, and ask for the volume again`,
  });
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
