/**
 * The writing end of the journal: collects what is written in batches, appends them, and makes them
 * durable. It never waits: operations and their completions come and go through the engine's host.
 *
 * **Order.** Batches complete in any order, and count in theirs: a request is answered once its
 * batch and all before it are in the journal, since a reader stops at the first gap.
 *
 * **Durability.** {@linkcode Flushes} makes durable what requests wait for. A write that finds no space
 * on the disk is made again, in its place, once somebody wants to write: until then requests fail, and
 * nothing else has happened.
 *
 * @module
 */

import type { EngineHost } from "../../disk/engine.ts";
import { EAGAIN, ECANCELED, EINTR, EIO, ENOSPC, ETIMEDOUT } from "../../uapi/errno.ts";
import { assert, fail } from "../../uapi/error.ts";
import type { SegmentHeader } from "../format/journal.ts";
import { SEGMENT_HEADER_BYTES } from "../format/journal_layout.ts";
import { AT, type VolumeCounters } from "../counters.ts";
import type { Lease } from "../lease.ts";
import type { Batch } from "./batch.ts";
import { Durability } from "./durability.ts";
import type { ScannedEnd } from "./end.ts";
import { Flushes } from "./flushes.ts";
import type { Requests } from "./requests.ts";
import { tokenOf, WRITE } from "../tokens.ts";

/** The parts of a {@linkcode JournalWriter}. */
export interface JournalWriterParts {
  /** Descriptors of the journal's files. */
  readonly fds: readonly number[];
  /** Fields of the headers of segments, besides their number and what they continue. */
  readonly identity: Pick<SegmentHeader, "volume" | "journal" | "epoch" | "blockSize" | "size">;
  /** Where it continues. All of it is durable. */
  readonly end: ScannedEnd;
  /** The first position that is still needed. */
  readonly trimmed: number;
  /** Batches to use in turn, all of them empty. */
  readonly batches: readonly Batch[];
  /** The state of requests. */
  readonly requests: Requests;
  /** Counts what is written. */
  readonly counters: VolumeCounters;
  /** Tells what was written where, before it is written. */
  readonly onAppend: (batch: Batch) => void;
  /** Tells that more is in the journal, before any request is answered for it. */
  readonly onCompleted: () => void;
  /** Tells, once, that nothing can be written any more. */
  readonly onFailure: (words: string) => void;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
  /** Whether data of a segment is still being read; its file is not used again as long as it is. */
  readonly isRead: (file: number) => boolean;
  /** Whether a batch may be closed, with so much of the journal in use (0 to 1). Later, if not. */
  readonly mayClose: (used: number) => boolean;
  /** Only data in the store counts as durable. */
  readonly isDurableInStore: boolean;
  /** A durable write costs about as much as a plain one. */
  readonly writesDurably: boolean;
  /** Without it no FLUSH is answered. */
  readonly lease: Pick<Lease, "isHeld">;
}

/** The largest sectors of disks: what is left of a short write begins with one. */
const SECTOR_BYTES = 4096;
/** Batches whose writing is under way, so that the next ones can collect more. */
const MAX_UNDER_WAY = 4;
/** For so long overdue requests wait for the same operation until it is given up, in microseconds. */
const HANGS_US = 1e6;

/** Appends to the journal. */
export class JournalWriter {
  /** A negative errno once writing has failed, else 0. */
  failure = 0;
  /** The journal has no room for the batch that collects, until more of it is trimmed. */
  isFull = false;
  /** A write has just found no space on the disk: whoever waits to write fails. */
  wasRefused = false;
  /** Closed batches that lack space on the disk. */
  #stuck = 0;
  /** All before this position is in the journal. */
  completedPosition: number;
  /** The sequence of the last batch that is in the journal. */
  completedSequence: number;
  /** Bytes of data in all batches in the journal. */
  completedWritten: number;
  /** All before this position is in the store, and its files may be used again. */
  trimmedPosition: number;

  readonly #parts: JournalWriterParts;
  readonly #size: number;
  readonly #batches: readonly Batch[];
  readonly #durability: Durability;
  readonly #flushes: Flushes;
  #host!: EngineHost;
  /** The batch that collects, if one does. */
  #open: Batch | undefined = undefined;
  /** The number of the batch that {@linkcode #open} was taken from last. */
  #turn = 0;
  /** Closed batches that do not count yet, the oldest first: `#batches` in turn from here. */
  #oldest = 0;
  #closed = 0;
  #underWay = 0;
  #position: number;
  #sequence: number;
  #chain: number;
  #written: number;
  /** How far the journal was when overdue requests waited for its operations, and when; -1 if none do. */
  #suspect = -1;
  #suspectUs = 0;

  /** Takes over the parts. */
  constructor(parts: JournalWriterParts) {
    const { end, trimmed, identity, batches } = parts;
    assert(trimmed <= end.position, "what is needed ends with the journal");
    assert(batches.length >= 2, "one batch collects while another one is written");
    this.#parts = parts;
    this.#size = identity.size;
    this.#batches = batches;
    this.completedPosition = end.position;
    // Nobody waits for this disk if a FLUSH waits for the store.
    this.#durability = new Durability(end, parts.writesDurably && !parts.isDurableInStore);
    assert(end.next % identity.size === 0, "it continues with a segment");
    this.#position = end.next;
    this.#sequence = this.completedSequence = end.sequence;
    this.#written = this.completedWritten = end.written;
    this.#chain = end.chain;
    this.trimmedPosition = this.#trimmedBy(trimmed);
    this.#flushes = new Flushes({
      ...{ ...parts, size: identity.size, journal: this, durability: this.#durability },
      onFailure: (result) => this.fail(result, "a sync of the journal"),
    });
  }

  /** Gets the host, before anything else. */
  start(host: EngineHost): void {
    this.#host = host;
    this.#flushes.start(host);
  }

  /** All before this position is durable in the journal. */
  get durablePosition(): number {
    return this.#durability.position;
  }

  /** Whether the journal lacks something of what was appended. */
  get lacks(): boolean {
    return this.#open !== undefined || this.#closed > 0;
  }

  /**
   * Appends a request's data, from the block on that {@linkcode Requests.done} names.
   *
   * @returns Whether all of it has found room. Otherwise call again when there is some.
   */
  write(request: number, block: number, count: number, data: Uint8Array<ArrayBuffer>): boolean {
    const { requests, identity } = this.#parts;
    for (;;) {
      const batch = this.#collecting();
      if (batch === undefined) return false;
      const done = requests.done[request];
      if (!batch.takesRequests) {
        if (!this.#close()) return false;
        continue;
      }
      const taken = batch.append(block + done, count - done, data, done * identity.blockSize);
      requests.done[request] += taken;
      if (done + taken === count) {
        batch.answers(request);
        return true;
      }
      if (!this.#close()) return false;
    }
  }

  /** Appends that blocks read as zeroes. @returns Whether that has found room. */
  hole(request: number, block: number, count: number): boolean {
    for (;;) {
      const batch = this.#collecting();
      if (batch === undefined) return false;
      if (batch.takesRequests && batch.hole(block, count)) {
        batch.answers(request);
        return true;
      }
      if (!this.#close()) return false;
    }
  }

  /** Answers a request once all that was answered before is durable. */
  flush(request: number): void {
    this.#durability.flush();
    this.#flushes.add(request);
  }

  /** FLUSHes wait until the store has something. */
  get lacksStore(): boolean {
    return this.#flushes.lacksStore;
  }

  /** Sends what was collected, and begins a sync if flushes wait for one. */
  batchEnd(): void {
    if (this.failure !== 0) return;
    if (this.#open !== undefined && this.#underWay < MAX_UNDER_WAY) this.#close();
    this.#flushes.begin();
  }

  /** Bytes of the journal that the store does not have yet. */
  get usedBytes(): number {
    return this.#position - this.trimmedPosition;
  }

  /** The same as a part of the journal, from 0 to 1. */
  get used(): number {
    return this.usedBytes / (this.#size * this.#parts.fds.length);
  }

  /** The batch that collects; undefined if none is free. */
  #collecting(): Batch | undefined {
    if (this.#open !== undefined) return this.#open;
    if (this.#closed === this.#batches.length) return undefined;
    const batch = this.#batches[this.#turn];
    if (batch.isUnderWay) return undefined;
    batch.reset();
    return this.#open = batch;
  }

  /**
   * Closes the batch that collects, and starts to write it.
   *
   * @returns False if the journal has no room for it, or not yet: it stays open.
   */
  #close(): boolean {
    const batch = this.#open!;
    if (batch.isEmpty) return true;
    const size = this.#size;
    const bytes = batch.journalBytes;
    const { identity, fds } = this.#parts;
    let segment = Math.floor(this.#position / size);
    let begins = this.#position % size === 0;
    if (!begins && this.#position + bytes > (segment + 1) * size) {
      segment++;
      begins = true;
    }
    if (begins) {
      assert(SEGMENT_HEADER_BYTES + bytes <= size, "a batch fits a segment");
      this.isFull = !this.#isTrimmed(segment);
      // A reader is soon done.
      if (this.isFull || this.#parts.isRead(segment % fds.length)) return false;
    }
    // Here, since writes that fill batches by themselves were once not slowed at all.
    if (!this.#parts.mayClose(this.used)) return false;
    if (begins) this.#position = segment * size + SEGMENT_HEADER_BYTES;
    const header = begins
      ? { ...identity, segment, sequence: this.#sequence + 1, chain: this.#chain }
      : undefined;
    this.#chain = batch.close({
      position: this.#position,
      epoch: identity.epoch,
      sequence: ++this.#sequence,
      chain: this.#chain,
      synced: this.#durability.sequence,
      written: this.#written,
    }, header);
    this.#written += batch.blocks * identity.blockSize;
    this.#position = batch.end;
    this.#open = undefined;
    this.#closed++;
    batch.isDurable = this.#durability.closed(batch, this.#hasFua(batch));
    this.#parts.onAppend(batch);
    this.#send(this.#turn, fds[segment % fds.length]);
    this.#turn = (this.#turn + 1) % this.#batches.length;
    return true;
  }

  #hasFua(batch: Batch): boolean {
    const { fua } = this.#parts.requests;
    for (let nth = 0; nth < batch.requestCount; nth++) {
      if (fua[batch.requests[nth]] !== 0) return true;
    }
    return false;
  }

  /** Whether the file of a segment that is to begin holds nothing that the store lacks. */
  #isTrimmed(segment: number): boolean {
    const before = segment - this.#parts.fds.length;
    return (before + 1) * this.#size <= this.trimmedPosition;
  }

  #send(nth: number, fd: number): void {
    const batch = this.#batches[nth];
    const { writtenBytes } = batch;
    assert(writtenBytes % SECTOR_BYTES === 0, "whole sectors are written");
    const offset = batch.position % this.#size + writtenBytes;
    batch.isUnderWay = true;
    this.#underWay++;
    this.#host.write(
      batch.memory,
      batch.start + writtenBytes,
      batch.bytes - writtenBytes,
      fd,
      offset,
      tokenOf(WRITE, nth),
      batch.isDurable,
    );
  }

  /** The writing of a batch has completed. */
  written(nth: number, result: number): void {
    const batch = this.#batches[nth];
    if (!batch.isUnderWay) fail("a batch is written once");
    batch.isUnderWay = false;
    this.#underWay--;
    if (this.failure !== 0) return;
    if (result === -ENOSPC && this.#mayWriteAgain(batch)) return this.#lackSpace(nth);
    const mayTryAgain = result === -EINTR || result === -EAGAIN || result === -ECANCELED;
    if (result <= 0 && !mayTryAgain) {
      // Nothing written at all would be tried for ever.
      return this.fail(result === 0 ? -EIO : result, "a write to the journal");
    }
    if (result > 0) batch.writtenBytes += result - result % SECTOR_BYTES;
    if (batch.writtenBytes < batch.bytes) {
      const { fds } = this.#parts;
      return this.#send(nth, fds[Math.floor(batch.position / this.#size) % fds.length]);
    }
    batch.isWritten = true;
    if (batch.lacksSpace) {
      batch.lacksSpace = false;
      this.#stuck--;
    }
    this.#advance();
  }

  /** Whether there was no space on the journal's disk, so that nothing can be appended. */
  get lacksSpace(): boolean {
    return this.#stuck > 0;
  }

  /**
   * Whether a batch can be written again that found no space. A durable write may have failed in its
   * sync. So all that this one could have been for must be durable, or be written durably too.
   */
  #mayWriteAgain({ isDurable }: Batch): boolean {
    if (!isDurable) return true;
    if (Math.max(this.durablePosition, this.trimmedPosition) < this.completedPosition) return false;
    for (let nth = 0; nth < this.#closed; nth++) {
      if (!this.#batches[(this.#oldest + nth) % this.#batches.length].isDurable) return false;
    }
    return true;
  }

  /** Fails the requests of a batch, and all after it, with ENOSPC. It stays to be written again. */
  #lackSpace(nth: number): void {
    const { length } = this.#batches;
    if (this.#stuck === 0) {
      this.#parts.report("the journal's disk is full: writes fail with ENOSPC until it has room");
    }
    if (!this.#batches[nth].lacksSpace) this.#stuck++;
    this.#batches[nth].lacksSpace = true;
    for (let at = (nth - this.#oldest + length) % length; at < this.#closed; at++) {
      this.#failBatch(this.#batches[(this.#oldest + at) % length], -ENOSPC);
    }
    this.refuse(-ENOSPC);
    this.wasRefused = true;
  }

  /** Writes again what found no space. */
  writeAgain(): void {
    const { fds } = this.#parts;
    for (let at = 0; at < this.#closed; at++) {
      const nth = (this.#oldest + at) % this.#batches.length;
      const { lacksSpace, isUnderWay, position } = this.#batches[nth];
      if (lacksSpace && !isUnderWay) {
        this.#send(nth, fds[Math.floor(position / this.#size) % fds.length]);
      }
    }
  }

  /** Lets written batches count, as long as no gap is before them, and answers their requests. */
  #advance(): void {
    const { requests, identity, counters } = this.#parts;
    while (this.#closed > 0 && this.#batches[this.#oldest].isWritten) {
      const batch = this.#batches[this.#oldest];
      this.#oldest = (this.#oldest + 1) % this.#batches.length;
      this.#closed--;
      this.completedPosition = batch.end;
      this.completedSequence = batch.sequence;
      this.completedWritten += batch.blocks * identity.blockSize;
      counters.add(AT.writtenBytes, batch.blocks * identity.blockSize);
      counters.add(AT.journalWrittenBytes, batch.bytes);
      this.#durability.completed(batch, this.trimmedPosition);
      this.#parts.onCompleted();
      for (let nth = 0; nth < batch.requestCount; nth++) {
        const request = batch.requests[nth];
        if (requests.fua[request] !== 0) this.#flushes.add(request);
        else requests.answer(request, 0);
      }
      batch.requestCount = 0;
    }
  }

  /** The sync of a file has completed. */
  synced(result: number): void {
    this.#flushes.synced(result);
  }

  /** The store has all before a position. */
  trim(position: number): void {
    assert(position >= this.trimmedPosition, "what was given up does not come back");
    assert(position <= this.completedPosition, "the store has what the journal has had");
    this.trimmedPosition = this.#trimmedBy(position);
    this.#flushes.storeHas();
  }

  /** Nothing is between where the journal had ended and where it was continued. */
  #trimmedBy(position: number): number {
    const { end } = this.#parts;
    return position === end.position ? end.next : position;
  }

  /** Drops the batch that collects, and answers its requests with an error. */
  refuse(result: number): void {
    if (this.#open === undefined) return;
    this.#failBatch(this.#open, result);
    this.#open = undefined;
    this.isFull = false;
  }

  /**
   * Answers overdue requests that only wait: for room, for the store or for the lease. Those of
   * operations on the journal are left, unless the same operation was under way a while ago: then
   * nobody knows what becomes of it, and writing has failed.
   *
   * @param result The answer to those that wait for room.
   * @returns Whether the batch that collects was dropped, and the beginning of a request with it.
   */
  giveUp(isOverdue: (request: number) => boolean, result: number): boolean {
    if (this.failure !== 0) return false;
    const drops = this.#open !== undefined && hasAny(this.#open, isOverdue);
    if (drops) this.refuse(result);
    this.#flushes.giveUp(isOverdue);
    const progress = this.completedPosition + this.durablePosition;
    if (!this.#hangs(isOverdue)) this.#suspect = -1;
    else if (this.#suspect !== progress) {
      this.#suspect = progress;
      this.#suspectUs = this.#host.nowUs();
    } else if (this.#host.nowUs() - this.#suspectUs >= HANGS_US) {
      this.fail(-ETIMEDOUT, "an operation on the journal");
    }
    return drops;
  }

  /** Whether overdue requests wait for an operation on the journal. */
  #hangs(isOverdue: (request: number) => boolean): boolean {
    for (let nth = 0; nth < this.#closed; nth++) {
      const batch = this.#batches[(this.#oldest + nth) % this.#batches.length];
      if (hasAny(batch, isOverdue)) return true;
    }
    return this.#flushes.syncsFor(isOverdue);
  }

  /**
   * Writing has failed for good: answers everything that waits with the error.
   *
   * @param what The operation that has failed; undefined if somebody else has said it.
   */
  fail(result: number, what?: string): void {
    if (this.failure !== 0) return;
    this.failure = -EIO;
    const { onFailure } = this.#parts;
    if (what !== undefined) {
      onFailure(`${what} failed with errno ${-result}: the volume takes no more writes`);
    }
    for (let nth = 0; nth < this.#closed; nth++) {
      this.#failBatch(this.#batches[(this.#oldest + nth) % this.#batches.length], -EIO);
    }
    if (this.#open !== undefined) this.#failBatch(this.#open, -EIO);
    this.isFull = false;
    this.#flushes.fail();
    this.#stuck = 0;
  }

  #failBatch(batch: Batch, result: number): void {
    const { requests } = this.#parts;
    for (let nth = 0; nth < batch.requestCount; nth++) {
      requests.answer(batch.requests[nth], result);
    }
    batch.requestCount = 0;
  }
}

function hasAny(batch: Batch, chooses: (request: number) => boolean): boolean {
  return batch.requests.subarray(0, batch.requestCount).some(chooses);
}
