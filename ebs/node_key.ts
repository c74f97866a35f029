/**
 * The key of a store's nodes, which opens its encrypted volumes: all nodes have the same. Only the path
 * of its file goes around here, and nothing keeps what is in it.
 *
 * An object tells a node that it has another key than the others, before it makes a volume that these
 * cannot open:
 *
 * ```
 * .ebs/key    a key as in `volume/format/key.ts`, of no volume: random, encrypted with the nodes' key
 * ```
 *
 * @module
 */

import { retried } from "../store/retry.ts";
import type { Store } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { damaged, decoded, readMadeHead } from "../volume/state.ts";
import { decodeKey, encodeKey } from "../volume/format/key.ts";
import type { Head } from "../volume/format/head.ts";
import { NO_UUID } from "../volume/format/record.ts";
import { ObjectNames } from "../volume/names.ts";
import { readKey, type VolumeKeyFile } from "../volume/seal/key_source.ts";
import { keyOf } from "../volume/opened_store.ts";
import { unlocked } from "../volume/seal/unlock.ts";
import { VolumeKey } from "../volume/seal/volume_key.ts";
import { unwrapKey, wrapKey } from "../volume/seal/wrap.ts";
import { EbsError } from "./error.ts";

/** The object. */
const CHECK = ".ebs/key";
/** How long a store that fails is asked again, in milliseconds: less than a client waits. */
const PATIENCE_MS = 10_000;

/** The key of a node, or that it has none. */
export class NodeKey {
  readonly #node: string;
  readonly #store: Store;
  readonly #file: VolumeKeyFile | undefined;

  /** @param file The file with the key; undefined for none. It is read whenever it is needed. */
  constructor(node: string, store: Store, file?: VolumeKeyFile) {
    this.#node = node;
    this.#store = store;
    this.#file = file;
  }

  /**
   * Checks that the key is that of the store's other nodes. The first node's becomes so.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` if the file has no key; `VOLUME_KEY` if it is another one.
   */
  async check(): Promise<void> {
    if (this.#file === undefined) return;
    const store = this.#store;
    const kept = readKey(this.#file);
    try {
      const found = await retried(async () => {
        const there = await store.get(CHECK);
        if (there !== undefined) return there;
        using any = VolumeKey.random();
        await store.putIfAbsent(CHECK, encodeKey(wrapKey(any, NO_UUID, kept)));
        return await store.get(CHECK);
      }, { withinMs: PATIENCE_MS });
      if (found === undefined) throw damaged(store, CHECK, "was written, and is missing");
      const record = decoded(store, CHECK, () => decodeKey(found.bytes, NO_UUID));
      using right = unwrapKey(record, kept);
      if (right !== undefined) return;
    } finally {
      kept.bytes.fill(0);
    }
    throw new UblkError("VOLUME_KEY", {
      operation: `node ${this.#node}`,
      reason: "its key is another one than that of the store's other nodes",
      hint: "give theirs; if all volumes have got a new key, remove the object .ebs/key",
    });
  }

  /** The key for something that cannot be without. @throws {EbsError} `unsupported_capability` */
  required(what: string): VolumeKeyFile {
    if (this.#file !== undefined) return this.#file;
    const remedy = `and node ${this.#node} has no key: start it with --key-file`;
    throw new EbsError("unsupported_capability", `${what} is encrypted, ${remedy}`);
  }

  /** Whether a volume is encrypted. One that is not there is not. */
  async isEncrypted(volume: string): Promise<boolean> {
    return (await this.#headOf(volume))?.encrypted === true;
  }

  async #headOf(volume: string): Promise<Head | undefined> {
    // Whoever goes on with an interrupted removal needs the key, too.
    const read = () => readMadeHead(this.#store, new ObjectNames(volume));
    return (await retried(read, { withinMs: PATIENCE_MS }))?.head;
  }

  /** The key of a volume; undefined if it is not encrypted. @throws {EbsError} */
  async of(volume: string): Promise<VolumeKeyFile | undefined> {
    return this.#for(volume, await this.#headOf(volume));
  }

  #for(volume: string, head: Head | undefined): VolumeKeyFile | undefined {
    return head?.encrypted ? this.required(`volume ${volume}`) : undefined;
  }

  /**
   * Runs something with the store of a volume, opened if it is encrypted.
   *
   * @throws {EbsError} `unsupported_capability` if there is no key.
   * @throws {UblkError} `VOLUME_KEY` if it is the wrong one.
   */
  async within<T>(volume: string, run: (store: Store) => Promise<T>): Promise<T> {
    const head = await this.#headOf(volume);
    // The remains of an encrypted volume are encrypted too. Its key objects tell that it was.
    const file = head === undefined ? this.#file : this.#for(volume, head);
    const opened = await unlocked(this.#store, volume, file);
    using _key = keyOf(opened);
    return await run(opened);
  }

  /** The same, with the store as it is where there is no key: for what needs none with some volumes. */
  async perhapsWithin<T>(volume: string, run: (store: Store) => Promise<T>): Promise<T> {
    return await (this.#file === undefined ? run(this.#store) : this.within(volume, run));
  }
}
