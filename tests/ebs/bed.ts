/**
 * A node's service in a folder, for tests.
 *
 * @module
 */

import { realFiles } from "../../files/real.ts";
import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import { openStore } from "../../store/open.ts";
import type { Store } from "../../store/store.ts";
import { Scratch } from "../scratch.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { MACHINE } from "../../volume/seam.ts";
import type { NbdTerms } from "../../ebs/nbd_export.ts";
import { NodeKey } from "../../ebs/node_key.ts";
import { NodeExporter } from "../../ebs/node_exporter.ts";
import { UNKNOWN_PEERS } from "../../ebs/peers.ts";
import { EbsService, type ServiceParts } from "../../ebs/service.ts";
import { StoreExclusion } from "../../ebs/store_exclusion.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

export const MIB: number = 1 << 20;

/** What a node has that is not as with others. */
export interface BedParts
  extends Partial<Pick<ServiceParts, "exporter" | "exclusion" | "peers" | "wanted">> {
  /** The file with the key of encrypted volumes. */
  readonly keyFile?: string;
  /** How volumes are opened, where that is not as with others. */
  readonly disk?: NbdTerms["disk"];
}

/** A store in a folder, and the folders of nodes. */
export class Bed implements AsyncDisposable {
  readonly store: Store;
  readonly lines: string[] = [];
  readonly #scratch: Scratch;
  readonly #services: EbsService[] = [];

  private constructor(scratch: Scratch, store: Store) {
    this.#scratch = scratch;
    this.store = store;
  }

  static async make(): Promise<Bed> {
    const scratch = Scratch.inMemory();
    return new Bed(scratch, await openStore(`${scratch.path}/store`, { create: true }));
  }

  /** With a store in memory, which fails as it is told to. Nothing can be mounted. */
  static inMemory(store: Store = new FaultyStore(new MemoryStore())): Promise<Bed> {
    return Promise.resolve(new Bed(Scratch.inMemory(), store));
  }

  get folder(): string {
    return this.#scratch.path;
  }

  /** A node's service; again, if the one before has ended. */
  node(
    name = "one",
    { keyFile, disk: own, ...parts }: BedParts = {},
  ): EbsService {
    const journal = `${this.folder}/${name}`;
    const sockets = `${journal}/.ebs/sockets`;
    Deno.mkdirSync(sockets, { recursive: true });
    const report = (line: string) => void this.lines.push(line);
    const disk: NbdTerms["disk"] = {
      ...{ store: `${this.folder}/store`, journal, journalSize: "16M", leaseSeconds: 0 },
      ...own,
    };
    const key = new NodeKey(name, this.store, keyFile === undefined ? undefined : { keyFile });
    const service = new EbsService({
      ...{ node: name, store: this.store, key, journal, files: realFiles, seam: MACHINE, report },
      exporter: new NodeExporter({ disk, key, sockets, host: "127.0.0.1", report }),
      exclusion: new StoreExclusion(this.store, name, 50),
      peers: UNKNOWN_PEERS,
      cacheDir: disk.cacheDir,
      ...parts,
    });
    this.#services.push(service);
    return service;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const service of this.#services) await service.end();
    await this.store[Symbol.asyncDispose]();
    this.#scratch[Symbol.dispose]();
  }
}
