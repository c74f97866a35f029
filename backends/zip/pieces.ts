/**
 * The contents of a member, produced in pieces from start to end on demand. Memory is limited to a few
 * buffers, whatever the size.
 *
 * @module
 */

import type { Archive } from "./archive.ts";
import { Damage } from "./damage.ts";
import { STORED } from "./members.ts";

/** Bytes inflated at a time: normally, and at the second and third try where the stream failed. */
const INPUT_BYTES = [16 << 10, 128, 1] as const;
/** Maximum of bytes that deflate produces from one. */
const MOST_FROM_ONE_BYTE = 1032;
/** Bytes of a stored member read at a time. */
const STORED_PIECE_BYTES = 256 << 10;

/**
 * Yields the pieces. Each is valid until the next is requested.
 *
 * @throws {Damage} at any step, if the member cannot be read.
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

/**
 * Ignores bytes after the deflate stream, as unzip and python do. `DecompressionStream` fails on them
 * and withholds all output of the same input. So the input at which it failed is fed again in smaller
 * pieces, until those bytes have a piece of their own.
 */
async function* inflatedPieces(archive: Archive, member: number) {
  const bytes = archive.members.bytes[member];
  let yielded = 0;
  let fineFrom = Infinity;
  for (const inputBytes of INPUT_BYTES) {
    const input = new Input(archive, member, fineFrom, inputBytes);
    try {
      let toSkip = yielded;
      for await (
        const piece of input.stream().pipeThrough(new DecompressionStream("deflate-raw"))
      ) {
        const skip = Math.min(toSkip, piece.length);
        toSkip -= skip;
        yielded += piece.length - skip;
        // Even if the piece is empty, so that other work gets its turn.
        yield piece.subarray(skip);
      }
      return;
    } catch (error) {
      // The stream throws TypeErrors for invalid data.
      if (!(error instanceof TypeError)) throw error;
    }
    // The checksum verifies that the output is complete.
    if (yielded === bytes) return;
    if (bytes - yielded > input.recentBytes * MOST_FROM_ONE_BYTE) break;
    fineFrom = input.recentAt;
  }
  throw new Damage("it cannot be inflated");
}

/** A member's stored bytes, in pieces. */
class Input {
  readonly #archive: Archive;
  readonly #start: number;
  readonly #bytes: number;
  readonly #fineFrom: number;
  readonly #fineBytes: number;
  #at = 0;
  /** The positions of the last two pieces: the stream holds one while it requests the next. */
  readonly #last: [number, number] = [0, 0];

  /** From `fineFrom` on, pieces have `fineBytes` bytes. */
  constructor(archive: Archive, member: number, fineFrom: number, fineBytes: number) {
    this.#archive = archive;
    this.#start = archive.locate(member);
    this.#bytes = archive.members.storedBytes[member];
    this.#fineFrom = fineFrom;
    this.#fineBytes = fineBytes;
  }

  /** The start of the pieces that the stream may not have finished. */
  get recentAt(): number {
    return this.#last[0];
  }

  /** Bytes of the pieces that the stream may not have finished. */
  get recentBytes(): number {
    return this.#at - this.#last[0];
  }

  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull: (controller): void => {
        if (this.#at === this.#bytes) return controller.close();
        const isFine = this.#at >= this.#fineFrom;
        const end = isFine ? this.#bytes : Math.min(this.#bytes, this.#fineFrom);
        const maxBytes = isFine ? this.#fineBytes : INPUT_BYTES[0];
        const input = new Uint8Array(Math.min(maxBytes, end - this.#at));
        this.#archive.read(input, this.#start + this.#at);
        this.#last.shift();
        this.#last.push(this.#at);
        this.#at += input.length;
        controller.enqueue(input);
      },
    }, { highWaterMark: 0 });
  }
}
