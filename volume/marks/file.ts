/**
 * The file `marks` in the folder of a journal: slots for snapshots that were taken, and that the store
 * does not have yet. It is made once and never grows, so that a mark is durable by a sync of its data
 * alone: a filesystem under load takes its time to make metadata durable.
 *
 * @module
 */

import type { File, Files } from "../../files/port.ts";
import { readUpTo, writeWhole } from "../../files/whole.ts";
import { assert } from "../../uapi/error.ts";
import {
  decodeMark,
  encodeMark,
  type Mark,
  MARK_BYTES,
  type MarkedJournal,
} from "../format/mark.ts";
import { FormatError } from "../format/record.ts";

const NAME = "marks";
/** Most snapshots that the store does not have yet. */
export const MOST_MARKS = 64;
/** Each slot is a page of its own: writing one does not touch another. */
const SLOT_BYTES = 4096;
const BYTES = MOST_MARKS * SLOT_BYTES;

/** The path of the file. */
function pathIn(folder: string): string {
  return `${folder}/${NAME}`;
}

/** The slots of a file: marks of a journal, the oldest first by their number, and how many are no marks. */
interface Slots {
  readonly marks: Map<number, Mark>;
  readonly damaged: number;
}

function readSlots(file: File, journal: MarkedJournal): Slots {
  const bytes = new Uint8Array(BYTES);
  readUpTo(file, bytes, 0);
  const marks = new Map<number, Mark>();
  let damaged = 0;
  for (let slot = 0; slot < MOST_MARKS; slot++) {
    const record = bytes.subarray(slot * SLOT_BYTES, slot * SLOT_BYTES + MARK_BYTES);
    if (isEmpty(record)) continue;
    try {
      const mark = decodeMark(journal, record);
      if (mark !== undefined) marks.set(slot, mark);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      damaged++;
    }
  }
  return { marks, damaged };
}

function isEmpty(record: Uint8Array): boolean {
  for (let at = 0; at < record.length; at++) if (record[at] !== 0) return false;
  return true;
}

/** Compares marks: those of earlier batches first. */
function byPoint(left: Mark, right: Mark): number {
  return left.sequence - right.sequence || left.time - right.time;
}

/**
 * The marks of a journal, as another process than the one that serves the volume reads them. They are
 * durable then.
 */
export function readMarks(files: Files, folder: string, journal: MarkedJournal): Mark[] {
  const path = pathIn(folder);
  if (files.status(path) === undefined) return [];
  using file = files.open(path, { write: true });
  // A server that was killed may have left them in the page cache; and what a failed sync has left there
  // counts for nothing.
  file.sync(true);
  file.dropCache();
  return [...readSlots(file, journal).marks.values()].sort(byPoint);
}

/** Removes the file, if there is one. */
export function removeMarks(files: Files, folder: string): void {
  const path = pathIn(folder);
  if (files.status(path) !== undefined) files.remove(path);
}

/** The file, as whoever has the volume attached uses it. */
export class MarkFile implements Disposable {
  /** Slots that hold neither a mark nor nothing. */
  readonly damaged: number;
  readonly #file: File;
  readonly #journal: MarkedJournal;
  readonly #slots: Map<number, Mark>;

  private constructor(file: File, journal: MarkedJournal, { marks, damaged }: Slots) {
    this.#file = file;
    this.#journal = journal;
    this.#slots = marks;
    this.damaged = damaged;
  }

  /** Opens the file, or makes it. Marks of other journals do not count any more. */
  static open(files: Files, folder: string, journal: MarkedJournal): MarkFile {
    using stack = new DisposableStack();
    const file = stack.use(files.open(pathIn(folder), { write: true, create: "if-missing" }));
    if (file.size() !== BYTES) {
      // No mark was ever in it: it gets its whole length before the first one.
      file.allocate("extend", 0, BYTES);
      writeWhole(file, new Uint8Array(BYTES), 0);
      file.truncate(BYTES);
    }
    file.sync(false);
    file.dropCache();
    // Whoever has made it may have been killed before that.
    files.syncFolder(folder);
    const opened = new MarkFile(file, journal, readSlots(file, journal));
    stack.move();
    return opened;
  }

  /** The marks, those of earlier batches first. */
  get marks(): readonly Mark[] {
    return [...this.#slots.values()].sort(byPoint);
  }

  /** The number of slots that are free. */
  get free(): number {
    return MOST_MARKS - this.#slots.size;
  }

  /** Adds a mark. It is durable then. */
  put(mark: Mark): void {
    assert(this.free > 0, "there is a slot for it");
    let slot = 0;
    while (this.#slots.has(slot)) slot++;
    writeWhole(this.#file, encodeMark(this.#journal, mark), slot * SLOT_BYTES);
    this.#file.sync(true);
    this.#slots.set(slot, mark);
  }

  /** Removes marks. That is durable then: none of them comes back. */
  clear(marks: readonly Mark[]): void {
    const slots = [...this.#slots].filter(([, mark]) => marks.includes(mark)).map(([slot]) => slot);
    for (const slot of slots) this.#slots.delete(slot);
    for (const slot of slots) {
      writeWhole(this.#file, new Uint8Array(MARK_BYTES), slot * SLOT_BYTES);
    }
    if (slots.length > 0) this.#file.sync(true);
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}
