/**
 * A temporary folder for a test: on the system's filesystem, on a tmpfs of its own, or in memory.
 *
 * In memory a sync costs nothing, and on a disk some milliseconds, of which a crash test needs
 * thousands. Tests of files stay on the disk if a disk can refuse or change what they do: it alone asks
 * O_DIRECT for alignment, punches and zeroes ranges in its own units, and keeps some writes back until
 * a sync. Tests of what is done with files, by whom and in which order, are as strict in memory.
 *
 * @module
 */

import { statfsSync } from "node:fs";

/** The machine's own folder in memory. */
const SHARED_MEMORY = "/dev/shm";
/** In a container it may have room for nothing. */
const LEAST_BYTES = 1 << 30;

/** Makes a folder in memory, or on the disk where memory has no room. The caller removes it. */
export function makeMemoryFolder(prefix = "ublk-test-"): string {
  return Deno.makeTempDirSync({ prefix, dir: hasRoom(SHARED_MEMORY) ? SHARED_MEMORY : undefined });
}

function hasRoom(folder: string): boolean {
  try {
    const { bsize, bavail } = statfsSync(folder);
    return bsize * bavail >= LEAST_BYTES;
  } catch {
    return false;
  }
}

/** A folder that is removed when it is disposed of. */
export class Scratch implements Disposable {
  /** The path of the folder. */
  readonly path: string;
  #mounted = false;

  /**
   * Creates the folder. With `tmpfsSize` (in mount's format) it is on a tmpfs, which needs root.
   *
   * @param path A folder to take over instead.
   */
  constructor(tmpfsSize?: string, path: string = Deno.makeTempDirSync({ prefix: "ublk-test-" })) {
    this.path = path;
    if (tmpfsSize === undefined) return;
    run("mount", "-t", "tmpfs", "-o", `size=${tmpfsSize}`, "none", this.path);
    this.#mounted = true;
  }

  /** Creates the folder in memory: see {@linkcode makeMemoryFolder}. */
  static inMemory(): Scratch {
    return new Scratch(undefined, makeMemoryFolder());
  }

  /** Creates a file of `bytes` bytes that is one hole. */
  file(name: string, bytes: number): string {
    const path = `${this.path}/${name}`;
    using file = Deno.openSync(path, { write: true, create: true });
    file.truncateSync(bytes);
    return path;
  }

  /** Removes the folder and its contents. */
  [Symbol.dispose](): void {
    if (this.#mounted) unmount(this.path);
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** How long a child may keep a copy of a descriptor, in milliseconds. */
const COPIED_MS = 10_000;

/** Unmounts a filesystem. */
export function unmount(folder: string): void {
  runOnceFree("umount", folder);
}

/** Makes a mounted filesystem read-only. No file of it may be open for writing. */
export function remountReadOnly(folder: string): void {
  runOnceFree("mount", "-o", "remount,ro", folder);
}

/**
 * Runs a program that a filesystem refuses while it is busy, until it is free.
 *
 * A child that another thread of this process is starting has a copy of each of its descriptors until it
 * executes its program. Meanwhile the filesystem is busy, though all its files have been closed.
 */
function runOnceFree(program: string, ...args: string[]): void {
  const end = performance.now() + COPIED_MS;
  for (;;) {
    try {
      run(program, ...args);
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
    }
  }
}

/**
 * Removes a file so that its space is free at once. As long as a child has a copy of its descriptor, see
 * `runOnceFree`, a removed file keeps its space.
 */
export function removeWithSpace(path: string): void {
  Deno.truncateSync(path, 0);
  Deno.removeSync(path);
}

/** Runs a program and returns its output. */
export function run(program: string, ...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(program, { args }).outputSync();
  if (!success) {
    throw new Error(`${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  }
  return new TextDecoder().decode(stdout).trim();
}

/** Bytes allocated for a file on its filesystem. */
export function allocatedBytes(path: string): number {
  return (Deno.statSync(path).blocks ?? 0) * 512;
}
