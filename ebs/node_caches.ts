/**
 * The files of caches on a node's disk. One has all the room of its cache as long as it is there, so it
 * is there only while this node has its volume: it goes before the record of the mount does. A service
 * that starts again finds the caches of what it mounts again.
 *
 * What could not go, because somebody used it or the disk failed, goes at the next start.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import type { Store } from "../store/store.ts";
import { cachePath } from "../volume/cache/options.ts";
import { cacheOwner, removeCache } from "../volume/cache/remove.ts";
import { ObjectNames } from "../volume/names.ts";
import { readHead } from "../volume/state.ts";
import { ebsErrorOf } from "./error.ts";
import type { MountRecords } from "./mount_records.ts";
import { isId } from "./names.ts";
import type { Records, VolumeRecord } from "./records.ts";
import type { Turns } from "./turns.ts";

/** The parts of {@linkcode NodeCaches}. */
export interface NodeCachesParts {
  /** The folder of caches. */
  readonly folder: string;
  /** The files of this machine. */
  readonly files: Files;
  /** The store of volumes. */
  readonly store: Store;
  /** What is mounted on this node. */
  readonly mounts: Pick<MountRecords, "get">;
  /** The volumes of all nodes. */
  readonly volumes: Pick<Records<VolumeRecord>, "get">;
  readonly turns: Pick<Turns, "run">;
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
}

/** The caches of a node. */
export class NodeCaches {
  readonly #parts: NodeCachesParts;
  #sweeping: Promise<void> = Promise.resolve();
  #isOver = false;

  /** Takes over the parts. */
  constructor(parts: NodeCachesParts) {
    this.#parts = parts;
  }

  /** Removes the cache of a volume that this node does not have, unless somebody uses it. */
  drop(volume: string): void {
    const { files, folder, report } = this.#parts;
    try {
      removeCache(files, cachePath(folder, volume));
    } catch (error) {
      report(`${volume}: its cache is still there: ${ebsErrorOf(error).message}`);
    }
  }

  /** Removes, in the background, caches of volumes that this node does not have. */
  sweep(): void {
    const { files, folder, report } = this.#parts;
    this.#sweeping = (async () => {
      if (files.status(folder) === undefined) return;
      for (const name of files.list(folder)) {
        if (isId(name)) await this.#look(name);
      }
    })().catch((error) => report(`caches in ${folder}: ${ebsErrorOf(error).message}`));
  }

  async #look(volume: string): Promise<void> {
    const { files, folder, mounts, turns, report } = this.#parts;
    const path = cachePath(folder, volume);
    try {
      // Most folders have none, and need no turn.
      if (this.#isOver || cacheOwner(files, path) === undefined) return;
      await turns.run(volume, async () => {
        if (mounts.get(volume) !== undefined) return;
        const isOurs = await this.#isOurs(volume, path);
        if (isOurs && !this.#isOver) this.drop(volume);
      });
    } catch (error) {
      report(`${volume}: its cache stays: ${ebsErrorOf(error).message}`);
    }
  }

  /**
   * Whether a cache is of a volume of the nodes, or of one that is gone. The folder may also have those
   * of volumes of the store that `ublk-volume` attaches; and whatever has such a name and is none.
   */
  async #isOurs(volume: string, path: string): Promise<boolean> {
    const { files, store, volumes } = this.#parts;
    if (await volumes.get(volume) !== undefined) return true;
    const head = (await readHead(store, new ObjectNames(volume)))?.head;
    const owner = cacheOwner(files, path);
    return owner !== undefined && owner.volume !== head?.volume;
  }

  /** Begins nothing any more, and waits for what is under way. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#sweeping;
  }
}
