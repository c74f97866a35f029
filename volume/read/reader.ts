/**
 * The reading end: finds each block's newest data and brings it into the request. A request is read
 * in pieces, one per extent; pieces of holes and of batches in memory are there at once, the others
 * come through the ring. Every block that comes from a file is checked against its sum before the
 * request is answered.
 *
 * @module
 */

import type { EngineHost } from "../../disk/engine.ts";
import { EAGAIN, ECANCELED, EINTR, EIO } from "../../uapi/errno.ts";
import { fail, isUblkError } from "../../uapi/error.ts";
import { JOURNAL_UNIT } from "../format/journal_layout.ts";
import { chunkOf, nthOf } from "../format/place.ts";
import { sumOf } from "../format/sum.ts";
import type { Batch } from "../journal/batch.ts";
import { type Requests, Waiting } from "../journal/requests.ts";
import { IN_CHUNK, IN_JOURNAL, type Maps } from "../maps.ts";
import { READ, tokenOf } from "../tokens.ts";
import { AT, type VolumeCounters } from "../counters.ts";
import type { ChunkFiles } from "./chunk_files.ts";

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
  /** Where the newest data of blocks is. */
  readonly maps: Maps;
  /** Batches that may still hold data in memory. */
  readonly batches: readonly Batch[];
  /** Open chunks. */
  readonly chunks: ChunkFiles;
  /** The state of requests. */
  readonly requests: Requests;
  /** Counts what is read. */
  readonly counters: VolumeCounters;
  /** Tells what could not be read. */
  readonly onDamage: (words: string) => void;
}

/** Reads. */
export class Reader {
  readonly #parts: ReaderParts;
  #host!: EngineHost;
  /** Requests that wait for a free piece. */
  readonly #waiting: Waiting;
  readonly #waits: Uint8Array<ArrayBuffer>;
  /** Requests that wait for a chunk. */
  readonly #awaiting: Waiting;
  /** Numbers of pieces that are free: the first {@linkcode #free} of them. */
  readonly #pieces: Int32Array<ArrayBuffer>;
  #free: number;
  /** Per piece: its request, where in its data it is, and its length. */
  readonly #requestOf: Int32Array<ArrayBuffer>;
  readonly #at: Float64Array<ArrayBuffer>;
  readonly #bytes: Float64Array<ArrayBuffer>;
  /** Per piece: the chunk that it comes from, or -1 for the journal. */
  readonly #chunkOf: Float64Array<ArrayBuffer>;
  /** Per piece: the file of the journal, and the offset in it; or the first block of the chunk. */
  readonly #fileOf: Int32Array<ArrayBuffer>;
  readonly #from: Float64Array<ArrayBuffer>;
  /** Per piece: the bytes that have come. */
  readonly #got: Float64Array<ArrayBuffer>;
  /** Per file of the journal, pieces that come from it. */
  readonly #readers: Int32Array<ArrayBuffer>;

  /** Takes over the parts. */
  constructor(parts: ReaderParts) {
    this.#parts = parts;
    this.#waiting = new Waiting(parts.requests.count);
    this.#waits = new Uint8Array(parts.requests.count);
    this.#awaiting = new Waiting(parts.requests.count);
    this.#readers = new Int32Array(parts.fds.length);
    const { pieces } = parts;
    this.#free = pieces;
    this.#pieces = Int32Array.from({ length: pieces }, (_, nth) => nth);
    this.#requestOf = new Int32Array(pieces);
    this.#at = new Float64Array(pieces);
    this.#bytes = new Float64Array(pieces);
    this.#chunkOf = new Float64Array(pieces);
    this.#fileOf = new Int32Array(pieces);
    this.#from = new Float64Array(pieces);
    this.#got = new Float64Array(pieces);
  }

  /** Gets the host, before anything else. */
  start(host: EngineHost): void {
    this.#host = host;
  }

  /** Whether data of a file of the journal is on its way. */
  isRead(file: number): boolean {
    return this.#readers[file] > 0;
  }

  /** Reads a request's data, and answers it. */
  read(request: number): void {
    this.#continue(request);
  }

  /** Gets as much of a request on its way as pieces are free. */
  #continue(request: number): void {
    this.#waits[request] = 0;
    const { requests, blockSize, maps, segmentSize, counters } = this.#parts;
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
        if (this.#free === 0) return this.#wait(request);
        const { place } = maps;
        if (!this.#fromChunk(request, chunkOf(place), nthOf(place), length)) {
          this.#waits[request] = 1;
          return this.#awaiting.push(request);
        }
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
    if (this.#free === 0) return false;
    const file = Math.floor(position / segmentSize) % fds.length;
    const piece = this.#take(request, count);
    this.#chunkOf[piece] = -1;
    this.#fileOf[piece] = file;
    this.#from[piece] = position % segmentSize;
    this.#readers[file]++;
    this.#send(piece);
    return true;
  }

  /** Goes on with the requests that wait for chunks: some have come. */
  chunksCame(): void {
    for (let left = this.#awaiting.length; left > 0; left--) this.#continue(this.#awaiting.shift());
  }

  /** Waits for no chunk any more. */
  giveUp(): void {
    while (this.#awaiting.length > 0) {
      const request = this.#awaiting.shift();
      this.#waits[request] = 0;
      this.#parts.requests.result[request] = -EIO;
      this.#settle(request);
    }
  }

  /** Begins to read from a chunk. @returns False if the chunk is not here yet. */
  #fromChunk(request: number, chunk: number, nth: number, count: number): boolean {
    const { chunks, blockSize, requests } = this.#parts;
    let opened;
    try {
      opened = chunks.take(chunk);
    } catch (error) {
      // Anything else is a mistake of ours.
      if (!isUblkError(error)) throw error;
      this.#parts.onDamage(error.message);
      requests.result[request] = -EIO;
      return true;
    }
    if (opened === undefined) return false;
    if (nth + count > opened.sums.length) {
      chunks.release(chunk);
      this.#parts.onDamage(`chunk ${chunk} has ${opened.sums.length} blocks, and not ${nth}`);
      requests.result[request] = -EIO;
      return true;
    }
    const piece = this.#take(request, count);
    this.#chunkOf[piece] = chunk;
    this.#from[piece] = nth;
    if (opened.bytes === undefined) this.#send(piece);
    else {
      const at = opened.dataAt + nth * blockSize;
      const bytes = opened.bytes.subarray(at, at + count * blockSize);
      this.#host.data(request).set(bytes, this.#at[piece]);
      this.#got[piece] = bytes.length;
      this.#finish(piece, bytes.length);
    }
    return true;
  }

  #take(request: number, count: number): number {
    const { blockSize, requests } = this.#parts;
    const piece = this.#pieces[--this.#free];
    requests.parts[request]++;
    this.#requestOf[piece] = request;
    this.#at[piece] = requests.done[request] * blockSize;
    this.#bytes[piece] = count * blockSize;
    this.#got[piece] = 0;
    return piece;
  }

  /** Reads what has not come of a piece. */
  #send(piece: number): void {
    const { fds, chunks, blockSize } = this.#parts;
    const chunk = this.#chunkOf[piece];
    let fd = fds[this.#fileOf[piece]];
    let offset = this.#from[piece];
    if (chunk >= 0) {
      const opened = chunks.using(chunk);
      fd = opened.fd;
      offset = opened.dataAt + offset * blockSize;
    }
    const got = this.#got[piece];
    const [at, length] = [this.#at[piece] + got, this.#bytes[piece] - got];
    const token = tokenOf(READ, piece);
    this.#host.readInto(this.#requestOf[piece], at, length, fd, offset + got, token);
  }

  /** A piece has come. */
  came(piece: number, result: number): void {
    if (result === -EINTR || result === -EAGAIN) return this.#send(piece);
    if (result > 0) this.#got[piece] += result;
    // A read that was cut short once failed with EIO.
    if (result > 0 && this.#got[piece] < this.#bytes[piece]) return this.#send(piece);
    const request = this.#requestOf[piece];
    this.#finish(piece, result);
    this.#settle(request);
    while (this.#waiting.length > 0 && this.#free > 0) this.#continue(this.#waiting.shift());
  }

  /** Checks a piece that is there, and gives it up. */
  #finish(piece: number, result: number): void {
    const { requests, chunks } = this.#parts;
    const request = this.#requestOf[piece];
    const chunk = this.#chunkOf[piece];
    if (this.#got[piece] !== this.#bytes[piece]) this.#failed(piece, result);
    else if (!this.#isSound(piece)) this.#damaged(piece, "has a wrong checksum");
    if (chunk < 0) this.#readers[this.#fileOf[piece]]--;
    else chunks.release(chunk);
    this.#pieces[this.#free++] = piece;
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

  #isSound(piece: number): boolean {
    const { blockSize, sums, chunks } = this.#parts;
    const chunk = this.#chunkOf[piece];
    const data = this.#host.data(this.#requestOf[piece]);
    const step = chunk < 0 ? blockSize / JOURNAL_UNIT : 1;
    let nth = chunk < 0 ? this.#from[piece] / JOURNAL_UNIT : this.#from[piece];
    const expected = chunk < 0 ? sums[this.#fileOf[piece]] : chunks.using(chunk).sums;
    const end = this.#at[piece] + this.#bytes[piece];
    for (let at = this.#at[piece]; at < end; at += blockSize, nth += step) {
      if (sumOf(data.subarray(at, at + blockSize)) !== expected[nth]) return false;
    }
    return true;
  }

  #failed(piece: number, result: number): void {
    if (result === -ECANCELED) this.#parts.requests.result[this.#requestOf[piece]] = -EIO;
    else this.#damaged(piece, result < 0 ? `failed with errno ${-result}` : "is too short");
  }

  #damaged(piece: number, how: string): void {
    const chunk = this.#chunkOf[piece];
    const where = chunk < 0
      ? `the journal's file ${this.#fileOf[piece]}, offset ${this.#from[piece]}`
      : `chunk ${chunk}, block ${this.#from[piece]}`;
    this.#parts.onDamage(`a read of ${where} ${how}`);
    this.#parts.requests.result[this.#requestOf[piece]] = -EIO;
  }
}
