/**
 * The contents of a member in pieces, from its start to its end, as they are asked for. Memory is a
 * matter of a few buffers, whatever the size.
 *
 * @module
 */

import type { Archive } from "./archive.ts";
import { Damage } from "./damage.ts";
import { STORED } from "./members.ts";

/** Bytes that are inflated at a time, and where the stream failed, the second and the third time. */
const INPUT_BYTES = [16 << 10, 128, 1] as const;
/** Bytes that deflate makes of one. */
const MOST_FROM_ONE_BYTE = 1032;
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

/**
 * Bytes behind the deflate stream are no matter to unzip and python, and none here. But the stream
 * fails on them, and keeps to itself all that came out of the same input. So the input in which it
 * failed is given again in smaller pieces, until those bytes have a piece of their own.
 */
async function* inflatedPieces(archive: Archive, member: number) {
  const bytes = archive.members.bytes[member];
  let given = 0;
  let fineAt = Infinity;
  for (const inputBytes of INPUT_BYTES) {
    const input = new Input(archive, member, fineAt, inputBytes);
    try {
      let again = given;
      for await (
        const piece of input.stream().pipeThrough(new DecompressionStream("deflate-raw"))
      ) {
        const old = Math.min(again, piece.length);
        again -= old;
        given += piece.length - old;
        // Also where nothing is new: there others have their turn.
        yield piece.subarray(old);
      }
      return;
    } catch (error) {
      // Such are the stream's own: about its data.
      if (!(error instanceof TypeError)) throw error;
    }
    // The checksum tells whether that is all.
    if (given === bytes) return;
    if (bytes - given > input.recentBytes * MOST_FROM_ONE_BYTE) break;
    fineAt = input.recentAt;
  }
  throw new Damage("it cannot be inflated");
}

/** A member as it is stored, in pieces. */
class Input {
  readonly #archive: Archive;
  readonly #start: number;
  readonly #bytes: number;
  readonly #fineAt: number;
  readonly #fineBytes: number;
  #at = 0;
  /** The places of the last two pieces: the stream has one at a time, and asks for the next. */
  readonly #last: [number, number] = [0, 0];

  /** From `fineAt` on the pieces have `fineBytes`. */
  constructor(archive: Archive, member: number, fineAt: number, fineBytes: number) {
    this.#archive = archive;
    this.#start = archive.locate(member);
    this.#bytes = archive.members.storedBytes[member];
    this.#fineAt = fineAt;
    this.#fineBytes = fineBytes;
  }

  /** The first byte of the pieces that the stream may not be through with. */
  get recentAt(): number {
    return this.#last[0];
  }

  /** Their bytes. */
  get recentBytes(): number {
    return this.#at - this.#last[0];
  }

  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull: (controller): void => {
        if (this.#at === this.#bytes) return controller.close();
        const isFine = this.#at >= this.#fineAt;
        const end = isFine ? this.#bytes : Math.min(this.#bytes, this.#fineAt);
        const most = isFine ? this.#fineBytes : INPUT_BYTES[0];
        const input = new Uint8Array(Math.min(most, end - this.#at));
        this.#archive.read(input, this.#start + this.#at);
        this.#last.shift();
        this.#last.push(this.#at);
        this.#at += input.length;
        controller.enqueue(input);
      },
    }, { highWaterMark: 0 });
  }
}
