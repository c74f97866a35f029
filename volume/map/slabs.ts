/**
 * Memory in blocks of a few sizes, taken from *pieces* of half a megabyte.
 *
 * A piece is cut into *spans*, and each span into blocks of one class. A span that becomes free
 * serves any class, and a piece that becomes free is given back. So a map whose leaves have all
 * outgrown a class keeps nothing of that class. Nothing is ever moved or doubled, because a copy of
 * a large array takes tens of milliseconds.
 *
 * A block's address is a 32-bit integer: the piece above, the word in the piece below. No block has
 * address 0.
 *
 * @module
 */

import { assert, fail } from "../../uapi/error.ts";
import { Arena } from "./arena.ts";

// Words of a span's record.
const CLASS = 0;
const USED = 1;
/** Offset in the span of the first block that was freed, or -1. A free block links to the next. */
const FREE = 2;
/** Offset in the span of the first block that was never used. */
const UNUSED = 3;
// A span is in the list of its class while it has room, or in its piece's list while it is free.
const NEXT = 4;
const BEFORE = 5;
const RECORD = 6;

/** A span's number is its piece above, its index in the piece below. */
const SPAN_BITS = 8;
const SPAN_MASK = (1 << SPAN_BITS) - 1;

const NONE = new Int32Array(0);

/** One piece of memory. */
class Piece {
  readonly number: number;
  readonly spans: Int32Array<ArrayBuffer>;
  /** Index of the first free span, or -1. */
  free = -1;
  /** Index of the first span that was never used. */
  unused = 0;
  /** Number of spans in use. */
  used = 0;

  constructor(number: number, spans: number) {
    this.number = number;
    this.spans = new Int32Array(spans * RECORD);
  }
}

/** Sizes of {@linkcode Slabs}. */
export interface SlabSizes {
  /** Words of a span. */
  readonly spanWords: number;
  /** Words of a block of each class, rising. */
  readonly classWords: readonly number[];
  /** The logarithm of a piece's words. */
  readonly pieceBits: number;
}

/** So many pieces lie anywhere: a small map must not take huge pages. Those after are in an arena. */
const SMALL_PIECES = 8;

/** An allocator of blocks of words. */
export class Slabs {
  /** The memory by piece: block `ref` begins at word `ref & mask` of `pieces[ref >>> bits]`. */
  readonly pieces: Int32Array<ArrayBuffer>[] = [NONE];
  /** See {@linkcode pieces}. */
  readonly bits: number;
  /** See {@linkcode pieces}. */
  readonly mask: number;
  /** Bytes of all pieces. */
  bytes = 0;
  readonly #spanWords: number;
  readonly #spansPerPiece: number;
  readonly #classWords: Int32Array<ArrayBuffer>;
  readonly #blocksPerSpan: Int32Array<ArrayBuffer>;
  /** For each class the first span with room, or 0. */
  readonly #roomy: Int32Array<ArrayBuffer>;
  readonly #records: (Piece | undefined)[] = [undefined];
  readonly #arena: Arena;
  /** Numbers of pieces that were given back. */
  readonly #vacant: number[] = [];
  /** No piece with a lower number has a free span. */
  #lowest = 1;
  /** A piece that is free as a whole is kept, so that a span that comes and goes costs little. */
  #spare: Piece | undefined = undefined;

  /** Takes no memory yet. */
  constructor({ spanWords, classWords, pieceBits }: SlabSizes) {
    this.bits = pieceBits;
    this.mask = (1 << pieceBits) - 1;
    this.#spanWords = spanWords;
    this.#spansPerPiece = Math.min(Math.floor((1 << pieceBits) / spanWords), SPAN_MASK);
    this.#classWords = Int32Array.from(classWords);
    this.#blocksPerSpan = this.#classWords.map((words) => Math.floor(spanWords / words));
    this.#roomy = new Int32Array(classWords.length);
    this.#arena = new Arena(1 << pieceBits);
    assert(this.#spansPerPiece > 0, "a piece has a span");
    assert(this.#blocksPerSpan.every((blocks) => blocks > 0), "a block fits into a span");
  }

  /** Takes a block of a class. Its words are whatever they were. */
  take(size: number): number {
    const span = this.#roomy[size] || this.#takeSpan(size);
    const piece = span >>> SPAN_BITS;
    const index = span & SPAN_MASK;
    const { spans } = this.#records[piece]!;
    const at = index * RECORD;
    const base = index * this.#spanWords;
    let offset = spans[at + FREE];
    if (offset >= 0) {
      spans[at + FREE] = this.pieces[piece][base + offset];
    } else {
      offset = spans[at + UNUSED];
      spans[at + UNUSED] = offset + this.#classWords[size];
    }
    if (++spans[at + USED] === this.#blocksPerSpan[size]) this.#unlink(span);
    return piece << this.bits | base + offset;
  }

  /** Gives a block back. */
  give(ref: number): void {
    const piece = ref >>> this.bits;
    const word = ref & this.mask;
    const index = (word / this.#spanWords) | 0;
    const span = piece << SPAN_BITS | index;
    const { spans } = this.#records[piece]!;
    const at = index * RECORD;
    const used = spans[at + USED];
    if (used <= 0) fail("a block that is given back was taken");
    this.pieces[piece][word] = spans[at + FREE];
    spans[at + FREE] = word - index * this.#spanWords;
    // A span that was full comes first: it is filled up again, so that emptier ones can become free.
    if (used === this.#blocksPerSpan[spans[at + CLASS]]) this.#link(span);
    spans[at + USED] = used - 1;
    if (used === 1) {
      this.#unlink(span);
      this.#giveSpan(span);
    }
  }

  #takeSpan(size: number): number {
    const piece = this.#roomyPiece();
    const { spans } = piece;
    let index = piece.free;
    if (index >= 0) piece.free = spans[index * RECORD + NEXT];
    else index = piece.unused++;
    piece.used++;
    if (piece === this.#spare) this.#spare = undefined;
    const at = index * RECORD;
    spans[at + CLASS] = size;
    spans[at + USED] = 0;
    spans[at + FREE] = -1;
    spans[at + UNUSED] = 0;
    const span = piece.number << SPAN_BITS | index;
    this.#link(span);
    return span;
  }

  #giveSpan(span: number): void {
    const piece = this.#records[span >>> SPAN_BITS]!;
    const index = span & SPAN_MASK;
    piece.spans[index * RECORD + NEXT] = piece.free;
    piece.free = index;
    piece.used--;
    this.#lowest = Math.min(this.#lowest, piece.number);
    if (piece.used > 0) return;
    if (this.#spare === undefined) this.#spare = piece;
    else this.#givePiece(piece);
  }

  /** The first piece with a free span: so the last ones become free as a whole. */
  #roomyPiece(): Piece {
    for (; this.#lowest < this.#records.length; this.#lowest++) {
      const piece = this.#records[this.#lowest];
      if (piece !== undefined && piece.used < this.#spansPerPiece) return piece;
    }
    const piece = this.#takePiece();
    this.#lowest = piece.number;
    return piece;
  }

  /** Makes a span the first of its class with room. */
  #link(span: number): void {
    const { spans } = this.#records[span >>> SPAN_BITS]!;
    const at = (span & SPAN_MASK) * RECORD;
    const size = spans[at + CLASS];
    const next = this.#roomy[size];
    spans[at + NEXT] = next;
    spans[at + BEFORE] = 0;
    if (next !== 0) this.#setWord(next, BEFORE, span);
    this.#roomy[size] = span;
  }

  #unlink(span: number): void {
    const { spans } = this.#records[span >>> SPAN_BITS]!;
    const at = (span & SPAN_MASK) * RECORD;
    const next = spans[at + NEXT];
    const before = spans[at + BEFORE];
    if (before === 0) this.#roomy[spans[at + CLASS]] = next;
    else this.#setWord(before, NEXT, next);
    if (next !== 0) this.#setWord(next, BEFORE, before);
  }

  #setWord(span: number, word: number, value: number): void {
    this.#records[span >>> SPAN_BITS]!.spans[(span & SPAN_MASK) * RECORD + word] = value;
  }

  #takePiece(): Piece {
    const number = this.#vacant.pop() ?? this.pieces.length;
    if (number >= 2 ** (32 - this.bits)) fail("32 bits address the memory of a map");
    const piece = new Piece(number, this.#spansPerPiece);
    const words = number <= SMALL_PIECES ? new Int32Array(1 << this.bits) : this.#arena.take();
    this.pieces[number] = words;
    this.#records[number] = piece;
    this.bytes += words.byteLength + piece.spans.byteLength;
    return piece;
  }

  #givePiece(piece: Piece): void {
    const words = this.pieces[piece.number];
    this.bytes -= words.byteLength + piece.spans.byteLength;
    if (piece.number > SMALL_PIECES) this.#arena.give(words);
    this.pieces[piece.number] = NONE;
    this.#records[piece.number] = undefined;
    this.#vacant.push(piece.number);
  }
}
