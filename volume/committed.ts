/**
 * The hold on a volume: how its head, and the manifest that counts, are replaced.
 *
 * Objects are written once, in an order in which each only names what is durable already:
 *
 * ```
 *   chunks ─▶ run ─▶ manifest ─▶ head        the head alone decides what counts
 * ```
 *
 * Each attachment raises the epoch in the head. Whoever held the volume before finds that the head
 * has another version at the next commit, and has changed nothing by then: what it wrote is named
 * by nobody.
 *
 * @module
 */

import type { Store, Version } from "../store/store.ts";
import { assert, isUblkError, UblkError } from "../uapi/error.ts";
import { encodeHead, type Head } from "./format/head.ts";
import { encodeManifest, type Manifest } from "./format/manifest.ts";
import { NO_UUID } from "./format/record.ts";
import { Lease } from "./lease.ts";
import { ObjectNames } from "./names.ts";
import type { Seam } from "./seam.ts";
import { areEqual, readHead, stateOf, type VersionedHead } from "./state.ts";

/** The error of a volume that somebody else has attached since. */
export function fenced(store: Store, name: string, head: Head | undefined): UblkError {
  const who = head === undefined
    ? "its head is gone"
    : head.attached
    ? `${head.host || "somebody else"} has it attached now (epoch ${head.epoch})`
    : `somebody else had it attached since (epoch ${head.epoch})`;
  return new UblkError("VOLUME_FENCED", {
    operation: `volume ${name} in ${store.url}`,
    reason: who,
    hint: "this server has stopped; its journal is left as it is",
  });
}

/**
 * Puts a manifest under the first number that is free from one on. A fenced writer, or a volume of the
 * name that was only half created, or removed, may have taken some for what nobody names.
 */
export async function putManifest(
  store: Store,
  names: ObjectNames,
  first: number,
  of: (number: number) => Manifest,
): Promise<{ manifest: Manifest; encoded: ReturnType<typeof encodeManifest> }> {
  for (let number = first;; number++) {
    const manifest = of(number);
    const encoded = encodeManifest(manifest);
    const name = names.manifest(number);
    if (await store.putIfAbsent(name, encoded.bytes) !== undefined) return { manifest, encoded };
    const found = await store.get(name);
    if (found !== undefined && areEqual(found.bytes, encoded.bytes)) return { manifest, encoded };
  }
}

/** The fields of the manifest that a commit changes. */
export type ManifestChange = Partial<
  Pick<
    Manifest,
    | "size"
    | "sequence"
    | "position"
    | "chain"
    | "written"
    | "time"
    | "nextChunk"
    | "nextRun"
    | "runs"
    | "ancestors"
  >
>;

/** Who takes hold of a volume. */
export interface Claim {
  /** Time and randomness. */
  readonly seam: Seam;
  /** In words, for others. */
  readonly host: string;
  /** The lease, which each new head renews. */
  readonly lease: Lease;
}

/** A claim for a change of a volume that nobody has attached: it answers no FLUSH, so it has no lease. */
export function briefClaim(seam: Seam, host: string): Claim {
  return { seam, host, lease: new Lease(0, seam.elapsed) };
}

/** A writer that is alive may replace the head as often while somebody else claims the volume. */
const CLAIM_ATTEMPTS = 10;

/** The writer's hold on a volume. */
export class Committed {
  /** The names of the volume's objects. */
  readonly names: ObjectNames;
  /** The store. */
  readonly store: Store;
  /** Bytes of manifests and heads that it has put into the store. */
  putBytes = 0;
  readonly #seam: Seam;
  readonly #lease: Lease;
  #head: Head;
  #version: Version;
  #manifest: Manifest;
  #failure: unknown;
  /** A commit of which nobody knows whether the head names it. */
  #decided: { readonly manifest: Manifest; readonly head: Partial<Head> } | undefined = undefined;
  /** The nonces of heads that were tried to be put since the last that succeeded. */
  readonly #tried = new Set<string>();
  /** The replacement of the head under way: the lease is renewed beside commits. */
  #replacing: Promise<unknown> = Promise.resolve();

  private constructor(
    store: Store,
    names: ObjectNames,
    { seam, lease }: Pick<Claim, "seam" | "lease">,
    { head, version }: VersionedHead,
    manifest: Manifest,
  ) {
    this.store = store;
    this.names = names;
    this.#seam = seam;
    this.#lease = lease;
    this.#head = head;
    this.#version = version;
    this.#manifest = manifest;
  }

  /**
   * Takes hold of a volume: raises its epoch. Whoever had it before is fenced.
   *
   * @param decide Looks at head and manifest, and says which journal continues from here; throws if
   *   the volume may not be taken. Called again if the head was replaced meanwhile by whoever has it.
   * @throws {UblkError} `VOLUME_FENCED` if somebody else was faster.
   */
  static async claim(
    store: Store,
    name: string,
    { seam, host, lease }: Claim,
    decide: (head: Head, manifest: Manifest) => string | Promise<string>,
  ): Promise<Committed> {
    const names = new ObjectNames(name);
    for (let attempt = 1;; attempt++) {
      const found = await stateOf(store, names);
      const { manifest } = found;
      // Without the key of an encrypted volume this throws, before anything has changed.
      assert(Array.isArray(manifest.runs), "its runs can be read");
      const journal = await decide(found.head, manifest);
      const held = new Committed(store, names, { seam, lease }, found, manifest);
      try {
        await held.#replaceHead({
          ...{ attached: true, journal, owner: seam.uuid(), host, epoch: found.head.epoch + 1 },
          leaseMs: lease.ms,
          // Data that is lost with a journal is not lost once more with the next one.
          written: journal === found.head.journal ? found.head.written : manifest.written,
        });
        return held;
      } catch (error) {
        const isLost = isUblkError(error) && error.code === "VOLUME_FENCED";
        if (!isLost || attempt === CLAIM_ATTEMPTS) throw error;
        // Whoever has it has committed, or renewed his lease. That is no reason to stay away. Nor is an
        // earlier attempt of ours that came late: nobody else has the journal that was decided on.
        const { head } = await stateOf(store, names);
        const isOurs = head.journal !== NO_UUID && head.journal === journal;
        if (head.epoch !== found.head.epoch && !isOurs) throw error;
      }
    }
  }

  /** The manifest that counts. */
  get manifest(): Manifest {
    return this.#manifest;
  }

  /** The head. */
  get head(): Head {
    return this.#head;
  }

  /** The epoch of this hold. */
  get epoch(): number {
    return this.#head.epoch;
  }

  /**
   * Makes a change count: everything that it names must be durable.
   *
   * Once the manifest is there, the commit is decided: after an error it may count by now, or later.
   * Nothing else is committed before it counts for sure. Otherwise the volume could go back: to a
   * state that others have seen replaced, and whose data they may have deleted.
   *
   * @param acknowledged Bytes of data that have been acknowledged in all. What the manifest lacks of
   *   them is lost if the journal is: the head tells of it.
   * @param prepare Called with the manifest once that is there, and before it counts.
   * @throws {UblkError} `VOLUME_FENCED` if somebody else has the volume by now.
   */
  async commit(
    change: ManifestChange,
    acknowledged = 0,
    prepare?: (manifest: Manifest) => Promise<void>,
  ): Promise<void> {
    await this.settle();
    const before = this.#manifest;
    const { ancestors = [] } = change;
    const hasOthers = change.ancestors !== undefined &&
      ancestors.length + before.ancestors.length > 0;
    const { store, names } = this;
    const { manifest, encoded } = await putManifest(store, names, before.number + 1, (number) => ({
      ...{ ...before, ...change, number, epoch: this.epoch },
      since: hasOthers ? number : before.since,
    }));
    assert(manifest.sequence >= before.sequence, "a commit does not go back");
    this.putBytes += encoded.bytes.length;
    await prepare?.(manifest);
    this.#decided = {
      manifest,
      head: {
        manifest: manifest.number,
        manifestSum: encoded.sum,
        written: Math.max(manifest.written, acknowledged, this.#head.written),
      },
    };
    await this.settle();
  }

  /** Whether a commit has failed that may count by now, or later: {@linkcode settle} ends that. */
  get isDecided(): boolean {
    return this.#decided !== undefined;
  }

  /** Makes a commit that was decided count. @throws {UblkError} `VOLUME_FENCED` */
  async settle(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#decided === undefined) return;
    const { manifest, head } = this.#decided;
    await this.#replaceHead(head);
    this.#manifest = manifest;
    this.#decided = undefined;
  }

  /**
   * Looks whether the volume is still held. Otherwise an object may be missing because whoever has it
   * now has deleted it.
   *
   * @throws {UblkError} `VOLUME_FENCED`
   */
  async check(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const found = await readHead(this.store, this.names);
    const { nonce } = this.#head;
    if (found?.head.nonce === nonce || this.#tried.has(found?.head.nonce ?? "")) return;
    throw this.#failure = fenced(this.store, this.names.volume, found?.head);
  }

  /** Notes that the volume is left in order: no journal continues it. */
  async release(): Promise<void> {
    await this.settle();
    const nobody = { attached: false, journal: NO_UUID, owner: NO_UUID, leaseMs: 0, host: "" };
    await this.#replaceHead(nobody);
  }

  /**
   * Renews the lease.
   *
   * @throws {UblkError} `VOLUME_FENCED` if somebody else has the volume by now.
   */
  async renew(): Promise<void> {
    await this.#replaceHead({});
  }

  /** Replaces the head, one replacement after the other. */
  #replaceHead(change: Partial<Head>): Promise<void> {
    const replaced = this.#replacing.then(() => this.#replaceNow(change));
    this.#replacing = replaced.catch(() => {});
    return replaced;
  }

  async #replaceNow(change: Partial<Head>): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const { store, names } = this;
    // Before it is sent: who takes the volume counts from when the store has it.
    const sentAt = this.#lease.now();
    const head: Head = {
      ...this.#head,
      // It may be in the store by now, and the volume does not go back.
      ...this.#decided?.head,
      ...change,
      ...{ nonce: this.#seam.uuid(), time: this.#seam.now() },
    };
    const bytes = encodeHead(head);
    this.#tried.add(head.nonce);
    for (;;) {
      const version = await store.replace(names.head, bytes, this.#version);
      this.putBytes += version === undefined ? 0 : bytes.length;
      if (version !== undefined) return this.#replaced(head, version, sentAt);
      // A lost answer looks like a lost race.
      const found = await readHead(store, names);
      if (found?.head.nonce === head.nonce) return this.#replaced(head, found.version, sentAt);
      // So does an earlier attempt of ours that seemed to have failed. Only its nonce tells: to go by
      // the owner undid the last commit of whoever a claim was taking the volume from.
      const isOurs = found !== undefined && found.version !== this.#version &&
        this.#tried.has(found.head.nonce);
      if (!isOurs) {
        this.#failure = fenced(store, names.volume, found?.head);
        throw this.#failure;
      }
      this.#version = found.version;
    }
  }

  #replaced(head: Head, version: Version, sentAt: number): void {
    this.#lease.renewed(sentAt);
    this.#head = head;
    this.#version = version;
    this.#tried.clear();
  }
}
