/**
 * A simulated machine whose processes can be killed and whose power can fail at any operation, as
 * decided by a seed. The same seed gives the same run. Its files are used through `crashable.ts`.
 *
 * For the effects of a power failure on a file's contents see `crashable_contents.ts`, and on its
 * name `crashable_names.ts`. A killed process leaves everything it wrote in the page cache, and no
 * locks. Operations fail as {@linkcode CrashableMachine.faults} decides, or for lack of space.
 *
 * @module
 */

import { Dice } from "../uapi/dice.ts";
import { Contents, REMAINS, SPACE_BYTES } from "./crashable_contents.ts";
import { type Entry, Names } from "./crashable_names.ts";
import { fileError } from "./file_error.ts";
import {
  type FileFault,
  type FileFaults,
  type FileOperation,
  type FileOperationName,
  operationText,
  partOf,
} from "./file_faults.ts";

/** Thrown by every operation of a process that has ended. Such an operation has no effect. */
export class ProcessEnded extends Error {}

/** Number of operations that the log keeps. */
const LOGGED = 400;

/** A process, as seen by its machine. */
export interface EndableProcess {
  /** The process has ended: all further operations throw. */
  hasEnded: boolean;
}

/** An open file, as seen by its machine. */
export interface HeldContents {
  /** The contents of the file. */
  readonly contents: Contents;
  /** The process that has it open. */
  readonly process: EndableProcess;
  /** The lock that this open file holds. */
  readonly held: "exclusive" | "shared" | undefined;
}

/** The machine with its filesystem. */
export class CrashableMachine {
  /** The source of randomness. Tests draw from it too, so that one seed repeats the whole run. */
  readonly dice: Dice;
  /** The failing operations. */
  faults: FileFaults | undefined;
  /** Number of the operation before, during or after which all processes end. */
  endsAt = Infinity;
  /** Whether only the process ends whose operation that is. The others go on. */
  endsAlone = false;
  /** Files that bypass the page cache are read and written in multiples of so many bytes. */
  sectorBytes = 1;
  /** Whether the filesystem supports changing the allocation of a range. */
  allocates = true;
  /** Whether durable writes cost about as much as others. */
  hasCheapDurability = false;
  readonly #names = new Names();
  readonly #space: { free: number };
  readonly #open = new Map<Contents, Set<HeldContents>>();
  #processes: EndableProcess[] = [];
  readonly #identities = new WeakMap<Entry, string>();
  #identified = 0;
  #operations = 0;
  #boots = 1;
  readonly #log: string[] = [];

  /** Makes a machine with an empty filesystem of the given size. */
  constructor(seed: number, bytes = Infinity) {
    this.dice = new Dice(seed);
    this.#space = { free: Math.floor(bytes / SPACE_BYTES) };
  }

  /** Registers a new process. */
  begun(process: EndableProcess): void {
    this.#processes.push(process);
  }

  /** Number of operations so far. */
  get operations(): number {
    return this.#operations;
  }

  /** The latest operations with their outcomes, one line each. */
  get log(): readonly string[] {
    return this.#log;
  }

  /** Number of free bytes. */
  get freeBytes(): number {
    return this.#space.free * SPACE_BYTES;
  }

  /** Enlarges the filesystem, or shrinks it if negative. */
  grow(bytes: number): void {
    this.#space.free += Math.floor(bytes / SPACE_BYTES);
  }

  /** Kills all processes. The page cache stays, but may drop data that failed syncs have lost. */
  kill(): void {
    this.#note("killed");
    this.#endAll();
    if (this.dice.draw(2) === 0) this.dropCaches();
  }

  /**
   * Cuts the power and boots again. All processes end; unsynced changes are lost as the dice
   * decide.
   */
  cutPower(): void {
    this.#endAll();
    const remains = REMAINS[this.dice.draw(REMAINS.length)];
    this.#note(`power cut, which leaves ${remains}`);
    const before = new Set(this.#names.files());
    this.#names.crash(this.dice, remains);
    const after = new Set(this.#names.files());
    for (const contents of before) if (!after.has(contents)) contents.release();
    for (const contents of after) contents.crash(this.dice, remains);
    this.#boots++;
  }

  /** Drops clean pages: data lost in failed syncs becomes invisible. */
  dropCaches(): void {
    for (const contents of this.#names.files()) contents.dropLost();
  }

  /** A text that is different after each boot. */
  get boot(): string {
    return `boot ${this.#boots}`;
  }

  /** The filesystem's names. For processes. */
  get names(): Names {
    return this.#names;
  }

  /** A text that is the same for all names of a file or folder. */
  identityOf(entry: Entry): string {
    let identity = this.#identities.get(entry);
    if (identity === undefined) this.#identities.set(entry, identity = `${++this.#identified}`);
    return identity;
  }

  /** Makes an empty file without a name. */
  contents(): Contents {
    return new Contents(this.#space);
  }

  /** Registers an open file. */
  opened(file: HeldContents): void {
    const { contents } = file;
    const others = this.#open.get(contents);
    if (others === undefined) this.#open.set(contents, new Set([file]));
    else others.add(file);
  }

  /** The open files with these contents. */
  holders(contents: Contents): ReadonlySet<HeldContents> {
    return this.#open.get(contents) ?? new Set();
  }

  /** Unregisters a closed file. */
  closed(file: HeldContents): void {
    const { contents } = file;
    const others = this.#open.get(contents);
    if (others === undefined || !others.delete(file) || others.size > 0) return;
    this.#open.delete(contents);
    this.unused(contents);
  }

  /** Frees the space of a file if it has no name and is not open. */
  unused(contents: Contents): void {
    if (this.#open.has(contents) || this.#names.links(contents) > 0) return;
    contents.release();
  }

  /** Performs an operation of a process; if the process ends here, perhaps only a part of it. */
  operate<T>(
    process: EndableProcess,
    name: FileOperationName,
    path: string,
    work: (most: number) => T,
    { offset = 0, length = 0, fails }: OperationDetails = {},
  ): T {
    if (process.hasEnded) throw new ProcessEnded();
    const operation: FileOperation = {
      number: ++this.#operations,
      name,
      path,
      offset,
      length,
    };
    if (operation.number >= this.endsAt) this.#endWithin(process, operation, work);
    const fault = this.faults?.(operation);
    this.#note(operation, fault);
    if (fault?.errno !== undefined) {
      fails?.();
      throw fileError(CALLS[name] ?? `${name} ${path}`, fault.errno);
    }
    return work(fault?.most ?? Infinity);
  }

  #endWithin<T>(
    process: EndableProcess,
    operation: FileOperation,
    work: (most: number) => T,
  ): never {
    const { name, length } = operation;
    this.#note(operation);
    const part = name === "write" ? this.dice.draw(4) : this.dice.draw(2) * 3;
    try {
      // 0: end before the operation.
      if (part > 0) work(part === 3 ? Infinity : partOf(this.dice, length));
    } catch {
      // The process has ended, so nobody sees the error.
    }
    this.#note("the process has ended");
    if (this.endsAlone) this.#end(process);
    else this.#endAll();
    throw new ProcessEnded();
  }

  #end(process: EndableProcess): void {
    process.hasEnded = true;
    this.#processes = this.#processes.filter((other) => other !== process);
    this.endsAt = Infinity;
    for (const files of [...this.#open.values()]) {
      for (const file of [...files]) if (file.process === process) this.closed(file);
    }
  }

  #endAll(): void {
    for (const process of this.#processes) process.hasEnded = true;
    this.#processes = [];
    this.endsAt = Infinity;
    const open = [...this.#open.keys()];
    this.#open.clear();
    for (const contents of open) this.unused(contents);
  }

  #note(what: FileOperation | string, fault?: FileFault): void {
    this.#log.push(typeof what === "string" ? what : operationText(what, fault));
    if (this.#log.length > LOGGED) this.#log.splice(0, LOGGED / 2);
  }
}

/** Names of the system calls in errors. */
export const CALLS: Readonly<Partial<Record<FileOperationName, string>>> = {
  read: "pread",
  write: "pwrite",
  sync: "fdatasync",
  size: "lseek",
  truncate: "ftruncate",
  allocate: "fallocate",
  lock: "flock",
  "sync folder": "fsync",
  "drop cache": "posix_fadvise",
};

/** Details of an operation. */
export interface OperationDetails {
  /** Offset in bytes. */
  readonly offset?: number;
  /** Length in bytes. */
  readonly length?: number;
  /** Called if the operation fails. */
  readonly fails?: () => void;
}
