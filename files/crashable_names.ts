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
  /** The number of visible names of each file that has one. */
  readonly #links = new Map<Contents, number>();

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
    if (!this.#changes.some((change) => change.some((one) => one.folder === folder))) return;
    this.#settle(
      this.#groups().flatMap((group) => {
        const last = group.findLastIndex((change) => change.some((one) => one.folder === folder));
        return group.slice(0, last + 1);
      }),
    );
  }

  /** Simulates a power failure. */
  crash(dice: Dice, remains: Remains): void {
    const kept = remains === "first" ? dice.draw(this.#changes.length + 1) : 0;
    const first = new Set(this.#changes.slice(0, kept));
    this.#settle(
      this.#groups().flatMap((group) => {
        const count = remains === "none"
          ? 0
          : remains === "first"
          ? group.filter((change) => first.has(change)).length
          : remains === "any"
          ? dice.draw(group.length + 1)
          : group.length;
        return group.slice(0, count);
      }),
    );
    this.#changes = [];
    this.#links.clear();
    this.#restore(this.#root);
  }

  /** All files with a name. */
  files(): Contents[] {
    return [...this.#links.keys()];
  }

  /** The number of names of a file. */
  links(file: Contents): number {
    return this.#links.get(file) ?? 0;
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
    for (const { folder, name, before, after } of change) {
      set(folder.entries, name, after);
      this.#count(before, -1);
      this.#count(after, 1);
    }
    this.#changes.push(change);
  }

  #count(entry: Entry | undefined, more: number): void {
    if (entry === undefined || entry instanceof Folder) return;
    const links = this.links(entry) + more;
    if (links === 0) this.#links.delete(entry);
    else this.#links.set(entry, links);
  }

  /** Makes the durable names the visible ones. */
  #restore(folder: Folder): void {
    folder.entries.clear();
    for (const [name, entry] of folder.durable) {
      folder.entries.set(name, entry);
      this.#count(entry, 1);
      if (entry instanceof Folder) this.#restore(entry);
    }
  }

  #settle(changes: readonly Change[]): void {
    const settled = new Set(changes);
    for (const change of changes) {
      for (const { folder, name, after } of change) set(folder.durable, name, after);
    }
    this.#changes = this.#changes.filter((change) => !settled.has(change));
  }

  /**
   * Groups the changes that share a name, directly or through other changes: each group in the order of
   * the changes, and the groups in that of their last ones.
   */
  #groups(): Change[][] {
    const groups = new Set<number[]>();
    const groupOf = new Map<Folder, Map<string, number[]>>();
    for (const [nth, change] of this.#changes.entries()) {
      const joined = [nth];
      for (const { folder, name } of change) {
        const group = groupOf.get(folder)?.get(name);
        if (group !== undefined && groups.delete(group)) joined.push(...group);
      }
      groups.add(joined);
      for (const one of joined) {
        for (const { folder, name } of this.#changes[one]) {
          if (!groupOf.has(folder)) groupOf.set(folder, new Map());
          groupOf.get(folder)!.set(name, joined);
        }
      }
    }
    return [...groups].map((group) => {
      return group.sort((a, b) => a - b).map((nth) => this.#changes[nth]);
    });
  }
}

function set(entries: Map<string, Entry>, name: string, entry: Entry | undefined): void {
  if (entry === undefined) entries.delete(name);
  else entries.set(name, entry);
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}
