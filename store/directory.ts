/**
 * A store in a folder: each object is a file with the object's bytes and nothing else.
 *
 * ```
 * ROOT/a/b/c          the object a/b/c
 * ROOT/.tmp/          temporary files (temporary.ts)
 * ROOT/.tmp-locks/    locks of objects (object_locks.ts)
 * ```
 *
 * **An object is put in this order**: the folders are made and their names synced; its bytes are
 * written to a temporary file and synced; the file gets its name by `link`, which fails if there is
 * one already; the folder is synced; the temporary name is removed. A replaced object is renamed
 * over instead, under the object's lock.
 *
 * **A file with two names is not durable yet.** A process that is killed between `link` and the
 * sync of the folder leaves an object that others see and a power cut takes away. The temporary name
 * is still there then, so whoever finds a file with two names first syncs its folder. (A backup by
 * hard links, as of `cp -al`, therefore makes every read sync a folder.)
 *
 * **An object is deleted** by a new name in `.tmp`, the sync of its folder, and the removal of that
 * name. Before the sync a power cut brings it back, so whoever must know that it is gone (`settled`)
 * takes its lock and syncs the folder too.
 *
 * **A folder whose sync failed** is not synced again in the hope of better. The change of the name
 * is undone, and the call fails. If that is not possible, the store refuses all further calls.
 *
 * @module
 */

import { errnoOfFile, fileError } from "../files/file_error.ts";
import { type File, type Files, folderOf } from "../files/port.ts";
import { realFiles } from "../files/real.ts";
import { readWhole } from "../files/whole.ts";
import { EACCES, EDQUOT, EEXIST, EISDIR, ENOENT, ENOSPC, ENOTDIR } from "../uapi/errno.ts";
import { assert, UblkError } from "../uapi/error.ts";
import { printable } from "../uapi/printable.ts";
import { attempt, fileFailure } from "./file_failure.ts";
import { Folders, makeIfMissing } from "./folders.ts";
import { checkName, checkPrefix } from "./names.ts";
import { ObjectLocks, type Pause } from "./object_locks.ts";
import { checkRange } from "./ranges.ts";
import {
  type DeleteTerms,
  type GetTerms,
  type ListedObject,
  type Store,
  type StoredObject,
  StoreError,
  type StoreTerms,
  type Version,
} from "./store.ts";
import { TemporaryFiles } from "./temporary.ts";
import { versionOf } from "./version.ts";

/** Options of {@linkcode DirectoryStore.open}. */
export interface DirectoryStoreOptions {
  /**
   * The files to use.
   *
   * @default The kernel's files
   */
  readonly files?: Files;
  /**
   * Make the folder if it is missing, and those above.
   *
   * @default false
   */
  readonly create?: boolean;
  /**
   * Makes names of temporary files, each another.
   *
   * @default Random ones
   */
  readonly newId?: () => string;
  /**
   * Waits for a lock that another process holds.
   *
   * @default By a timer
   */
  readonly pause?: Pause;
  /**
   * Lets others of the thread go on meanwhile.
   *
   * @default The thread waits for each call
   */
  readonly beside?: BesideOthers;
}

/** How a store in a folder lets others of its thread go on. */
export interface BesideOthers {
  /** Makes a file durable, as `File.sync` with `false` does. */
  readonly sync: (file: File) => Promise<void>;
  /** Gives the event loop a turn. */
  readonly turn: () => Promise<void>;
}

/**
 * A store in a folder. Several processes may use one folder at a time.
 *
 * Each call blocks the calling thread until its system calls are done, but for what `beside` does. The
 * filesystem needs hard links and `flock`.
 */
export class DirectoryStore implements Store {
  readonly url: string;
  readonly #files: Files;
  readonly #root: string;
  /** Identifies the folder that was opened. */
  readonly #identity: string;
  readonly #folders: Folders;
  readonly #temporary: TemporaryFiles;
  readonly #locks: ObjectLocks;
  readonly #beside: BesideOthers | undefined;
  /** Why no call is possible any more. */
  #broken: StoreError | undefined;
  #isClosed = false;

  private constructor(root: string, identity: string, options: DirectoryStoreOptions) {
    const { files = realFiles, newId = randomId, pause = pauseByTimer } = options;
    this.url = urlOf(root);
    this.#files = files;
    this.#root = root;
    this.#identity = identity;
    this.#folders = new Folders(files, root);
    this.#temporary = new TemporaryFiles(files, `${root}/.tmp`, newId);
    this.#locks = new ObjectLocks(files, `${root}/.tmp-locks`, pause);
    this.#beside = options.beside;
  }

  /**
   * Opens the store in a folder, and removes what dead processes have left there.
   *
   * @throws {StoreError} `refused` if there is no such folder.
   */
  // deno-lint-ignore require-await -- what throws here must reject
  static async open(
    folder: string,
    options: DirectoryStoreOptions = {},
  ): Promise<DirectoryStore> {
    const { files = realFiles, create = false } = options;
    const root = folder.replace(/(?<=[^/])\/+$/, "");
    const where = printable(`open the store ${urlOf(root)}`);
    try {
      if (create) makeFolders(files, root);
      const status = files.status(root);
      if (status?.kind !== "directory") {
        const cause = status === undefined ? "there is no such folder" : `it is a ${status.kind}`;
        throw new StoreError("refused", `${where}: ${cause}; make the folder, or give another`);
      }
      const store = new DirectoryStore(root, status.identity, options);
      store.#temporary.removeLeftovers(() => store.#folders.syncAll());
      return store;
    } catch (error) {
      throw fileFailure(where, error);
    }
  }

  localPath(name: string): string {
    checkName(name);
    return this.#folders.pathOf(name);
  }

  async get(
    name: string,
    { range, settled = false, signal }: GetTerms = {},
  ): Promise<StoredObject | undefined> {
    return await this.#do("get", name, signal, async (where) => {
      // A change that is under way is undone if it fails.
      using _lock = settled ? await this.#take(name, where, signal) : undefined;
      using file = this.#open(name);
      if (file === undefined) {
        this.#checkRoot(where);
        if (settled) this.#syncFor(() => this.#syncExisting(name));
        return undefined;
      }
      this.#settle(name);
      const size = file.size();
      const length = range === undefined ? size : checkRange(range, size, where);
      const offset = range?.offset ?? 0;
      const bytes = new Uint8Array(length);
      readWhole(file, bytes, offset);
      return { bytes, version: range === undefined ? versionOf(bytes) : "", size };
    });
  }

  async putIfAbsent(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    { signal }: StoreTerms = {},
  ): Promise<Version | undefined> {
    return await this.#do("put", name, signal, async (where) => {
      using _lock = await this.#take(name, where, signal);
      const path = this.#folders.pathOf(name);
      if (this.#isThere(name)) return undefined;
      const folder = this.#folders.folderOf(name);
      this.#syncFor(() => this.#folders.make(folder));
      const temporary = this.#beside === undefined
        ? this.#temporary.write(bytes)
        : await this.#temporary.writeBeside(bytes, this.#beside.sync);
      try {
        // Another call may have found out meanwhile.
        if (this.#broken !== undefined) throw this.#broken;
        try {
          this.#link(temporary, path);
          this.#files.syncFolder(this.#folders.pathOf(folder));
        } catch (error) {
          this.#undo(error, () => {
            if (this.#areSame(temporary, path)) this.#files.remove(path);
          });
          if (errnoOfFile(error) === EEXIST && this.#isThere(name)) return undefined;
          throw error;
        }
        return versionOf(bytes);
      } finally {
        if (this.#broken === undefined) this.#temporary.discard([temporary]);
      }
    });
  }

  async replace(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    version: Version,
    { signal }: StoreTerms = {},
  ): Promise<Version | undefined> {
    return await this.#do("replace", name, signal, async (where) => {
      using _lock = await this.#take(name, where, signal);
      if (!this.#isThere(name) || this.#versionOf(name) !== version) return undefined;
      const path = this.#folders.pathOf(name);
      const made = [this.#temporary.write(bytes)];
      const named = () => made[made.push(this.#temporary.path()) - 1];
      try {
        const old = named();
        this.#files.link(path, old);
        const second = named();
        this.#files.link(made[0], second);
        try {
          this.#files.rename(second, path);
          this.#files.syncFolder(this.#folders.pathOf(this.#folders.folderOf(name)));
        } catch (error) {
          // If the old one still has the name, this does nothing.
          this.#undo(error, () => this.#files.rename(old, path));
          throw error;
        }
        return versionOf(bytes);
      } finally {
        if (this.#broken === undefined) this.#temporary.discard(made);
      }
    });
  }

  async *list(prefix: string, { signal }: StoreTerms = {}): AsyncIterable<ListedObject> {
    checkPrefix(prefix);
    signal?.throwIfAborted();
    const where = `list ${prefix} in ${this.url}`;
    this.#check();
    try {
      this.#checkRoot(where);
      const folders = [this.#folders.folderOf(prefix)];
      for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
        for (const { name, isFolder, size } of this.#folders.entries(folder)) {
          signal?.throwIfAborted();
          if (isFolder && `${name}/`.startsWith(prefix.slice(0, name.length + 1))) {
            folders.push(name);
          } else if (!isFolder && name.startsWith(prefix)) yield { name, size };
        }
      }
    } catch (error) {
      throw fileFailure(where, error);
    }
  }

  async delete(name: string, { version, signal }: DeleteTerms = {}): Promise<boolean> {
    return await this.#do("delete", name, signal, async (where) => {
      using _lock = await this.#take(name, where, signal);
      const path = this.#folders.pathOf(name);
      // Also where there is nothing: a process that was killed may have deleted it.
      const isThere = this.#files.status(path)?.kind === "file";
      if (!isThere) {
        this.#syncFor(() => this.#syncExisting(name));
        return true;
      }
      if (version !== undefined && this.#versionOf(name) !== version) {
        this.#settle(name);
        return false;
      }
      const old = this.#setAside(path);
      try {
        this.#syncExisting(name);
      } catch (error) {
        this.#undo(error, () => {
          if (old === undefined) throw error;
          // With both names: it is not durable that it is there again.
          this.#files.link(old, path);
        });
        throw error;
      }
      if (old !== undefined) this.#temporary.discard([old]);
      return true;
    });
  }

  /** Closes the store. */
  // deno-lint-ignore require-await -- what throws here must reject
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#temporary.close();
  }

  async #do<T>(
    operation: string,
    name: string,
    signal: AbortSignal | undefined,
    work: (where: string) => T | Promise<T>,
  ): Promise<T> {
    checkName(name);
    if (this.#beside !== undefined) await this.#beside.turn();
    signal?.throwIfAborted();
    this.#check();
    const where = printable(`${operation} ${name} in ${this.url}`);
    try {
      return await work(where);
    } catch (error) {
      // Somebody has removed a folder. The next call makes it again.
      if (errnoOfFile(error) === ENOENT) this.#folders.forget();
      throw fileFailure(where, error);
    }
  }

  /** Takes the lock of an object. */
  async #take(name: string, where: string, signal: AbortSignal | undefined): Promise<Disposable> {
    this.#checkRoot(where);
    const lock = await this.#locks.take(name, where, signal);
    // Another call may have found out meanwhile.
    if (this.#broken === undefined) return lock;
    lock[Symbol.dispose]();
    throw this.#broken;
  }

  #check(): void {
    assert(!this.#isClosed, "a store that was closed is not used");
    if (this.#broken !== undefined) throw this.#broken;
  }

  /** The file of an object; undefined if there is no such object. */
  #open(name: string): File | undefined {
    const path = this.#folders.pathOf(name);
    if (this.#files.status(path)?.kind !== "file") return undefined;
    try {
      return this.#files.open(path);
    } catch (error) {
      const errno = errnoOfFile(error);
      if (errno === ENOENT || errno === ENOTDIR || errno === EISDIR) return undefined;
      throw error;
    }
  }

  /** Whether there is an object of that name. If there is, it is durable. */
  #isThere(name: string): boolean {
    const path = this.#folders.pathOf(name);
    const status = this.#files.status(path);
    if (status === undefined) return false;
    if (status.kind !== "file") throw fileError(`link ${path}`, EISDIR);
    this.#settle(name);
    return true;
  }

  /** Makes the name of an object durable if that may have been left undone. */
  #settle(name: string): void {
    const { links = 0 } = this.#files.status(this.#folders.pathOf(name)) ?? {};
    if (links > 1) this.#syncFor(() => this.#folders.sync(this.#folders.folderOf(name)));
  }

  /** Takes the name from a file. @returns Its new name; undefined if the disk is too full for one. */
  #setAside(path: string): string | undefined {
    let old: string;
    try {
      old = this.#temporary.path();
      this.#files.rename(path, old);
    } catch (error) {
      const errno = errnoOfFile(error);
      if (errno !== ENOSPC && errno !== EDQUOT) throw error;
      this.#files.remove(path);
      return undefined;
    }
    return old;
  }

  /** Syncs the folder that an object is or was in, if there is one. */
  #syncExisting(name: string): void {
    const folder = this.#folders.pathOf(this.#folders.folderOf(name));
    if (this.#files.status(folder)?.kind === "directory") this.#files.syncFolder(folder);
  }

  #versionOf(name: string): Version | undefined {
    using file = this.#open(name);
    if (file === undefined) return undefined;
    const bytes = new Uint8Array(file.size());
    readWhole(file, bytes, 0);
    return versionOf(bytes);
  }

  #link(temporary: string, path: string): void {
    try {
      this.#files.link(temporary, path);
    } catch (error) {
      // NFS repeats a request whose answer was lost, and then finds its own success.
      if (errnoOfFile(error) !== EEXIST || !this.#areSame(temporary, path)) throw error;
    }
  }

  #areSame(one: string, other: string): boolean {
    const identity = this.#files.status(one)?.identity;
    return identity !== undefined && identity === this.#files.status(other)?.identity;
  }

  /** Syncs folders. If that fails there is nothing to undo, so the store refuses further calls. */
  #syncFor(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (error instanceof UblkError && error.operation === "fsync") this.#break(error);
      throw error;
    }
  }

  /** Undoes a change of names that failed or could not be made durable. */
  #undo(error: unknown, work: () => void): void {
    if (errnoOfFile(error) === undefined) return;
    const failure = attempt(work);
    if (failure !== undefined) this.#break(failure);
  }

  #break(cause: UblkError): void {
    this.#broken ??= new StoreError(
      "unavailable",
      printable(
        `the store ${this.url}: after a failure (${cause.message}) nobody knows what is durable; ` +
          "check the disk, then open the store again",
      ),
      { cause },
    );
  }

  /**
   * Checks that the folder is still the one that was opened. Otherwise every object would seem to
   * be absent when a filesystem is unmounted.
   */
  #checkRoot(where: string): void {
    if (this.#files.status(this.#root)?.identity === this.#identity) return;
    throw new StoreError(
      "unavailable",
      `${where}: the folder is no longer the one that was opened; ` +
        "was it removed, or its filesystem unmounted? Bring it back, or open the store again",
    );
  }
}

/** Makes a folder and those above, durably. */
export function makeFolders(files: Files, path: string): void {
  const above = folderOf(path).replace(/\/?\.$/, "");
  if (above !== "" && above !== "/") makeFolders(files, above);
  const isNew = makeIfMissing(files, path);
  const failure = attempt(() => files.syncFolder(above === "" ? folderOf(path) : above));
  // A folder that was there is made durable too: who made it may have been killed. If that is not
  // allowed, it is not one of ours.
  if (failure !== undefined && (isNew || failure.errno !== EACCES)) throw failure;
}

/** The URL of a folder. */
function urlOf(path: string): string {
  return path.startsWith("/")
    ? `file://${encodeURI(path).replace(/[?#]/g, encodeURIComponent)}`
    : path;
}

function randomId(): string {
  return crypto.randomUUID().replaceAll("-", "");
}

function pauseByTimer(ms: number, signal?: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const end = () => {
    clearTimeout(timer);
    reject(signal!.reason);
  };
  const timer = setTimeout(() => {
    signal?.removeEventListener("abort", end);
    resolve();
  }, ms);
  signal?.addEventListener("abort", end, { once: true });
  return promise;
}
