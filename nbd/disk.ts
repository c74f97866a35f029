/**
 * Performs requests on a disk in pieces. So a request of any length takes a bounded part of memory, and
 * leaves others their turn: those without data wait for theirs.
 *
 * @module
 */

import type { DiskHost } from "../disk/host.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import type { Bytes } from "./frames.ts";
import { type MemoryShare, PIECE_BYTES } from "./memory.ts";
import type { TurnLine } from "./turns.ts";

/** Bytes of a TRIM or WRITE_ZEROES that are passed to the disk at once. */
const DATALESS_PART_BYTES = 64 << 20;

/** A range of a disk in bytes. */
export interface Range {
  /** From the start of the disk. */
  readonly offset: number;
  /** Its length. */
  readonly length: number;
}

/** Reads into a buffer. @returns 0 or a negative errno. */
export async function readInto(host: DiskHost, buffer: Bytes, offset: number): Promise<number> {
  const { length } = buffer;
  return Math.min(await host.request({ op: UBLK_IO_OP_READ, offset, length, buffer }), 0);
}

/** Writes a buffer. @returns 0 or a negative errno. */
export async function write(
  host: DiskHost,
  buffer: Bytes,
  offset: number,
  fua: boolean,
): Promise<number> {
  const { length } = buffer;
  return Math.min(await host.request({ op: UBLK_IO_OP_WRITE, offset, length, buffer, fua }), 0);
}

/** Makes durable what was answered before. @returns 0 or a negative errno. */
export async function flush(host: DiskHost, line: TurnLine): Promise<number> {
  return await line.run(() => host.request({ op: UBLK_IO_OP_FLUSH, offset: 0, length: 0 }));
}

/** Gives up a range. @returns 0 or a negative errno. */
export function trim(host: DiskHost, range: Range, line: TurnLine): Promise<number> {
  return inParts(
    range,
    DATALESS_PART_BYTES,
    (offset, length) =>
      line.run(() => host.request({ op: UBLK_IO_OP_DISCARD, offset, length, mayUnmap: true })),
  );
}

/** Zeroes a range by the disk's own means. @returns 0 or a negative errno. */
export function zero(
  host: DiskHost,
  range: Range,
  mayUnmap: boolean,
  line: TurnLine,
): Promise<number> {
  return inParts(
    range,
    DATALESS_PART_BYTES,
    (offset, length) =>
      line.run(() => host.request({ op: UBLK_IO_OP_WRITE_ZEROES, offset, length, mayUnmap })),
  );
}

/** Writes zeroes as data. @returns 0 or a negative errno. */
export function writeZeroes(
  host: DiskHost,
  range: Range,
  memory: MemoryShare,
  line: TurnLine,
): Promise<number> {
  return inBorrowed(
    range,
    memory,
    (buffer, offset) => line.run(() => write(host, buffer, offset, false)),
  );
}

/** Reads a range and drops it, so that what is below may have it at hand. */
export function readAhead(
  host: DiskHost,
  range: Range,
  memory: MemoryShare,
  line: TurnLine,
): Promise<number> {
  return inBorrowed(
    range,
    memory,
    (buffer, offset) => line.run(() => readInto(host, buffer, offset)),
  );
}

async function inBorrowed(
  range: Range,
  memory: MemoryShare,
  perform: (buffer: Bytes, offset: number) => number | Promise<number>,
): Promise<number> {
  return await inParts(range, PIECE_BYTES, async (offset, length) => {
    await memory.take(length);
    try {
      return await perform(new Uint8Array(length), offset);
    } finally {
      memory.give(length);
    }
  });
}

/** Performs the parts of a range in turn, up to one that fails. */
async function inParts(
  { offset, length }: Range,
  most: number,
  perform: (offset: number, length: number) => number | Promise<number>,
): Promise<number> {
  for (let at = 0; at < length; at += most) {
    const result = await perform(offset + at, Math.min(most, length - at));
    if (result !== 0) return result;
  }
  return 0;
}
