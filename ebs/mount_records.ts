/**
 * What is mounted on this node, on its own disk: one file for each volume, beside the journals. It is
 * there before the volume is opened and goes after it was left in order, so that a service that
 * starts again knows whose journals it has.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import { readWhole, writeWhole } from "../files/whole.ts";
import { makeFolders } from "../store/directory.ts";
import { thrownText } from "../uapi/error.ts";
import { isId } from "./names.ts";
import { BYTES, checked, ID, TEXT, v } from "./schema.ts";

const MOUNT = v.object({
  volume: ID,
  /** `unmounting`: its journal may have what the store lacks, and it is not to be served again. */
  state: v.picklist(["mounted", "unmounting"]),
  readOnly: v.boolean(),
  access: v.picklist(["unix", "tcp", "block"]),
  /** The port that it had, so that clients find it again; 0 for none yet. */
  port: BYTES,
  instance: v.optional(TEXT),
  device: v.optional(TEXT),
  time: BYTES,
});

/** A mount as it is recorded. */
export type MountRecord = v.InferOutput<typeof MOUNT>;

const ENDING = ".json";

/** The records of a node. */
export class MountRecords {
  readonly #files: Files;
  readonly #folder: string;

  /** Records in a folder, which is made. */
  constructor(files: Files, folder: string) {
    makeFolders(files, folder);
    this.#files = files;
    this.#folder = folder;
  }

  /** Writes a record. It is durable then. */
  put(record: MountRecord): void {
    const path = this.#pathOf(record.volume);
    const made = `${path}.new`;
    const bytes = new TextEncoder().encode(JSON.stringify(record));
    {
      using file = this.#files.open(made, { write: true, create: "if-missing", truncate: true });
      writeWhole(file, bytes, 0);
      file.sync(false);
    }
    this.#files.rename(made, path);
    this.#files.syncFolder(this.#folder);
  }

  /** Removes a record, if there is one. */
  remove(volume: string): void {
    const path = this.#pathOf(volume);
    if (this.#files.status(path) === undefined) return;
    this.#files.remove(path);
    this.#files.syncFolder(this.#folder);
  }

  /**
   * All records.
   *
   * @param report Takes a line about a file that cannot be read. It stays.
   */
  all(report: (line: string) => void): MountRecord[] {
    return this.#files.list(this.#folder).flatMap((name) => {
      const volume = name.endsWith(ENDING) ? name.slice(0, -ENDING.length) : "";
      if (!isId(volume)) return [];
      try {
        const record = this.get(volume);
        return record === undefined ? [] : [record];
      } catch (error) {
        report(`${this.#pathOf(volume)}: ${thrownText(error)}`);
        return [];
      }
    });
  }

  /** The record of a volume; undefined if there is none. */
  get(volume: string): MountRecord | undefined {
    const path = this.#pathOf(volume);
    if (this.#files.status(path) === undefined) return undefined;
    using file = this.#files.open(path);
    const bytes = new Uint8Array(file.size());
    readWhole(file, bytes, 0);
    return checked(MOUNT, JSON.parse(new TextDecoder().decode(bytes)), path);
  }

  #pathOf(volume: string): string {
    return `${this.#folder}/${volume}${ENDING}`;
  }
}
