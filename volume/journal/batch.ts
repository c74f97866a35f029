/**
 * A batch of the journal in the making. Data is copied once, to where it is written from, and summed
 * up there. The header is put in front of it at the end, when its length is known.
 *
 * ```
 *  memory   ├── free ──┤ segment's header │ batch's header │ data …   ├── free ──┤
 *                      start              start + 4096      dataAt, always the same
 * ```
 *
 * A batch is used again and again and allocates nothing per request. In an encrypted volume the copy
 * is the encryption: the memory has what is written, and the sums are of that.
 *
 * @module
 */

import type { EngineMemory } from "../../disk/engine.ts";
import { assert, fail } from "../../uapi/error.ts";
import {
  BATCH_MAGIC,
  encodeSegmentHeader,
  KIND_DATA,
  KIND_HOLE,
  type SegmentHeader,
} from "../format/journal.ts";
import {
  BATCH_HEADER_BYTES,
  batchHeaderBytes,
  EXTENT_BYTES,
  SEALED_EXTENTS_AT,
  SEGMENT_HEADER_BYTES,
  SUM_BYTES,
  wholePages,
} from "../format/journal_layout.ts";
import { sumOf } from "../format/sum.ts";

import { seal, TAG_BYTES, unseal } from "../seal/gcm.ts";
import type { BatchSeals, JournalSealer } from "../seal/journal.ts";
import { batchMemoryBytes, dataStart, MAX_EXTENTS } from "./batch_layout.ts";

const TWO_32 = 0x1_0000_0000;

/** Where in the journal a batch stands. */
export interface BatchPlace {
  /** The position of its first byte. */
  readonly position: number;
  /** The writer's epoch. */
  readonly epoch: number;
  /** Its sequence. */
  readonly sequence: number;
  /** The sum of the header before. */
  readonly chain: number;
  /** The last batch that is durable. */
  readonly synced: number;
  /** Bytes of data in all batches before. */
  readonly written: number;
}

/** One batch. */
export class Batch {
  /** Where it is written from. */
  readonly memory: EngineMemory;
  /** The requests that it answers. The first {@linkcode requestCount} count. */
  readonly requests: Int32Array<ArrayBuffer>;
  /** The number of requests that it answers. */
  requestCount = 0;
  /** The number of extents. */
  extents = 0;
  /** The first block of each extent. */
  readonly extentBlocks = new Float64Array(MAX_EXTENTS);
  /** The number of blocks of each extent. */
  readonly extentCounts = new Float64Array(MAX_EXTENTS);
  /** Of each extent, the first of its blocks in the data, or -1 for a hole. */
  readonly extentNths = new Int32Array(MAX_EXTENTS);
  /** The number of blocks of data. */
  blocks = 0;
  /** The sums of the blocks. */
  readonly sums: Uint32Array<ArrayBuffer>;
  /** The position of the first byte in the journal, or -1 as long as it is open or empty. */
  position = -1;
  /** The position of the first block of data. */
  dataPosition = -1;
  /** The position after the batch. */
  end = -1;
  /** Its sequence. */
  sequence = -1;
  /** Bytes to write, from byte {@linkcode start} of the memory. */
  bytes = 0;
  /** Where in the memory the bytes to write begin. */
  start = 0;
  /** Bytes that the kernel has written so far. */
  writtenBytes = 0;
  /** The header of a segment is written with it. */
  beginsSegment = false;
  /** It is durable by itself once it is written. */
  isDurable = false;
  /** The journal has all of it. */
  isWritten = false;
  /** The operation that writes it is under way. */
  isUnderWay = false;
  /** There was no space to write it: it is to be written again. */
  lacksSpace = false;

  readonly #blockSize: number;
  readonly #maxBlocks: number;
  readonly #dataAt: number;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #views: readonly Uint8Array<ArrayBuffer>[];
  readonly #sealer: JournalSealer | undefined;
  readonly #tags: Uint8Array<ArrayBuffer>;
  readonly #tagViews: readonly Uint8Array<ArrayBuffer>[];
  /** The count of its header; those of its blocks follow. 0 if it has not taken any. */
  #count = 0;

  /**
   * @param memory So many bytes as {@linkcode batchMemoryBytes} says.
   * @param sealer Undefined for a volume that is not encrypted.
   */
  constructor(
    memory: EngineMemory,
    dataBytes: number,
    blockSize: number,
    requests: number,
    sealer?: JournalSealer,
  ) {
    assert(memory.bytes.length === batchMemoryBytes(dataBytes, blockSize), "the memory fits");
    assert(dataBytes % blockSize === 0 && dataBytes > 0, "a batch has room for whole blocks");
    this.memory = memory;
    this.requests = new Int32Array(requests);
    this.#blockSize = blockSize;
    this.#maxBlocks = dataBytes / blockSize;
    this.#dataAt = dataStart(dataBytes, blockSize);
    this.sums = new Uint32Array(this.#maxBlocks);
    const { buffer, byteOffset } = memory.bytes;
    this.#words = new Uint32Array(buffer, byteOffset, memory.bytes.length / 4);
    this.#views = Array.from({ length: this.#maxBlocks }, (_, nth) => this.#view(nth, 1));
    this.#sealer = sealer;
    const tags = this.#tags = new Uint8Array(
      sealer === undefined ? 0 : this.#maxBlocks * TAG_BYTES,
    );
    this.#tagViews = Array.from(
      { length: tags.length / TAG_BYTES },
      (_, nth) => tags.subarray(nth * TAG_BYTES, (nth + 1) * TAG_BYTES),
    );
  }

  /** What opens its blocks; undefined for a volume that is not encrypted. */
  get seals(): BatchSeals | undefined {
    if (this.#sealer === undefined) return undefined;
    return { key: this.#sealer.key, count: this.#count + 1, tags: this.#tags };
  }

  #view(nth: number, count: number): Uint8Array<ArrayBuffer> {
    const at = this.#dataAt + nth * this.#blockSize;
    return this.memory.bytes.subarray(at, at + count * this.#blockSize);
  }

  /** Whether nothing is in it. */
  get isEmpty(): boolean {
    return this.extents === 0;
  }

  /** Whether a request that needs no more room can still be answered by it. */
  get takesRequests(): boolean {
    return this.requestCount < this.requests.length;
  }

  /** Empties it. */
  reset(): void {
    assert(!this.isUnderWay, "the kernel does not read it any more");
    this.requestCount = 0;
    this.extents = 0;
    this.blocks = 0;
    this.position = -1;
    this.dataPosition = -1;
    this.end = -1;
    this.writtenBytes = 0;
    this.isWritten = false;
    // What it was sealed with before is never used again, whether it was written or given up.
    if (this.#sealer !== undefined) this.#count = this.#sealer.take(1 + this.#maxBlocks);
  }

  /**
   * Copies blocks into it, as many as it has room for.
   *
   * @param from The first byte of the source.
   * @returns The number of blocks.
   */
  append(block: number, count: number, source: Uint8Array<ArrayBuffer>, from: number): number {
    const { blocks } = this;
    const taken = Math.min(count, this.#maxBlocks - blocks);
    if (taken === 0 || !this.#extend(block, taken, blocks)) return 0;
    const bytes = taken * this.#blockSize;
    const whole = from === 0 && bytes === source.length;
    const part = whole ? source : source.subarray(from, from + bytes);
    if (this.#sealer === undefined) {
      this.memory.bytes.set(part, this.#dataAt + blocks * this.#blockSize);
    } else this.#seal(this.#sealer, part, blocks);
    for (let nth = blocks; nth < blocks + taken; nth++) this.sums[nth] = sumOf(this.#views[nth]);
    this.blocks = blocks + taken;
    return taken;
  }

  #seal(sealer: JournalSealer, part: Uint8Array<ArrayBuffer>, first: number): void {
    assert(this.#count > 0, "a batch is reset before it collects");
    for (let nth = first, at = 0; at < part.length; nth++, at += this.#blockSize) {
      const block = part.subarray(at, at + this.#blockSize);
      const count = this.#count + 1 + nth;
      seal(sealer.key, count, undefined, block, this.#views[nth], this.#tagViews[nth]);
    }
  }

  /** Notes that blocks, fewer than 2^32, read as zeroes. @returns Whether there was room. */
  hole(block: number, count: number): boolean {
    return this.#extend(block, count, -1);
  }

  /** Adds an extent, or blocks to the last one that they continue. */
  #extend(block: number, count: number, nth: number): boolean {
    const last = this.extents - 1;
    if (last >= 0) {
      const before = this.extentCounts[last];
      const isData = this.extentNths[last] >= 0;
      const follows = block === this.extentBlocks[last] + before && isData === nth >= 0;
      // The data of an extent lies together: nothing is appended between its blocks.
      if (follows && before + count < TWO_32) {
        this.extentCounts[last] = before + count;
        return true;
      }
    }
    if (this.extents === MAX_EXTENTS) return false;
    // Longer holes were once cut to the 32 bits that the journal has.
    assert(count < TWO_32, "an extent counts its blocks in 32 bits");
    this.extentBlocks[this.extents] = block;
    this.extentCounts[this.extents] = count;
    this.extentNths[this.extents++] = nth;
    return true;
  }

  /** Has it answer a request once it is written. */
  answers(request: number): void {
    assert(this.takesRequests, "a batch answers no more requests than there are");
    this.requests[this.requestCount++] = request;
  }

  /** Bytes that it takes in the journal, without the header of a segment. */
  get journalBytes(): number {
    const header = wholePages(this.#headerBytes);
    return header + wholePages(this.blocks * this.#blockSize);
  }

  get #headerBytes(): number {
    return batchHeaderBytes(this.extents, this.blocks, this.#sealer !== undefined);
  }

  /**
   * Writes its header, after which it is ready to be written at the position.
   *
   * @param segment The header of the segment that it begins, in front of the position.
   * @returns The sum of its header.
   */
  close(place: BatchPlace, segment?: SegmentHeader): number {
    assert(!this.isEmpty && this.position < 0, "an open batch is closed, once");
    const { blocks, extents } = this;
    const headerBytes = this.#headerBytes;
    const padded = wholePages(headerBytes);
    const at = this.#dataAt - padded;
    const words = this.#words;
    let word = at / 4;
    words.fill(0, word, this.#dataAt / 4);
    words[word] = BATCH_MAGIC;
    words[word + 2] = headerBytes;
    words[word + 3] = blocks * this.#blockSize;
    this.#put64(word + 4, place.epoch);
    this.#put64(word + 6, place.sequence);
    words[word + 8] = place.chain;
    words[word + 9] = extents;
    this.#put64(word + 10, place.synced);
    this.#put64(word + 12, place.written + blocks * this.#blockSize);
    if (this.#sealer !== undefined) {
      this.#put64(word + 14, this.#count);
      this.memory.bytes.set(this.#sealer.salt, at + BATCH_HEADER_BYTES);
    }
    const extentsAt = this.#sealer === undefined ? BATCH_HEADER_BYTES : SEALED_EXTENTS_AT;
    word += extentsAt / 4;
    for (let nth = 0; nth < extents; nth++, word += EXTENT_BYTES / 4) {
      this.#put64(word, this.extentBlocks[nth]);
      words[word + 2] = this.extentCounts[nth];
      words[word + 3] = this.extentNths[nth] < 0 ? KIND_HOLE : KIND_DATA;
    }
    const header = this.memory.bytes.subarray(at, at + headerBytes);
    if (this.#sealer !== undefined) {
      const tags = this.#tags.subarray(0, blocks * TAG_BYTES);
      this.memory.bytes.set(tags, word * 4);
      word += tags.length / 4;
      this.#sealer.sealHeader(header, this.#count, extents * EXTENT_BYTES + tags.length);
    }
    for (let nth = 0; nth < blocks; nth++, word += SUM_BYTES / 4) words[word] = this.sums[nth];
    const sum = sumOf(header);
    words[at / 4 + 1] = sum;
    this.position = place.position;
    this.sequence = place.sequence;
    this.dataPosition = place.position + padded;
    this.start = at;
    const dataBytes = blocks * this.#blockSize;
    const filled = wholePages(dataBytes);
    this.memory.bytes.fill(0, this.#dataAt + dataBytes, this.#dataAt + filled);
    this.bytes = padded + filled;
    this.end = place.position + this.bytes;
    this.beginsSegment = segment !== undefined;
    if (segment !== undefined) this.#begin(segment);
    return sum;
  }

  #begin(segment: SegmentHeader): void {
    this.start -= SEGMENT_HEADER_BYTES;
    this.position -= SEGMENT_HEADER_BYTES;
    this.bytes += SEGMENT_HEADER_BYTES;
    const header = this.memory.bytes.subarray(this.start, this.start + SEGMENT_HEADER_BYTES);
    encodeSegmentHeader(header.fill(0), segment);
  }

  #put64(word: number, value: number): void {
    this.#words[word] = value >>> 0;
    this.#words[word + 1] = value / TWO_32;
  }

  /** Whether the data at a position of the journal is still in its memory. */
  holds(position: number): boolean {
    return position >= this.dataPosition && position < this.end && this.dataPosition >= 0;
  }

  /**
   * Copies data that it {@linkcode holds}.
   *
   * @returns The number of bytes: at most `bytes`, and none beyond its end.
   */
  copy(position: number, bytes: number, target: Uint8Array<ArrayBuffer>, at: number): number {
    const length = Math.min(bytes, this.end - position);
    const from = this.#dataAt + position - this.dataPosition;
    if (this.#sealer === undefined) {
      target.set(this.memory.bytes.subarray(from, from + length), at);
      return length;
    }
    const first = (position - this.dataPosition) / this.#blockSize;
    for (let nth = first, done = 0; done < length; nth++, done += this.#blockSize) {
      const room = target.subarray(at + done, at + done + this.#blockSize);
      const count = this.#count + 1 + nth;
      const { key } = this.#sealer;
      const isRight = unseal(key, count, undefined, this.#views[nth], room, this.#tagViews[nth]);
      if (!isRight) fail("memory holds what was sealed");
    }
    return length;
  }
}
