/**
 * The folders of a filesystem in memory: the names and their durability.
 *
 * A change of names (create, link, remove, rename) becomes durable when a folder that it touches is
 * synced. Until then a power failure may undo it, but only as a whole: a renamed file has either
 * its old or its new name. Changes of the same name are undone from the last one back; changes of
 * different names in any order. A file with synced data may end up without a name.
 *
 * @module
 */

import { EEXIST, EISDIR, ENOENT, ENOTDIR } from "../uapi/errno.ts";
import type { Dice } from "../uapi/dice.ts";
import type { Contents, Remains } from "./crashable_contents.ts";
import { fileError } from "./file_error.ts";

/** The object behind a name: a file or a folder. */
export type Entry = Contents | Folder;

/** A folder. */
export class Folder {
  /** The visible names. */
  readonly entries = new Map<string, Entry>();
  /** The names that survive a power failure. */
  readonly durable = new Map<string, Entry>();
}

/** A change of one name, with the entries before and after; undefined for none. */
interface Step {
  readonly folder: Folder;
  readonly name: string;
  readonly before: Entry | undefined;
  readonly after: Entry | undefined;
}

/** Steps that become durable together. */
type Change = readonly Step[];

/** The names of a filesystem. */
export class Names {
  readonly #root = new Folder();
  /** The changes that are not durable, in order. */
  #changes: Change[] = [];

  /** The entry at a path; undefined if there is none. */
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

  /** Adds an entry under an unused name. */
  add(path: string, entry: Entry, operation: string): void {
    const { folder, name, now } = this.#place(path, operation);
    if (now !== undefined) throw fileError(operation, EEXIST);
    this.#do([{ folder, name, before: undefined, after: entry }]);
  }

  /** Removes a file's name. @returns The file. */
  remove(path: string, operation: string): Contents {
    const { folder, name, now } = this.#file(path, operation);
    this.#do([{ folder, name, before: now, after: undefined }]);
    return now;
  }

  /** Gives a file a further name, which must be unused. */
  link(from: string, to: string, operation: string): void {
    this.add(to, this.#file(from, operation).now, operation);
  }

  /** Renames a file. @returns The file that it replaced, if any. */
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

  /** Makes the names of a folder durable, with the changes they depend on. */
  sync(folder: Folder): void {
    for (const group of this.#groups()) {
      const last = group.findLastIndex((change) => change.some((one) => one.folder === folder));
      this.#settle(group.slice(0, last + 1));
    }
  }

  /** Simulates a power failure. */
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

  /** All files with a name. */
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

  /** Groups the changes that share a name, directly or through other changes. */
  #groups(): Change[][] {
    let groups: Change[][] = [];
    for (const change of this.#changes) {
      const joined = groups.filter((group) => group.some((other) => touch(change, other)));
      groups = groups.filter((group) => !joined.includes(group));
      groups.push([...joined.flat(), change]);
    }
    // Sort each group in the order of the changes.
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

/** Makes the durable names the visible ones. */
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
