/**
 * Reads the log of the kernel's device-mapper target `log-writes` (`drivers/md/dm-log-writes.c`).
 *
 * ```
 *   sector 0      magic u64 · version u64 · entries u64 · bytes of a sector u32
 *   then, for each entry, one sector and after it the data that was written:
 *                 sector u64 · sectors u64 · flags u64 · bytes of a mark u64 · the mark
 * ```
 *
 * The order is that of durability and not of writing: a write is logged when a FLUSH ends that began
 * after the write's end, directly before that FLUSH. One with FUA is logged when it ends.
 *
 * @module
 */

/** Bytes from an offset of the log. */
export type ReadLog = (offset: number, bytes: number) => Uint8Array<ArrayBuffer>;

/** An entry. */
export interface LoggedWrite {
  /** The first byte on the disk. */
  readonly offset: number;
  /** Bytes on the disk; 0 for a FLUSH alone, and for a mark. */
  readonly length: number;
  /** All entries before this one were durable when it was. */
  readonly flush: boolean;
  /** It was durable by itself when it was answered. */
  readonly fua: boolean;
  /** The range was given up: it has no data. */
  readonly discard: boolean;
  /** The text of a mark. */
  readonly mark: string | undefined;
  /** Where its data is in the log. */
  readonly dataAt: number;
}

const MAGIC = 0x6a736677736872n;
const VERSION = 1n;
/** Bytes of an entry's fields. */
const ENTRY_BYTES = 32;
const FLUSH = 1;
const FUA = 2;
const DISCARD = 4;
const MARK = 8;

/** The entries of a log, in its order. */
export function readWriteLog(read: ReadLog): LoggedWrite[] {
  const head = viewOf(read(0, 512));
  if (head.getBigUint64(0, true) !== MAGIC || head.getBigUint64(8, true) !== VERSION) {
    throw new Error("it is no log of dm-log-writes");
  }
  const count = Number(head.getBigUint64(16, true));
  const sector = head.getUint32(24, true);
  const entries: LoggedWrite[] = [];
  let at = sector;
  while (entries.length < count) {
    const bytes = read(at, sector);
    const [first, sectors, flags, markBytes] = [0, 8, 16, 24].map((field) =>
      Number(viewOf(bytes).getBigUint64(field, true))
    );
    const discard = (flags & DISCARD) !== 0;
    const isMark = (flags & MARK) !== 0;
    const entry: LoggedWrite = {
      ...{ offset: first * sector, length: sectors * sector, discard, dataAt: at + sector },
      ...{ flush: (flags & FLUSH) !== 0, fua: (flags & FUA) !== 0 },
      mark: isMark
        ? new TextDecoder().decode(bytes.subarray(ENTRY_BYTES, ENTRY_BYTES + markBytes))
        : undefined,
    };
    entries.push(entry);
    at += sector + (discard ? 0 : entry.length);
  }
  return entries;
}

function viewOf(bytes: Uint8Array<ArrayBuffer>): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
