/**
 * The engine of a volume: takes requests, and owns the map of what is where.
 *
 * ```
 *  WRITE ─▶ JournalWriter ─▶ journal map ─┐            the drain: journal ─▶ chunks ─▶ manifest
 *                                         ├─▶ Reader ─▶ READ          │
 *           chunk map ◀── what a commit has made durable ◀────────────┘
 * ```
 *
 * The newest data of a block is where the journal map says, else where the chunk map says, else the
 * block reads as zeroes. A commit moves entries from the former to the latter.
 *
 * @module
 */

import type { Engine, EngineHost, EngineMemory } from "../disk/engine.ts";
import { EIO, ENOSPC } from "../uapi/errno.ts";
import { assert } from "../uapi/error.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import type { SegmentHeader } from "./format/journal.ts";
import { JOURNAL_UNIT } from "./format/journal_layout.ts";
import type { SortedRuns } from "./map/block_map.ts";
import { Batch } from "./journal/batch.ts";
import { Requests, Waiting } from "./journal/requests.ts";
import type { ScannedEnd } from "./journal/end.ts";
import type { JournalSeals } from "./journal/seals.ts";
import { JournalWriter } from "./journal/writer.ts";
import type { Lease } from "./lease.ts";
import type { Maps } from "./maps.ts";
import type { ChunkReads } from "./read/chunk_reads.ts";
import { MAX_PIECES, Reader } from "./read/reader.ts";
import type { JournalSealer } from "./seal/journal.ts";
import { AT, type VolumeCounters } from "./counters.ts";
import { type JournalPoint, Lag } from "./lag.ts";
import { Pressure } from "./pressure.ts";
import { refusalOf, REQUESTS_BEYOND, type SizeRefusal } from "./size_refusal.ts";
import { kindOf, nthOfToken, PAUSE, READ, SYNC, tokenOf, WRITE } from "./tokens.ts";

/** A commit that is durable, for the engine to take over. */
export interface Commit {
  /** All blocks that it changed, and where they are now. */
  readonly extents: SortedRuns;
  /** The position in the journal after its last batch; -1 if it has only moved data in the store. */
  readonly position: number;
  /** Bytes of data in all batches up to there. */
  readonly written: number;
}

/** The engine's view of the drain. */
export interface Drain {
  /**
   * Tells what the journal has. Called for each batch of the journal, before its requests are answered;
   * cheap.
   */
  published(position: number, sequence: number, written: number): void;
  /** The journal is full: drain now. */
  hurry(): void;
  /** The commit that waits to be taken over, if one does. The same until {@linkcode taken}. */
  commit(): Commit | undefined;
  /** The engine has taken over the commit. */
  taken(): void;
  /**
   * No read is under way any more that began before so many commits had been taken over: what only
   * earlier states have can be deleted.
   */
  quiet(commits: number): void;
  /**
   * How often it has looked how far it may go: what is published after that is in a later commit. Only
   * the age of what waits depends on it.
   */
  readonly looks?: number;
  /** Nothing will be drained any more, so writing must end. It has said why. */
  readonly hasFailed?: boolean;
  /** Nothing is written to the journal any more, because that or a sync has failed. */
  journalFailed?(): void;
  /** On another thread: a line for the log that waits, if one does. Asked for after a wake-up. */
  report?(): string | undefined;
  /** An eventfd that is signalled when a commit, a failure or a line waits. */
  readonly wakeFd?: number;
}

/** Everything that an engine is made of. */
export interface EngineParts {
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Descriptors of the journal's files. */
  readonly fds: readonly number[];
  /** Fields of its segments' headers. */
  readonly identity: Pick<SegmentHeader, "volume" | "journal" | "epoch" | "blockSize" | "size">;
  /** Where the journal continues. */
  readonly end: ScannedEnd;
  /** The end of the part of the journal that the store has. */
  readonly stored: JournalPoint;
  /** The volume's counters. The drain counts there too. */
  readonly counters: VolumeCounters;
  /** Of each file of the journal, the sums of its blocks, by their offset in units. */
  readonly sums: readonly Uint32Array<ArrayBuffer>[];
  /** Seals what is written, and opens it; undefined for a volume that is not encrypted. */
  readonly sealing?: { readonly sealer: JournalSealer; readonly seals: JournalSeals };
  /** Where everything is, the journal included. */
  readonly maps: Maps;
  /** Reads what is in chunks. */
  readonly chunks: ChunkReads;
  /**
   * Most pieces of reads on their way.
   *
   * @default 256
   */
  readonly pieces?: number;
  /**
   * Entries of a commit that are taken over at the end of one batch, so that no request waits long.
   *
   * @default 2000
   */
  readonly takenAtOnce?: number;
  /** Memory for batches, one piece each. */
  readonly memories: readonly EngineMemory[];
  /** Most bytes of data in a batch. */
  readonly batchData: number;
  /** The drain. */
  readonly drain: Drain;
  /** A full journal fails writes with ENOSPC, instead of making them wait. */
  readonly failsWhenFull: boolean;
  /**
   * How long a full journal makes writes wait before they fail, in microseconds.
   *
   * @default {Infinity}
   */
  readonly waitUs?: number;
  /**
   * A FLUSH, and a write with FUA, is answered only once the store has it.
   *
   * @default false
   */
  readonly isDurableInStore?: boolean;
  /**
   * A durable write to the journal costs about as much as a plain one: its disk has FUA, or no cache
   * that would have to be flushed.
   *
   * @default false
   */
  readonly writesDurably?: boolean;
  /**
   * Without it no FLUSH is answered.
   *
   * @default One that never ends
   */
  readonly lease?: Pick<Lease, "isHeld">;
  /** The journal in words, for errors. */
  readonly words: string;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
}

const TAKEN_AT_ONCE = 2000;
/** Pauses under way at once: that one, and two of {@linkcode Pressure}. */
const PAUSES = 3;
/** Pause until the next of them if no request comes, in microseconds. */
const PAUSE_US = 200;

/** An engine. It is started by a host, see `disk/engine.ts`. */
export class VolumeEngine implements Engine {
  readonly operations: number;
  readonly wakeFd: number | undefined;
  readonly #parts: EngineParts;
  #writer!: JournalWriter;
  #reader!: Reader;
  #requests!: Requests;
  #waiting!: Waiting;
  #pressure!: Pressure;
  #lag!: Lag;
  #host!: EngineHost;
  /** Entries of the current commit that have been taken over. */
  #taken = 0;
  #pauses = false;
  /** Commits that have been taken over. */
  #commits = 0;
  /** So many of them no read is older than. */
  #quiet = 0;
  /** The reads are waited for that are older than so many; undefined if none are. */
  #quieting: number | undefined = undefined;
  /** Size of the disk. */
  #bytes: number;

  /** Takes over the parts. */
  constructor(parts: EngineParts) {
    const { memories, fds, drain, pieces = MAX_PIECES } = parts;
    assert(parts.sums.length === fds.length, "each file of the journal has its sums");
    this.#parts = parts;
    this.#bytes = parts.maps.blocks * parts.blockSize;
    this.operations = memories.length + fds.length + pieces + PAUSES + parts.chunks.operations;
    this.wakeFd = drain.wakeFd;
  }

  start(host: EngineHost): void {
    const { blockSize, identity, fds, sums, maps, memories, counters, stored } = this.#parts;
    const { sealing } = this.#parts;
    const requests = new Requests(host);
    const batches = memories.map((memory) =>
      new Batch(memory, this.#parts.batchData, blockSize, requests.count, sealing?.sealer)
    );
    const reader = new Reader({
      ...{ blockSize, fds, sums, maps, batches, requests },
      ...{ segmentSize: identity.size, seals: sealing?.seals, words: this.#parts.words },
      pieces: this.#parts.pieces ?? MAX_PIECES,
      chunks: this.#parts.chunks,
      counters,
      onDamage: this.#parts.report,
    });
    const writer = new JournalWriter({
      ...{ fds, identity, batches, requests, counters },
      end: this.#parts.end,
      trimmed: stored.position,
      onAppend: (batch) => this.#enter(batch),
      onCompleted: () => this.#publish(),
      onFailure: (words) => {
        this.#parts.drain.journalFailed?.();
        this.#parts.report(words);
      },
      report: this.#parts.report,
      isRead: (file) => reader.isRead(file),
      mayClose: (used) => this.#pressure.mayClose(used),
      isDurableInStore: this.#parts.isDurableInStore ?? false,
      writesDurably: this.#parts.writesDurably ?? false,
      lease: this.#parts.lease ?? { isHeld: true },
    });
    this.#host = host;
    this.#pressure = new Pressure(host, this.#parts.waitUs ?? Infinity);
    this.#requests = requests;
    this.#waiting = new Waiting(requests.count);
    reader.start(host);
    writer.start(host);
    this.#reader = reader;
    this.#writer = writer;
    const size = identity.size * fds.length;
    this.#lag = new Lag(counters, stored, this.#parts.end, size, host);
    counters.set(AT.journalSizeBytes, size);
    counters.set(AT.journalBytes, writer.usedBytes);
  }

  /** All before this position is in the journal. */
  get completedPosition(): number {
    return this.#writer.completedPosition;
  }

  /** All before this position of the journal is durable, in the journal or in the store. */
  get durablePosition(): number {
    return Math.max(this.#writer.durablePosition, this.#writer.trimmedPosition);
  }

  request(request: number): void {
    const host = this.#host;
    const op = host.op(request);
    this.#requests.begin(request, host.fua(request));
    // The device may be larger than the disk, see `resize.ts`.
    if (this.#requests.endsBeyond(request, this.#bytes)) {
      return this.#requests.answer(request, -EIO);
    }
    if (op === UBLK_IO_OP_READ) return this.#reader.read(request);
    if (op === UBLK_IO_OP_FLUSH) return this.#flush(request);
    const isWrite = op === UBLK_IO_OP_WRITE || op === UBLK_IO_OP_DISCARD ||
      op === UBLK_IO_OP_WRITE_ZEROES;
    if (!isWrite || this.#writer.failure !== 0) {
      return this.#requests.answer(request, -EIO);
    }
    const mustWait = this.#waiting.length > 0 || this.#writer.lacksSpace;
    if (mustWait || !this.#append(request)) this.#waiting.push(request);
  }

  #flush(request: number): void {
    if (this.#writer.failure !== 0) this.#requests.answer(request, this.#writer.failure);
    else this.#writer.flush(request);
  }

  /** Puts a request that changes something into the journal. @returns Whether it had room. */
  #append(request: number): boolean {
    const host = this.#host;
    const { blockSize } = this.#parts;
    const block = host.offset(request) / blockSize;
    const count = host.length(request) / blockSize;
    assert(Number.isInteger(block) && Number.isInteger(count), "requests are whole blocks");
    if (host.op(request) === UBLK_IO_OP_WRITE) {
      return this.#writer.write(request, block, count, host.data(request));
    }
    if (!this.#makeHole(request, block, count)) return false;
    this.#parts.counters.add(AT.trims, 1);
    this.#parts.counters.add(AT.trimmedBytes, count * blockSize);
    return true;
  }

  #makeHole(request: number, block: number, count: number): boolean {
    // Only if the journal has what made them holes: otherwise this would be answered before that.
    if (!this.#writer.lacks && this.#parts.maps.areHoles(block, count)) {
      if (this.#requests.fua[request] !== 0) this.#writer.flush(request);
      else this.#requests.answer(request, 0);
      return true;
    }
    return this.#writer.hole(request, block, count);
  }

  /** Enters a batch into the maps, before it is written. */
  #enter(batch: Batch): void {
    const { blockSize, maps, identity, sums, fds, sealing } = this.#parts;
    maps.enter(batch);
    const { size } = identity;
    const file = Math.floor(batch.position / size) % fds.length;
    const table = sums[file];
    const { seals } = batch;
    if (seals !== undefined) {
      sealing!.seals.enter(file, batch.dataPosition % size, batch.blocks, seals);
    }
    const units = blockSize / JOURNAL_UNIT;
    let unit = batch.dataPosition % size / JOURNAL_UNIT;
    for (let nth = 0; nth < batch.blocks; nth++, unit += units) table[unit] = batch.sums[nth];
  }

  done(token: number, result: number): void {
    const kind = kindOf(token);
    const nth = nthOfToken(token);
    if (kind === WRITE) this.#writer.written(nth, result);
    else if (kind === SYNC) this.#writer.synced(result);
    else if (kind === READ) this.#reader.came(nth, result);
    else if (kind !== PAUSE) this.#parts.chunks.done?.(token, result);
    else if (nth === 0) this.#pauses = false;
    else this.#pressure.ended(nth);
  }

  woken(): void {
    const { drain, report, chunks } = this.#parts;
    chunks.woken?.();
    const line = drain.report?.();
    if (line !== undefined) report(line);
    if (drain.hasFailed === true) this.#writer.fail(-EIO);
    // A commit is taken over at the end of the batch.
  }

  batchEnd(): void {
    const writer = this.#writer;
    this.#takeOver();
    this.#tellQuiet();
    this.#parts.chunks.batchEnd?.();
    writer.batchEnd();
    this.#letIn();
    if (writer.lacksStore) this.#parts.drain.hurry();
    const { chunks, counters } = this.#parts;
    counters.set(AT.journalBytes, writer.usedBytes);
    counters.set(AT.openChunks, chunks.open ?? 0);
  }

  /**
   * Tells the drain what the journal has, before a request is answered for it. That was once done at the
   * end of the loop's batch. An engine that threw before that had answered writes of which the drain
   * never learned: a close left the volume in order without them.
   */
  #publish(): void {
    const { completedPosition, completedSequence, completedWritten } = this.#writer;
    const { drain } = this.#parts;
    this.#lag.published(completedPosition, completedWritten, drain.looks ?? 0);
    drain.published(completedPosition, completedSequence, completedWritten);
  }

  /** Lets requests in that wait for room in the journal. */
  #letIn(): void {
    const { drain, failsWhenFull } = this.#parts;
    const waited = this.#waiting.length > 0;
    if (this.#writer.lacksSpace) return this.#askForSpace();
    while (this.#waiting.length > 0) {
      const request = this.#waiting.first;
      if (this.#writer.failure !== 0) this.#requests.answer(request, this.#writer.failure);
      else if (!this.#append(request)) break;
      this.#waiting.shift();
    }
    if (waited) this.#writer.batchEnd();
    const isFull = this.#writer.isFull && this.#writer.failure === 0;
    const isOverdue = this.#pressure.isOverdue(isFull);
    if (!isFull) return;
    drain.hurry();
    if (!failsWhenFull && !isOverdue) return this.#refuseOverdue();
    // Those that wait in the batch too: nobody knows for how long.
    this.#writer.refuse(-ENOSPC);
    this.#refuseWaiting();
  }

  /** The journal's disk was full. Whoever wants to write finds out whether it still is. */
  #askForSpace(): void {
    if (this.#writer.wasRefused) this.#refuseWaiting();
    this.#writer.wasRefused = false;
    if (this.#waiting.length > 0) this.#writer.writeAgain();
  }

  #refuseWaiting(): void {
    while (this.#waiting.length > 0) this.#requests.answer(this.#waiting.shift(), -ENOSPC);
  }

  /** Now and then there is room, but for some it comes too late. */
  #refuseOverdue(): void {
    const { nowUs } = this.#pressure;
    const { waitUs = Infinity } = this.#parts;
    this.#waiting.time(nowUs);
    while (this.#waiting.length > 0 && nowUs - this.#waiting.since >= waitUs) {
      this.#requests.answer(this.#waiting.shift(), -ENOSPC);
    }
  }

  /** Moves what a commit has made durable from one map to the other, a part at a time. */
  #takeOver(): void {
    const { drain, maps, takenAtOnce = TAKEN_AT_ONCE } = this.#parts;
    const commit = drain.commit();
    if (commit === undefined || this.#pauses) return;
    const { extents, position, written } = commit;
    const end = Math.min(extents.length, this.#taken + takenAtOnce);
    for (let nth = this.#taken; nth < end; nth++) {
      maps.takeOver(extents, nth, position / JOURNAL_UNIT);
    }
    this.#taken = end;
    if (end < extents.length) {
      this.#pauses = true;
      return this.#host.timeout(PAUSE_US, tokenOf(PAUSE, 0));
    }
    this.#taken = 0;
    if (position >= 0) {
      this.#writer.trim(position);
      this.#lag.stored(position, written);
    }
    this.#commits++;
    drain.taken();
  }

  /** Tells since which commit all reads have begun. */
  #tellQuiet(): void {
    if (this.#quiet === this.#commits) return;
    if (this.#quieting === undefined) {
      this.#quieting = this.#commits;
      this.#reader.turn();
    }
    if (this.#reader.hasOlder) return;
    this.#quiet = this.#quieting;
    this.#quieting = undefined;
    this.#parts.drain.quiet(this.#quiet);
  }

  /**
   * Changes the size of the disk, in blocks. From then on requests beyond its end fail with EIO.
   *
   * @returns Why it is not possible, if so: then nothing has changed.
   */
  resize(blocks: number): SizeRefusal | undefined {
    const { maps, blockSize } = this.#parts;
    if (blocks < maps.blocks) {
      if (this.#requests.reachBeyond(blocks * blockSize)) return REQUESTS_BEYOND;
      const refusal = refusalOf(maps, blocks);
      if (refusal !== undefined) return refusal;
    }
    maps.resize(blocks);
    this.#bytes = blocks * blockSize;
    return undefined;
  }

  /** Closes the chunks that are open. */
  close(): void {
    this.#parts.chunks[Symbol.dispose]();
  }

  /**
   * @param isOverdue What only waits is answered, for the store, for room or for the lease, and the
   *   journal goes on: it once failed for good because of one read that waited for the store. Undefined
   *   if nothing may be written any more.
   */
  giveUp(isOverdue?: (request: number) => boolean): void {
    this.#parts.chunks.giveUp?.(isOverdue);
    const result = this.#writer.isFull && isOverdue !== undefined ? -ENOSPC : -EIO;
    let drops = false;
    // Without it, the drain, or whoever has lost patience with this engine, has said why.
    if (isOverdue === undefined) this.#writer.fail(-EIO);
    else drops = this.#writer.giveUp(isOverdue, result);
    while (this.#waiting.length > 0) {
      const { first } = this.#waiting;
      const isIncomplete = drops && this.#requests.done[first] > 0;
      // Those behind it are younger.
      if (isOverdue?.(first) === false && !isIncomplete) return;
      this.#requests.answer(this.#waiting.shift(), result);
    }
  }
}
