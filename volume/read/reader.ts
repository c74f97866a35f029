/**
 * The reading end: finds each block's newest data and brings it into the request. A request is read
 * in pieces, one per extent; pieces of holes and of batches in memory are there at once, the others
 * come through the ring, or from a store that is elsewhere. Every block that comes from outside is
 * checked against its sum before the request is answered.
 *
 * @module
 */

import type { EngineHost } from "../../disk/engine.ts";
import { EAGAIN, ECANCELED, EINTR, EIO } from "../../uapi/errno.ts";
import { fail } from "../../uapi/error.ts";
import { JOURNAL_UNIT } from "../format/journal_layout.ts";
import { chunkOf, nthOf } from "../format/place.ts";
import type { Batch } from "../journal/batch.ts";
import { segmentName } from "../journal/files.ts";
import type { JournalSeals } from "../journal/seals.ts";
import { type Requests, Waiting } from "../journal/requests.ts";
import { IN_CHUNK, IN_JOURNAL, type Maps } from "../maps.ts";
import { READ, tokenOf } from "../tokens.ts";
import { AT, type VolumeCounters } from "../counters.ts";
import type { ChunkReads, PieceOwner } from "./chunk_reads.ts";
import { Pieces } from "./pieces.ts";
import { firstUnsound, NOT_OPENED, WRONG_SUM } from "./sound.ts";

/** Pieces on their way at once, if nothing else is said. */
export const MAX_PIECES = 256;

/** The parts of a {@linkcode Reader}. */
export interface ReaderParts {
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Most pieces on their way at once. */
  readonly pieces: number;
  /** Bytes of a segment. */
  readonly segmentSize: number;
  /** Descriptors of the journal's files. */
  readonly fds: readonly number[];
  /** Of each file of the journal, the sums of the blocks of data, by their offset in units. */
  readonly sums: readonly Uint32Array<ArrayBuffer>[];
  /** What opens these blocks; undefined for a volume that is not encrypted. */
  readonly seals?: JournalSeals;
  /** The journal in words, for errors. */
  readonly words: string;
  /** Where the newest data of blocks is. */
  readonly maps: Maps;
  /** Batches that may still hold data in memory. */
  readonly batches: readonly Batch[];
  /** Reads what is in chunks. */
  readonly chunks: ChunkReads;
  /** The state of requests. */
  readonly requests: Requests;
  /** Counts what is read. */
  readonly counters: VolumeCounters;
  /** Tells what could not be read. */
  readonly onDamage: (words: string) => void;
}

/** Reads. */
export class Reader implements PieceOwner {
  readonly pieces: Pieces;
  readonly maps: Maps;
  readonly #parts: ReaderParts;
  #host!: EngineHost;
  /** Requests that wait for a free piece. */
  readonly #waiting: Waiting;
  readonly #waits: Uint8Array<ArrayBuffer>;
  /** Per file of the journal, pieces that come from it. */
  readonly #readers: Int32Array<ArrayBuffer>;

  /** Takes over the parts. */
  constructor(parts: ReaderParts) {
    this.#parts = parts;
    this.maps = parts.maps;
    this.#waiting = new Waiting(parts.requests.count);
    this.#waits = new Uint8Array(parts.requests.count);
    this.#readers = new Int32Array(parts.fds.length);
    this.pieces = new Pieces(parts.pieces);
  }

  /** Gets the host, before anything else. */
  start(host: EngineHost): void {
    this.#host = host;
    this.#parts.chunks.start(this);
  }

  get host(): EngineHost {
    return this.#host;
  }

  /** Whether data of a file of the journal is on its way. */
  isRead(file: number): boolean {
    return this.#readers[file] > 0;
  }

  /** From now on pieces are of a new generation: they are where the maps say now. */
  turn(): void {
    this.pieces.turn();
  }

  /** Whether pieces are on their way from before the last {@linkcode turn}. */
  get hasOlder(): boolean {
    return this.pieces.hasOlder;
  }

  /** Reads a request's data, and answers it. */
  read(request: number): void {
    const { blockSize, chunks } = this.#parts;
    const block = this.#host.offset(request) / blockSize;
    const count = this.#host.length(request) / blockSize;
    this.#continue(request);
    chunks.saw?.(block, count);
  }

  /** Gets as much of a request on its way as pieces are free. */
  #continue(request: number): void {
    this.#waits[request] = 0;
    const { requests, blockSize, maps, segmentSize, chunks, counters } = this.#parts;
    const { done, result, parts } = requests;
    const first = this.#host.offset(request) / blockSize;
    const count = this.#host.length(request) / blockSize;
    while (done[request] < count && result[request] === 0) {
      const block = first + done[request];
      let length = maps.find(block, count - done[request]);
      if (maps.kind === IN_JOURNAL) {
        const position = maps.place * JOURNAL_UNIT;
        // Blocks that lie together in the map may not in the files.
        const left = segmentSize - position % segmentSize;
        length = Math.min(length, Math.floor(left / blockSize));
        const copied = this.#copy(request, position, length);
        if (copied === 0 && !this.#fromJournal(request, position, length)) {
          return this.#wait(request);
        }
        if (copied > 0) length = copied;
        counters.add(AT.journalReadBytes, length * blockSize);
      } else if (maps.kind === IN_CHUNK) {
        if (this.pieces.free === 0) return this.#wait(request);
        const { place } = maps;
        length = Math.min(length, chunks.most(nthOf(place)));
        const piece = this.#take(request, length);
        this.pieces.chunk[piece] = chunkOf(place);
        this.pieces.from[piece] = nthOf(place);
        if (chunks.read(piece)) this.#release(piece);
        counters.add(AT.chunkReadBytes, length * blockSize);
      } else {
        const at = done[request] * blockSize;
        this.#host.data(request).fill(0, at, at + length * blockSize);
        counters.add(AT.holeReadBytes, length * blockSize);
      }
      done[request] += length;
    }
    if (parts[request] === 0) requests.answer(request, result[request]);
  }

  /** Copies from a batch in memory. @returns The number of blocks. */
  #copy(request: number, position: number, count: number): number {
    const { batches, blockSize, requests } = this.#parts;
    for (const batch of batches) {
      if (!batch.holds(position)) continue;
      const data = this.#host.data(request);
      const at = requests.done[request] * blockSize;
      return batch.copy(position, count * blockSize, data, at) / blockSize;
    }
    return 0;
  }

  #fromJournal(request: number, position: number, count: number): boolean {
    const { segmentSize, fds } = this.#parts;
    const { pieces } = this;
    if (pieces.free === 0) return false;
    const file = Math.floor(position / segmentSize) % fds.length;
    const piece = this.#take(request, count);
    pieces.chunk[piece] = -1;
    pieces.file[piece] = file;
    pieces.fd[piece] = fds[file];
    pieces.from[piece] = pieces.offset[piece] = position % segmentSize;
    this.#readers[file]++;
    this.send(piece);
    return true;
  }

  #take(request: number, count: number): number {
    const { blockSize, requests } = this.#parts;
    requests.parts[request]++;
    return this.pieces.take(request, requests.done[request] * blockSize, count * blockSize);
  }

  send(piece: number): void {
    const { request, at, bytes, got, fd, offset } = this.pieces;
    const have = got[piece];
    const length = bytes[piece] - have;
    const from = offset[piece] + have;
    const token = tokenOf(READ, piece);
    this.#host.readInto(request[piece], at[piece] + have, length, fd[piece], from, token);
  }

  /** A piece that was sent has come. */
  came(piece: number, result: number): void {
    const { pieces } = this;
    if (result === -EINTR || result === -EAGAIN) return this.send(piece);
    if (result > 0) pieces.got[piece] += result;
    const isWhole = pieces.got[piece] === pieces.bytes[piece];
    // A read that was cut short once failed with EIO.
    if (result > 0 && !isWhole) return this.send(piece);
    if (pieces.chunk[piece] < 0) this.#fromJournalCame(piece, result);
    else if (!this.#parts.chunks.came(piece, result)) return;
    this.ended(piece);
  }

  #fromJournalCame(piece: number, result: number): void {
    const { pieces } = this;
    const { blockSize, sums, seals } = this.#parts;
    const file = pieces.file[piece];
    this.#readers[file]--;
    if (pieces.got[piece] !== pieces.bytes[piece]) {
      return this.fail(piece, failedRead(this.#whereOf(piece, 0), result));
    }
    const start = pieces.at[piece];
    const data = this.#host.data(pieces.request[piece]);
    const nth = pieces.from[piece] / JOURNAL_UNIT;
    const step = blockSize / JOURNAL_UNIT;
    const end = start + pieces.bytes[piece];
    const unsound = firstUnsound(data, start, end, blockSize, sums[file], nth, step);
    if (unsound >= 0) {
      this.fail(piece, `${this.#whereOf(piece, unsound)} ${WRONG_SUM}`);
    } else if (seals?.open(file, pieces.from[piece], data, start, end) === false) {
      this.fail(piece, `${this.#whereOf(piece, 0)}: ${NOT_OPENED}`);
    }
  }

  /** A byte of a piece, as the place that a line names. */
  #whereOf(piece: number, at: number): string {
    const { file, from } = this.pieces;
    const byte = `byte ${from[piece] + at} of ${segmentName(file[piece])}`;
    return `${this.#parts.words}: the block at ${byte}`;
  }

  fail(piece: number, words?: string): void {
    this.#parts.counters.add(AT.damagedReads, 1);
    if (words !== undefined) this.#parts.onDamage(words);
    this.#parts.requests.result[this.pieces.request[piece]] = -EIO;
  }

  ended(piece: number): void {
    const request = this.pieces.request[piece];
    this.#release(piece);
    this.#settle(request);
    while (this.#waiting.length > 0 && this.pieces.free > 0) {
      this.#continue(this.#waiting.shift());
    }
  }

  #release(piece: number): void {
    const { requests } = this.#parts;
    const request = this.pieces.request[piece];
    this.pieces.release(piece);
    if (--requests.parts[request] < 0) fail("a piece comes once");
  }

  /** Answers a request whose last piece has come, unless it waits to get more on its way. */
  #settle(request: number): void {
    const { requests } = this.#parts;
    if (requests.parts[request] > 0 || this.#waits[request] !== 0) return;
    requests.answer(request, requests.result[request]);
  }

  #wait(request: number): void {
    this.#waits[request] = 1;
    this.#waiting.push(request);
  }
}

/** A block of an object, as the place that a line names. */
export function blockAt(name: string, byte: number): string {
  return `${name}: the block at byte ${byte}`;
}

/** Why a read has failed; nothing if it was cancelled, because the device ends. */
export function failedRead(where: string, result: number): string | undefined {
  if (result === -ECANCELED) return undefined;
  return `${where} ${result < 0 ? `failed with errno ${-result}` : "is too short"}`;
}
