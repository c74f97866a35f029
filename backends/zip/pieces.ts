/**
 * The contents of a member in pieces, from its start to its end, as they are asked for. Memory is a
 * matter of a few buffers, whatever the size.
 *
 * @module
 */

import type { Archive } from "./archive.ts";
import { Damage } from "./damage.ts";
import { STORED } from "./members.ts";

/** Bytes that are inflated at a time: at most 1032 times as many come out. */
const INPUT_BYTES = 16 << 10;
/** Bytes of a stored member at a time. */
const STORED_PIECE_BYTES = 256 << 10;

/**
 * The pieces. Each is good until the next is asked for.
 *
 * @throws {Damage} where there are none, in the first step or a later one.
 */
export function piecesOf(
  archive: Archive,
  member: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const isStored = archive.members.method[member] === STORED;
  return isStored ? storedPieces(archive, member) : inflatedPieces(archive, member);
}

async function* storedPieces(archive: Archive, member: number) {
  const start = archive.locate(member);
  const bytes = archive.members.storedBytes[member];
  const buffer = new Uint8Array(Math.min(STORED_PIECE_BYTES, bytes));
  for (let at = 0; at < bytes; at += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, bytes - at));
    archive.read(piece, start + at);
    yield piece;
  }
}

async function* inflatedPieces(archive: Archive, member: number) {
  const start = archive.locate(member);
  const bytes = archive.members.storedBytes[member];
  let at = 0;
  const stored = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller): void {
      if (at === bytes) return controller.close();
      const input = new Uint8Array(Math.min(INPUT_BYTES, bytes - at));
      archive.read(input, start + at);
      at += input.length;
      controller.enqueue(input);
    },
  }, { highWaterMark: 0 });
  try {
    yield* stored.pipeThrough(new DecompressionStream("deflate-raw"));
  } catch (error) {
    // Such are the stream's own: about its data.
    if (error instanceof TypeError) throw new Damage("it cannot be inflated");
    throw error;
  }
}
