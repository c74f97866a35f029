/**
 * Mounts of a node that are open volumes of this process, for tests of the reconcile loop with real ones.
 *
 * @module
 */

import type { Mounts } from "../../ebs/reconcile/mounts.ts";
import { openStore } from "../../store/open.ts";
import { isUblkError } from "../../uapi/error.ts";
import { readHead } from "../../volume/state.ts";
import { removeVolume } from "../../volume/list.ts";
import { ObjectNames } from "../../volume/names.ts";
import { Volume } from "../../volume/volume.ts";

/** A store that is away keeps an unmount so long, in milliseconds. */
const PATIENCE_MS = 3000;

/** Open volumes. */
export class VolumeMounts implements Mounts {
  /** The volumes that are mounted. */
  readonly volumes = new Map<string, Volume>();
  readonly #store: string;
  readonly #journal: string;

  /** Volumes of a store, with journals in a folder. */
  constructor(store: string, journal: string) {
    this.#store = store;
    this.#journal = journal;
  }

  mounted(): Iterable<string> {
    return this.volumes.keys();
  }

  isMounted(volume: string): boolean {
    return this.volumes.has(volume);
  }

  async mount(volume: string): Promise<void> {
    const terms = {
      ...{ store: this.#store, journal: this.#journal, journalSize: "16M" },
      ...{ leaseSeconds: 2, patienceMs: PATIENCE_MS },
    };
    this.volumes.set(volume, await this.#opened(volume, terms));
  }

  async unmount(volume: string): Promise<void> {
    const open = this.volumes.get(volume);
    // A store that is away, or another's by now, leaves the rest to the journal.
    await open?.close().catch(() => {});
    if (this.volumes.get(volume) === open) this.volumes.delete(volume);
  }

  async exists(volume: string): Promise<boolean> {
    await using store = await openStore(this.#store);
    return await readHead(store, new ObjectNames(volume)) !== undefined;
  }

  async destroy(volume: string): Promise<void> {
    await using store = await openStore(this.#store);
    await removeVolume(store, volume);
  }

  async #opened(
    volume: string,
    terms: Parameters<typeof Volume.open>[1],
  ): Promise<Volume> {
    try {
      return await Volume.open(volume, terms);
    } catch (error) {
      if (!isUblkError(error) || error.code !== "VOLUME_JOURNAL") throw error;
      return await Volume.open(volume, { ...terms, withoutJournal: true });
    }
  }
}
