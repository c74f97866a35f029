/**
 * Reads pieces of compressed chunks that are files of this machine: each into memory of the engine,
 * then opened beside ({@linkcode OpenedLines}), where the reads that follow find it.
 *
 * @module
 */

import type { EngineMemory } from "../../disk/engine.ts";
import { EAGAIN, EINTR } from "../../uapi/errno.ts";
import { dataLine } from "../cache/lines.ts";
import { Waiting } from "../journal/requests.ts";
import { isPieceSound, storedBytes } from "../pack/chunks.ts";
import { LINE_READ, nthOfToken, tokenOf } from "../tokens.ts";
import type { OpenedChunk } from "./chunk_files.ts";
import type { PieceOwner } from "./chunk_reads.ts";
import { copyOpened, OpenedLines, type PackedSums, unopenedWords } from "./opened_lines.ts";
import { blockAt, failedRead } from "./reader.ts";
import { WRONG_SUM } from "./sound.ts";

/** Pieces that are read at once. */
const SLOTS = 16;
/** A slot that is free. */
const FREE = -1;

/** The pieces of a volume's chunks. */
export interface PackedFiles {
  /** Bytes of a piece. */
  readonly piece: number;
  /** Makes memory that operations can use. */
  readonly allocate: (bytes: number) => EngineMemory;
}

/** A compressed chunk that is open. */
export type PackedChunk = OpenedChunk & PackedSums;

/** The files of chunks, as these reads see them. */
export interface PackedOwner {
  /** A chunk that is in use. */
  using(chunk: number): OpenedChunk;
  /** A piece is over. */
  over(piece: number): void;
}

/** Reads. */
export class PackedReads {
  /** Most operations under way at once. */
  readonly operations: number = SLOTS;
  /** Blocks of a piece. */
  readonly perPiece: number;
  readonly #piece: number;
  readonly #blockSize: number;
  readonly #memory: EngineMemory;
  readonly #opened: OpenedLines;
  readonly #files: PackedOwner;
  #owner!: PieceOwner;
  /** Per slot: the piece of a read that it is for, its line, and the bytes that have come. */
  readonly #pieceOf = new Int32Array(SLOTS).fill(FREE);
  readonly #keyOf = new Float64Array(SLOTS).fill(FREE);
  readonly #got = new Float64Array(SLOTS);
  /** Reads that wait for a slot, or for a line that is on its way. */
  #waiting!: Waiting;

  /** Of a volume with blocks of so many bytes. */
  constructor({ piece, allocate }: PackedFiles, blockSize: number, files: PackedOwner) {
    this.#piece = piece;
    this.#blockSize = blockSize;
    this.perPiece = piece / blockSize;
    this.#memory = allocate(SLOTS * piece);
    this.#opened = new OpenedLines(piece, blockSize);
    this.#files = files;
  }

  /** Called once, before anything else. */
  start(owner: PieceOwner): void {
    this.#owner = owner;
    this.#waiting = new Waiting(owner.pieces.count);
  }

  /** Begins to read a piece, or goes on with it. @returns Whether it is over. */
  read(piece: number, chunk: PackedChunk): boolean {
    const key = this.#lineOf(piece);
    if (copyOpened(this.#owner, piece, this.#opened, key, this.#blockSize, chunk)) return true;
    const slot = this.#keyOf.indexOf(key) >= 0 ? FREE : this.#pieceOf.indexOf(FREE);
    if (slot === FREE) this.#waiting.push(piece);
    else {
      this.#pieceOf[slot] = piece;
      this.#keyOf[slot] = key;
      this.#got[slot] = 0;
      this.#send(slot, chunk);
    }
    return false;
  }

  /** Which of its chunk's pieces a read is of. */
  #nthOf(piece: number): number {
    return Math.floor(this.#owner.pieces.from[piece] / this.perPiece);
  }

  #lineOf(piece: number): number {
    return dataLine(this.#owner.pieces.chunk[piece], this.#nthOf(piece));
  }

  #send(slot: number, { fd, dataAt, pieces }: PackedChunk): void {
    const nth = this.#nthOf(this.#pieceOf[slot]);
    const got = this.#got[slot];
    const offset = dataAt + pieces.offsets[nth] + got;
    const length = storedBytes(pieces, nth) - got;
    const token = tokenOf(LINE_READ, slot);
    this.#owner.host.read(this.#memory, slot * this.#piece + got, length, fd, offset, token);
  }

  /** An operation has completed. */
  done(token: number, result: number): void {
    const slot = nthOfToken(token);
    const piece = this.#pieceOf[slot];
    const chunk = this.#files.using(this.#owner.pieces.chunk[piece]) as PackedChunk;
    if (result > 0) this.#got[slot] += result;
    const nth = this.#nthOf(piece);
    const isWhole = this.#got[slot] === storedBytes(chunk.pieces, nth);
    const mayGoOn = result > 0 || result === -EINTR || result === -EAGAIN;
    if (!isWhole && mayGoOn) return this.#send(slot, chunk);
    const key = this.#keyOf[slot];
    this.#pieceOf[slot] = FREE;
    this.#keyOf[slot] = FREE;
    const words = isWhole
      ? this.#open(slot, key, nth, chunk)
      : failedRead(whereOf(chunk, nth), result) ?? "";
    if (words !== undefined) this.#owner.fail(piece, words === "" ? undefined : words);
    else if (!copyOpened(this.#owner, piece, this.#opened, key, this.#blockSize, chunk)) {
      this.#owner.fail(piece, `${whereOf(chunk, nth)} ${WRONG_SUM}`);
    }
    this.#files.over(piece);
    this.#goOn();
  }

  /** Opens what has come. @returns What is wrong with it. */
  #open(slot: number, key: number, nth: number, chunk: PackedChunk): string | undefined {
    const at = slot * this.#piece;
    const lay = this.#memory.bytes.subarray(at, at + storedBytes(chunk.pieces, nth));
    const isRight = isPieceSound(chunk.pieces, nth, lay) &&
      this.#opened.open(key, chunk, nth, lay);
    return isRight ? undefined : unopenedWords(chunk.name, chunk, nth);
  }

  #goOn(): void {
    for (let left = this.#waiting.length; left > 0 && this.#waiting.length > 0; left--) {
      const piece = this.#waiting.shift();
      const chunk = this.#files.using(this.#owner.pieces.chunk[piece]) as PackedChunk;
      if (this.read(piece, chunk)) this.#files.over(piece);
    }
  }

  /** Whether no operation uses the memory. */
  get isIdle(): boolean {
    return this.#pieceOf.every((piece) => piece === FREE);
  }
}

function whereOf({ name, dataAt, pieces }: PackedChunk, nth: number): string {
  return blockAt(name, dataAt + pieces.offsets[nth]);
}
