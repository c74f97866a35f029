/**
 * The folders of a filesystem in memory: which names there are, and which of them are durable.
 *
 * A change of names (made, removed, renamed) is durable when a folder that it touches is synced.
 * Until then a loss of power may undo it, but never a part of it: a file that was renamed has its
 * old name or its new one. Changes of one name are undone from the last; those of different names
 * in no order. A file whose data was synced may have no name.
 *
 * @module
 */

import { EEXIST, EISDIR, ENOENT, ENOTDIR } from "../uapi/errno.ts";
import type { Dice } from "../uapi/dice.ts";
import type { Contents, Remains } from "./crashable_contents.ts";
import { fileError } from "./file_error.ts";

/** What a name is of. */
export type Entry = Contents | Folder;

/** A folder. */
export class Folder {
  /** Names that are seen. */
  readonly entries = new Map<string, Entry>();
  /** Names that survive a loss of power. */
  readonly durable = new Map<string, Entry>();
}

/** A change of one name: of what it is then, or undefined for none. */
interface Step {
  readonly folder: Folder;
  readonly name: string;
  readonly before: Entry | undefined;
  readonly after: Entry | undefined;
}

/** Steps of which all are durable or none. */
type Change = readonly Step[];

/** The names of a filesystem. */
export class Names {
  readonly #root = new Folder();
  /** Those that are not durable, in their order. */
  #changes: Change[] = [];

  /** What a path names. */
  find(path: string): Entry | undefined {
    let entry: Entry = this.#root;
    for (const part of partsOf(path)) {
      if (!(entry instanceof Folder)) return undefined;
      const next = entry.entries.get(part);
      if (next === undefined) return undefined;
      entry = next;
    }
    return entry;
  }

  /** The folder at a path. */
  folder(path: string, operation: string): Folder {
    const entry = this.find(path);
    if (entry === undefined) throw fileError(operation, ENOENT);
    if (!(entry instanceof Folder)) throw fileError(operation, ENOTDIR);
    return entry;
  }

  /** Gives something a name that is free. */
  add(path: string, entry: Entry, operation: string): void {
    const { folder, name, now } = this.#place(path, operation);
    if (now !== undefined) throw fileError(operation, EEXIST);
    this.#do([{ folder, name, before: undefined, after: entry }]);
  }

  /** Takes the name of a file. @returns The file. */
  remove(path: string, operation: string): Contents {
    const { folder, name, now } = this.#file(path, operation);
    this.#do([{ folder, name, before: now, after: undefined }]);
    return now;
  }

  /** Gives a file another name. @returns What had that before. */
  rename(from: string, to: string, operation: string): Contents | undefined {
    const old = this.#file(from, operation);
    const place = this.#place(to, operation);
    const { now } = place;
    if (now instanceof Folder) throw fileError(operation, EISDIR);
    if (now === old.now) return undefined;
    this.#do([
      { folder: old.folder, name: old.name, before: old.now, after: undefined },
      { folder: place.folder, name: place.name, before: now, after: old.now },
    ]);
    return now;
  }

  /** Makes the names of a folder durable, and what they depend on. */
  sync(folder: Folder): void {
    for (const group of this.#groups()) {
      const last = group.findLastIndex((change) => change.some((one) => one.folder === folder));
      this.#settle(group.slice(0, last + 1));
    }
  }

  /** The machine loses its power. */
  crash(dice: Dice, remains: Remains): void {
    const kept = remains === "first" ? dice.draw(this.#changes.length + 1) : 0;
    const first = new Set(this.#changes.slice(0, kept));
    for (const group of this.#groups()) {
      const count = remains === "none"
        ? 0
        : remains === "first"
        ? group.filter((change) => first.has(change)).length
        : remains === "any"
        ? dice.draw(group.length + 1)
        : group.length;
      this.#settle(group.slice(0, count));
    }
    this.#changes = [];
    restore(this.#root);
  }

  /** All files that have a name. */
  files(): Contents[] {
    return [...filesIn(this.#root)];
  }

  #place(path: string, operation: string) {
    const parts = partsOf(path);
    const name = parts.pop();
    if (name === undefined) throw fileError(operation, EISDIR);
    const folder = this.folder(parts.join("/"), operation);
    return { folder, name, now: folder.entries.get(name) };
  }

  #file(path: string, operation: string) {
    const { folder, name, now } = this.#place(path, operation);
    if (now === undefined) throw fileError(operation, ENOENT);
    if (now instanceof Folder) throw fileError(operation, EISDIR);
    return { folder, name, now };
  }

  #do(change: Change): void {
    for (const { folder, name, after } of change) set(folder.entries, name, after);
    this.#changes.push(change);
  }

  #settle(changes: readonly Change[]): void {
    const settled = new Set(changes);
    for (const change of changes) {
      for (const { folder, name, after } of change) set(folder.durable, name, after);
    }
    this.#changes = this.#changes.filter((change) => !settled.has(change));
  }

  /** Changes in groups: those that have a name in common, also by others, are in one. */
  #groups(): Change[][] {
    let groups: Change[][] = [];
    for (const change of this.#changes) {
      const joined = groups.filter((group) => group.some((other) => touch(change, other)));
      groups = groups.filter((group) => !joined.includes(group));
      groups.push([...joined.flat(), change]);
    }
    // Each in the order in which it was done.
    const order = new Map(this.#changes.map((change, index) => [change, index]));
    for (const group of groups) group.sort((a, b) => order.get(a)! - order.get(b)!);
    return groups;
  }
}

function touch(some: Change, others: Change): boolean {
  return some.some((one) =>
    others.some(({ folder, name }) => one.folder === folder && one.name === name)
  );
}

function set(entries: Map<string, Entry>, name: string, entry: Entry | undefined): void {
  if (entry === undefined) entries.delete(name);
  else entries.set(name, entry);
}

/** What is durable is all that is seen. */
function restore(folder: Folder): void {
  folder.entries.clear();
  for (const [name, entry] of folder.durable) {
    folder.entries.set(name, entry);
    if (entry instanceof Folder) restore(entry);
  }
}

function* filesIn(folder: Folder): Generator<Contents> {
  for (const entry of folder.entries.values()) {
    if (entry instanceof Folder) yield* filesIn(entry);
    else yield entry;
  }
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}
