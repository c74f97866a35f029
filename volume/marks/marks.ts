/**
 * Snapshots of a volume that is attached. A snapshot is taken by a *mark*: it names the last batch that
 * is in it, and is durable beside the journal, which has all of that. So taking one needs no store, and
 * takes as long as a sync. Bringing it to the store is the drain's work, whoever drains that journal:
 *
 * - A commit ends at a mark, and does not go past it ({@linkcode Marks.cut}).
 * - Nothing else is committed then before the catalog has an entry for that manifest
 *   ({@linkcode Marks.enter}). So the manifest that counts is the mark's until it has one, and no
 *   collection of garbage can take it for one that nobody needs.
 * - The mark goes after that. One of an earlier batch than the manifest's has had its entry.
 *
 * @module
 */

import type { File, Files } from "../../files/port.ts";
import { assert, isUblkError, UblkError } from "../../uapi/error.ts";
import { changeCatalog, checkNotRemoved } from "../catalog.ts";
import type { Committed } from "../committed.ts";
import type { Published } from "../drain/board.ts";
import type { Catalog, CatalogEntry } from "../format/catalog.ts";
import type { Mark } from "../format/mark.ts";
import type { JournalIdentity } from "../journal/identity.ts";
import type { Lease } from "../lease.ts";
import type { Seam } from "../seam.ts";
import { MarkFile } from "./file.ts";

/** Somebody wants a snapshot. */
export interface SnapshotRequest {
  /** The id that it is to have: the same one is not taken twice. */
  readonly id: string;
  /** Its name. */
  readonly name: string;
}

/** It is taken; there is one of that name; there is no slot for it; or the disk has failed. */
export type Answer = "taken" | "exists" | "full" | "failed";

interface Waiting {
  readonly id: string;
  readonly answer: (answer: Answer | undefined) => void;
}

/** A point of the journal. */
export interface JournalMoment {
  /** The position. */
  readonly position: number;
  /** What was acknowledged before this moment, in milliseconds since 1970, is before the position. */
  readonly time: number;
}

/** The parts of {@linkcode Marks}. */
export interface MarksParts {
  /** The files of this machine. */
  readonly files: Files;
  /** The folder of the journal. */
  readonly folder: string;
  /** The journal. */
  readonly identity: JournalIdentity;
  /** Its files, open. */
  readonly journal: readonly File[];
  /** The hold on the volume. */
  readonly committed: Committed;
  /** The end of what was recovered, all of which is durable: nothing that was written since need be. */
  readonly recovered: Pick<Published, "position" | "sequence">;
  /** What the engine has published. */
  readonly published: () => Published;
  /** Whether a write to the journal or a sync has failed: a later sync that succeeds proves nothing. */
  readonly hasJournalFailed: () => boolean;
  /** Without it none is taken: somebody else may have the volume. */
  readonly lease: Pick<Lease, "isHeld">;
  /** A request is answered only once the store has the snapshot. */
  readonly isDurableInStore: boolean;
  /** Time and randomness. */
  readonly seam: Seam;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
}

/** Takes snapshots, and makes their entries. */
export class Marks implements Disposable {
  /** Why nothing may be written to the journal any more: it could not be made durable. */
  failure: unknown = undefined;
  readonly #parts: MarksParts;
  readonly #file: MarkFile;
  #isAllWanted = false;
  #isOver = false;
  /** Whoever waits until the store has a snapshot. */
  #waiting: Waiting[] = [];
  /** The file of marks has failed: no more are taken. */
  #isBroken = false;
  /** All before this position is durable. */
  #synced: number;

  /**
   * Takes over the parts.
   *
   * @throws {UblkError} `VOLUME_DAMAGED` if the journal ends before a mark.
   */
  constructor(parts: MarksParts) {
    const { files, folder, identity, committed, recovered, report } = parts;
    using stack = new DisposableStack();
    this.#parts = parts;
    this.#file = stack.use(MarkFile.open(files, folder, identity));
    const { position, sequence } = recovered;
    this.#synced = position;
    for (const mark of this.#file.marks) if (mark.sequence > sequence) throw lost(folder, mark);
    const { manifest } = committed;
    this.#clear(this.#file.marks.filter((mark) => mark.sequence < manifest.sequence));
    if (this.#file.damaged > 0) {
      report(
        `${folder}/marks: ${this.#file.damaged} damaged: a snapshot that was being taken is lost`,
      );
    }
    stack.move();
  }

  /** The position of the last snapshot that the store does not have; -1 if it has all. */
  get wanted(): number {
    return this.#file.marks.at(-1)?.position ?? -1;
  }

  /** Whether the store has the state of a mark that has no entry yet. */
  get owes(): boolean {
    const [first] = this.#file.marks;
    return first !== undefined && first.sequence <= this.#parts.committed.manifest.sequence;
  }

  /** Whether somebody has wanted everything to be in the store since the last call. */
  takeAll(): boolean {
    const isWanted = this.#isAllWanted;
    this.#isAllWanted = false;
    return isWanted;
  }

  /** Somebody wants everything to be in the store. */
  all(): void {
    this.#isAllWanted = true;
  }

  /**
   * Takes a snapshot, at what is published now. It may be asked for again: it is taken once.
   *
   * @param answer Called once: now, or when the store has it; without an answer if none can be taken at
   *   the moment, or {@linkcode failure} is why.
   */
  snapshot({ id, name }: SnapshotRequest, answer: (answer: Answer | undefined) => void): void {
    const { isDurableInStore, lease, hasJournalFailed } = this.#parts;
    const isOver = this.#isOver || this.failure !== undefined || hasJournalFailed();
    if (isOver || !lease.isHeld) return answer(undefined);
    const { marks, free } = this.#file;
    // It may have been taken before by whoever has died before he could say so.
    if (marks.every((mark) => mark.id !== id)) {
      if (marks.some((mark) => mark.name === name)) return answer("exists");
      if (free === 0) return answer("full");
      if (this.#isBroken || !this.#take(id, name)) return answer("failed");
    }
    if (isDurableInStore) this.#waiting.push({ id, answer });
    // It may have run out meanwhile. A mark that nobody was told of does no harm.
    else answer(lease.isHeld ? "taken" : undefined);
  }

  /** @returns Whether it is durable. */
  #take(id: string, name: string): boolean {
    const { seam, published } = this.#parts;
    // In this order: what was answered before that moment is before that position.
    const time = seam.now();
    const { position, sequence } = published();
    try {
      this.#sync(position);
    } catch (error) {
      this.failure = error;
      return false;
    }
    try {
      this.#file.put({ name, id, sequence, position, time });
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  /** Makes the journal durable up to a position. A failure is the journal's end, as any sync's is. */
  #sync(position: number): void {
    const { journal, identity, committed } = this.#parts;
    const { size } = identity;
    const from = Math.max(this.#synced, committed.manifest.position);
    if (position <= from) return;
    const last = Math.floor((position - 1) / size);
    // After a crash the writer leaves out the rest of a segment, whose file it may be using again.
    const first = Math.max(Math.floor(from / size), last - journal.length + 1);
    for (let segment = first; segment <= last; segment++) {
      journal[segment % journal.length].sync(true);
    }
    this.#synced = position;
  }

  #failed(error: unknown): void {
    if (!isUblkError(error)) throw error;
    this.#isBroken = true;
    this.#parts.report(`no more snapshots are taken: ${error.message}`);
  }

  /** The point that a commit may reach: the next mark, or the given one if that is before it. */
  cut(wanted: JournalMoment): JournalMoment {
    const { sequence } = this.#parts.committed.manifest;
    const next = this.#file.marks.find((mark) => mark.sequence > sequence);
    return next === undefined || next.position > wanted.position ? wanted : next;
  }

  /** Makes the entries of marks whose state the store has. Before it has, nothing may be committed. */
  async enter(): Promise<void> {
    const { committed } = this.#parts;
    while (this.owes) {
      const { sequence } = committed.manifest;
      const marks = this.#file.marks.filter((mark) => mark.sequence <= sequence);
      assert(marks.every((mark) => mark.sequence === sequence), "no commit has gone past a mark");
      await this.#enter(marks);
      const isIn = ({ id }: Waiting) => marks.some((mark) => mark.id === id);
      for (const { answer } of this.#waiting.filter(isIn)) answer("taken");
      this.#waiting = this.#waiting.filter((one) => !isIn(one));
      this.#clear(marks);
    }
  }

  #clear(marks: readonly Mark[]): void {
    try {
      this.#file.clear(marks);
    } catch (error) {
      // They have their entries, so it does no harm if they come back.
      this.#failed(error);
    }
  }

  async #enter(marks: readonly Mark[]): Promise<void> {
    const { committed, seam, report } = this.#parts;
    const { store, names, head, manifest } = committed;
    const lines: string[] = [];
    let isTooOld = false;
    await changeCatalog({ store, names, volume: head.volume, seam }, (catalog) => {
      checkNotRemoved(catalog, store, names.volume);
      // An earlier call may have made it, whose answer was lost.
      const missing = marks.filter(({ id }) => catalog.entries.every((entry) => entry.id !== id));
      if (missing.length === 0) return undefined;
      isTooOld = manifest.number < catalog.floor;
      if (isTooOld) return undefined;
      lines.length = 0;
      const entries = [...catalog.entries];
      for (const { id, name, time } of missing) {
        const free = freeName(entries, name);
        if (free !== name) {
          lines.push(`the snapshot ${name} is ${free}: another ${name} was made meanwhile`);
        }
        entries.push({
          ...{ name: free, kind: "snapshot", id, time, size: manifest.size },
          ...{ manifest: manifest.number, manifestSum: head.manifestSum },
        });
      }
      return { ...catalog, entries } satisfies Catalog;
    });
    // Only whoever has the volume now can have raised it so far.
    if (isTooOld) await committed.check();
    assert(!isTooOld, "the manifest that counts may have entries");
    for (const line of lines) report(line);
  }

  /** Takes none any more: the volume is about to be left. Whoever asks from now on finds nobody. */
  end(): void {
    this.#isOver = true;
  }

  /** Closes the file of marks. */
  [Symbol.dispose](): void {
    for (const { answer } of this.#waiting.splice(0)) answer(undefined);
    this.#file[Symbol.dispose]();
  }
}

/** The name, or that with the first number behind it that no snapshot has. */
function freeName(entries: readonly CatalogEntry[], name: string): string {
  const isTaken = (wanted: string) =>
    entries.some((entry) => entry.kind === "snapshot" && entry.name === wanted);
  let free = name;
  for (let nth = 2; isTaken(free); nth++) free = `${name.slice(0, 120)}-${nth}`;
  return free;
}

function lost(folder: string, { name, sequence }: Mark): UblkError {
  return new UblkError("VOLUME_DAMAGED", {
    operation: `journal ${folder}`,
    reason: `it ends before batch ${sequence}, which was durable when snapshot ${name} was taken`,
    hint: "the disk of the journal has lost flushed data; " +
      "attach without the journal to go on with what the store has",
  });
}
