/**
 * A machine in memory, whose processes end and whose power goes: at any operation, and as a seed
 * says. One seed is one run. Its files are used through `crashable.ts`.
 *
 * What a loss of power leaves of a file's contents is told in `crashable_contents.ts`, and of its
 * name in `crashable_names.ts`. A killed process leaves all it wrote in the page cache, and no
 * locks. Operations fail as {@linkcode CrashableMachine.faults} says, or since there is no room.
 *
 * @module
 */

import { Dice } from "../uapi/dice.ts";
import { Contents, REMAINS, SPACE_BYTES } from "./crashable_contents.ts";
import { Names } from "./crashable_names.ts";
import { fileError } from "./file_error.ts";
import {
  type FileFault,
  type FileFaults,
  type FileOperation,
  type FileOperationName,
  operationText,
  partOf,
} from "./file_faults.ts";

/** Thrown by every operation of a process that has ended: whatever it does then, nobody sees it. */
export class ProcessEnded extends Error {}

/** Operations that the log keeps. */
const LOGGED = 400;

/** A process, as far as its machine knows it. */
export interface EndableProcess {
  /** Nothing of it does anything any more. */
  hasEnded: boolean;
}

/** An open file, as far as its machine knows it. */
export interface HeldContents {
  /** What it is. */
  readonly contents: Contents;
  /** Its lock. */
  readonly held: "exclusive" | "shared" | undefined;
}

/** The machine: its filesystem, and what becomes of it. */
export class CrashableMachine {
  /** What the machine draws from, and what is to be repeated with it. */
  readonly dice: Dice;
  /** Which operations fail. */
  faults: FileFaults | undefined;
  /** The number of the operation at which the processes end: before it, after it, or in its midst. */
  endsAt = Infinity;
  /** Its filesystem can change the space of a range. */
  allocates = true;
  readonly #names = new Names();
  readonly #space: { free: number };
  readonly #open = new Map<Contents, Set<HeldContents>>();
  #processes: EndableProcess[] = [];
  #operations = 0;
  #boots = 1;
  readonly #log: string[] = [];

  /** A machine with an empty filesystem of so many bytes. */
  constructor(seed: number, bytes = Infinity) {
    this.dice = new Dice(seed);
    this.#space = { free: Math.floor(bytes / SPACE_BYTES) };
  }

  /** Notes that a process has begun. */
  begun(process: EndableProcess): void {
    this.#processes.push(process);
  }

  /** How many operations there have been. */
  get operations(): number {
    return this.#operations;
  }

  /** The last operations, and what came of them, a line each. */
  get log(): readonly string[] {
    return this.#log;
  }

  /** Bytes that are free. */
  get freeBytes(): number {
    return this.#space.free * SPACE_BYTES;
  }

  /** Gives the filesystem more room, or takes it. */
  grow(bytes: number): void {
    this.#space.free += Math.floor(bytes / SPACE_BYTES);
  }

  /** Ends all processes. The page cache stays; of what failed syncs have lost it may drop some. */
  kill(): void {
    this.#note("killed");
    this.#endAll();
    if (this.dice.draw(2) === 0) this.dropCaches();
  }

  /** Ends all processes, and loses of what was not synced what the dice say. Then it boots again. */
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

  /** The page cache drops what it can: what failed syncs have lost is not seen any more. */
  dropCaches(): void {
    for (const contents of this.#names.files()) contents.dropLost();
  }

  /** A text that is another one after each boot. */
  get boot(): string {
    return `boot ${this.#boots}`;
  }

  /** The names, for processes. */
  get names(): Names {
    return this.#names;
  }

  /** An empty file without a name. */
  contents(): Contents {
    return new Contents(this.#space);
  }

  /** Notes that a file is open. */
  opened(file: HeldContents): void {
    const { contents } = file;
    const others = this.#open.get(contents);
    if (others === undefined) this.#open.set(contents, new Set([file]));
    else others.add(file);
  }

  /** Those who have the file open. */
  holders(contents: Contents): ReadonlySet<HeldContents> {
    return this.#open.get(contents) ?? new Set();
  }

  /** Notes that a file is closed. */
  closed(file: HeldContents): void {
    const { contents } = file;
    const others = this.#open.get(contents);
    if (others === undefined || !others.delete(file) || others.size > 0) return;
    this.#open.delete(contents);
    this.unused(contents);
  }

  /** Gives the space of a file back that has neither a name nor anybody who has it open. */
  unused(contents: Contents): void {
    if (this.#open.has(contents) || this.#names.files().includes(contents)) return;
    contents.release();
  }

  /** Does an operation of a process, or a part of it, or not. */
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
    if (operation.number >= this.endsAt) this.#endWithin(operation, work);
    const fault = this.faults?.(operation);
    this.#note(operation, fault);
    if (fault?.errno !== undefined) {
      fails?.();
      throw fileError(CALLS[name] ?? `${name} ${path}`, fault.errno);
    }
    return work(fault?.most ?? Infinity);
  }

  #endWithin<T>(operation: FileOperation, work: (most: number) => T): never {
    const { name, length } = operation;
    this.#note(operation);
    const part = name === "write" ? this.dice.draw(4) : this.dice.draw(2) * 3;
    try {
      // 0: before it.
      if (part > 0) work(part === 3 ? Infinity : partOf(this.dice, length));
    } catch {
      // Nobody gets to know.
    }
    this.#note("the process has ended");
    this.#endAll();
    throw new ProcessEnded();
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

/** The system calls that errors name. */
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

/** More about an operation. */
export interface OperationDetails {
  /** In bytes. */
  readonly offset?: number;
  /** In bytes. */
  readonly length?: number;
  /** Done where it fails. */
  readonly fails?: () => void;
}
