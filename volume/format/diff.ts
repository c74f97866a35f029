/**
 * A stream of changes of a disk, in the format of Ceph's block devices (`doc/dev/rbd-diff.rst`,
 * version 1), which `rbd import-diff` and `rbd merge-diff` read and `rbd export-diff` writes:
 *
 * ```
 *  "rbd diff v1\n"
 *  'f' u32 length, name         the older snapshot, if it is told
 *  't' u32 length, name         the newer snapshot, if it is one
 *  's' u64 bytes                the size of the disk after the changes
 *  'w' u64 offset, u64 length   data follows
 *  'z' u64 offset, u64 length   it reads as zeroes
 *  'e'                          the end
 * ```
 *
 * Numbers are little-endian. There is no sum: whoever keeps a stream sees to that.
 *
 * @module
 */

import { FormatError } from "./record.ts";

const MAGIC = new TextEncoder().encode("rbd diff v1\n");
/** Bytes of the longest name that is read. */
const LONGEST_NAME = 4096;
const [FROM, TO, SIZE, DATA, ZERO, END] = new TextEncoder().encode("ftswze");

/** A record. */
export type DiffRecord =
  | { readonly kind: "from" | "to"; readonly name: string }
  | { readonly kind: "size"; readonly size: number }
  | { readonly kind: "data" | "zero"; readonly offset: number; readonly length: number }
  | { readonly kind: "end" };

/** The beginning of a stream. */
export function encodeDiffMagic(): Uint8Array<ArrayBuffer> {
  return MAGIC.slice();
}

/** A record without its data. */
export function encodeDiffRecord(record: DiffRecord): Uint8Array<ArrayBuffer> {
  switch (record.kind) {
    case "from":
    case "to": {
      const name = new TextEncoder().encode(record.name);
      const bytes = new Uint8Array(5 + name.length);
      bytes[0] = record.kind === "from" ? FROM : TO;
      new DataView(bytes.buffer).setUint32(1, name.length, true);
      bytes.set(name, 5);
      return bytes;
    }
    case "size":
      return numbers(SIZE, record.size);
    case "data":
      return numbers(DATA, record.offset, record.length);
    case "zero":
      return numbers(ZERO, record.offset, record.length);
    case "end":
      return new Uint8Array([END]);
  }
}

function numbers(tag: number, ...values: number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(1 + 8 * values.length);
  bytes[0] = tag;
  const view = new DataView(bytes.buffer);
  values.forEach((value, nth) => view.setBigUint64(1 + 8 * nth, BigInt(value), true));
  return bytes;
}

/**
 * Reads the records of a stream. The data of a record is left out.
 *
 * @param read Reads so many bytes from an offset; fewer only at the end.
 * @returns Each record, and where its data begins.
 * @throws {FormatError} If it is no such stream, or ends before its end.
 */
export function* decodeDiff(
  read: (offset: number, length: number) => Uint8Array<ArrayBuffer>,
): Generator<{ readonly record: DiffRecord; readonly at: number }> {
  const exactly = (offset: number, length: number) => {
    const bytes = read(offset, length);
    if (bytes.length !== length) throw new FormatError("it ends before its end");
    return bytes;
  };
  const magic = read(0, MAGIC.length);
  if (magic.length !== MAGIC.length || !magic.every((byte, nth) => byte === MAGIC[nth])) {
    throw new FormatError("it is no stream of changes");
  }
  const number = (offset: number) => {
    const value = Number(new DataView(exactly(offset, 8).buffer).getBigUint64(0, true));
    if (!Number.isSafeInteger(value)) throw new FormatError("it has a number that is too large");
    return value;
  };
  for (let at = MAGIC.length;;) {
    const [tag] = exactly(at++, 1);
    if (tag === END) {
      yield { record: { kind: "end" }, at };
      return;
    } else if (tag === FROM || tag === TO) {
      const length = new DataView(exactly(at, 4).buffer).getUint32(0, true);
      if (length > LONGEST_NAME) throw new FormatError("it has a name that is too long");
      const name = new TextDecoder().decode(exactly(at + 4, length));
      at += 4 + length;
      yield { record: { kind: tag === FROM ? "from" : "to", name }, at };
    } else if (tag === SIZE) {
      yield { record: { kind: "size", size: number(at) }, at: at += 8 };
    } else if (tag === DATA || tag === ZERO) {
      const [offset, length] = [number(at), number(at + 8)];
      at += 16;
      yield { record: { kind: tag === DATA ? "data" : "zero", offset, length }, at };
      if (tag === DATA) at += length;
    } else throw new FormatError(`it has an unknown record at byte ${at - 1}`);
  }
}
