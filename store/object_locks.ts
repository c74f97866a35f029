/**
 * Locks of objects among the processes that use a store in files.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import type { File, Files } from "../files/port.ts";
import { makeIfMissing } from "./folders.ts";
import { StoreError } from "./store.ts";

/** Number of locks: objects share them. */
const LOCKS = 64;
/** Longest pause before a further try, in milliseconds. */
const LONGEST_PAUSE_MS = 16;
/** Time after which a lock is not waited for any longer, in milliseconds. */
const PATIENCE_MS = 30_000;

/** Waits. Rejects with the reason of the signal. */
export type Pause = (ms: number, signal?: AbortSignal) => Promise<void>;

/** The locks of a store's objects: `flock` on files of a folder. A dead process holds none. */
export class ObjectLocks {
  readonly #files: Files;
  readonly #folder: string;
  readonly #pause: Pause;

  /** Nothing is touched yet. */
  constructor(files: Files, folder: string, pause: Pause) {
    this.#files = files;
    this.#folder = folder;
    this.#pause = pause;
  }

  /**
   * Takes the lock of an object, and waits for it.
   *
   * @param where The operation, the object and the store, for the error.
   * @returns The lock, which ends when it is disposed of.
   */
  async take(name: string, where: string, signal?: AbortSignal): Promise<Disposable> {
    const file = this.#open(name);
    try {
      let waited = 0;
      for (let ms = 1; !file.lock("exclusive"); ms = Math.min(2 * ms, LONGEST_PAUSE_MS)) {
        if (waited >= PATIENCE_MS) {
          throw new StoreError(
            "unavailable",
            `${where}: another process has held the lock ${file.path} for ${PATIENCE_MS / 1000} s` +
              "; find out whether it hangs (`fuser`)",
          );
        }
        await this.#pause(ms, signal);
        waited += ms;
      }
      return file;
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
  }

  #open(name: string): File {
    makeIfMissing(this.#files, this.#folder);
    const lock = (crc32(name) >>> 0) % LOCKS;
    return this.#files.open(`${this.#folder}/${lock}`, { write: true, create: "if-missing" });
  }
}
