/**
 * Opens volumes of a simulated node as far as their hold goes: journal, epoch, lease and the look at the
 * catalog are those of the volume engine, which itself is not there. So no data is written or drained.
 *
 * @module
 */

import type { Export, Exporter, ExportWish } from "../../ebs/exports.ts";
import type { NodeKey } from "../../ebs/node_key.ts";
import type { Files } from "../../files/port.ts";
import { makeFolders } from "../../store/directory.ts";
import { Backoff, mayPass, wait } from "../../store/retry.ts";
import type { Store } from "../../store/store.ts";
import { leaveJournal } from "../../volume/journal/identity.ts";
import { Lease } from "../../volume/lease.ts";
import { LeaseKeeper } from "../../volume/lease_keeper.ts";
import type { Seam } from "../../volume/seam.ts";
import { GarbageWatch } from "../../volume/space/watch.ts";
import { takeVolume } from "../../volume/take.ts";

/** The store's lease, in milliseconds: the default of a store that other machines reach. */
const LEASE_MS = 45_000;
/** A journal that holds nothing. */
const SHAPE = { segmentSize: 4096, segments: 2 };

/** The parts of a {@linkcode SimExporter}. */
export interface SimExporterParts {
  /** In words, for others. */
  readonly host: string;
  readonly store: Store;
  readonly key: NodeKey;
  /** The folder of journals. */
  readonly journal: string;
  readonly files: Files;
  readonly seam: Seam;
  /** A volume has begun to answer. */
  readonly begun: (volume: string) => void;
}

/** A volume that is open. */
interface Opened extends Omit<Export, "uri" | "port" | "resize"> {
  /** Whether a FLUSH would be answered now. */
  readonly answers: boolean;
}

/** Opens volumes without their data. */
export class SimExporter implements Exporter {
  readonly #parts: SimExporterParts;
  readonly #exported = new Map<string, Opened>();

  /** Takes over the parts. */
  constructor(parts: SimExporterParts) {
    this.#parts = parts;
  }

  /** Whether a FLUSH would be answered now. */
  answers(volume: string): boolean {
    return this.#exported.get(volume)?.answers === true;
  }

  async open({ volume, takes = false }: ExportWish): Promise<Export> {
    const opened = await this.#open(volume, takes);
    this.#exported.set(volume, opened);
    this.#parts.begun(volume);
    const { size, epoch, shut } = opened;
    return {
      ...{ uri: `nbd+unix:///${volume}`, port: 0, size, epoch, shut },
      resize: () => Promise.reject(new Error("a simulated volume keeps its size")),
      close: async () => {
        await opened.close();
        if (this.#exported.get(volume) === opened) this.#exported.delete(volume);
      },
    };
  }

  async drain(volume: string, takes = false): Promise<void> {
    await (await this.#open(volume, takes)).close();
  }

  async #open(volume: string, withoutJournal: boolean): Promise<Opened> {
    const { host, store, key, journal, files, seam } = this.#parts;
    await key.of(volume);
    const folder = `${journal}/${volume}`;
    makeFolders(files, folder);
    const lease = new Lease(LEASE_MS, seam.elapsed);
    const taken = await takeVolume({
      ...{ store, name: volume, files, folder, withoutJournal, force: false, lease, host, seam },
      ...SHAPE,
    });
    const { committed, identity } = taken;
    let failure: unknown = undefined;
    let isShut = false;
    const keeper = new LeaseKeeper({
      ...{ committed, lease, regained: () => {}, report: () => {} },
      lost: (error) => void (failure = error),
    });
    keeper.start();
    const watch = new GarbageWatch({ committed, keeper: { mayFree: () => {} } });
    const leave = async () => {
      try {
        // As the drain does: until the store takes it.
        for (const backoff = new Backoff(); failure === undefined;) {
          try {
            await committed.release();
            leaveJournal(files, folder, identity);
            break;
          } catch (error) {
            if (!mayPass(error)) failure = error;
            else await wait(backoff.next());
          }
        }
        if (failure !== undefined) throw failure;
      } finally {
        await keeper.stop();
        await watch.close();
        taken[Symbol.dispose]();
      }
    };
    let left: Promise<void> | undefined = undefined;
    return {
      ...{ size: committed.manifest.size, epoch: committed.epoch },
      get answers() {
        return !isShut && failure === undefined && left === undefined && lease.isHeld;
      },
      shut: () => void (isShut = true),
      close: () => left ??= leave(),
    };
  }
}
