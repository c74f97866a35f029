/**
 * Reads chunks of a store that is elsewhere: through lines in memory, a cache's file, and calls of
 * the store that another thread makes. A piece is of one line; it waits until its chunk's table is
 * there, then until the line is.
 *
 * Every block is compared with its sum in the chunk's table, wherever it comes from. What the cache
 * has wrong is fetched from the store instead; what the store has wrong is an error. Memory and file
 * have what the store has. Of an encrypted volume, a block is decrypted in the request that it is for.
 * A line of a compressed chunk is a piece; it is opened beside ({@linkcode OpenedLines}), and what is
 * in the file comes through memory.
 *
 * @module
 */

import type { EngineMemory } from "../../disk/engine.ts";
import { assert, fail } from "../../uapi/error.ts";
import type { CacheFile } from "../cache/cache_file.ts";
import type { FetchBoard } from "../cache/fetch_board.ts";
import { chunkOfLine, dataLine, isTableLine, nthOfLine, tableLine } from "../cache/lines.ts";
import { LineMemory, type LinesOwner } from "../cache/memory.ts";
import { AT, type VolumeCounters } from "../counters.ts";
import { type CacheSizes, lookUsOf } from "../sizes.ts";
import { kindOf, STORE_WAIT, tokenOf } from "../tokens.ts";
import type { Owner } from "../owners.ts";
import type { ChunkReads, PieceOwner } from "./chunk_reads.ts";
import type { ChunkSums } from "./chunk_tables.ts";
import { copyOpened, OpenedLines, type PackedSums, unopenedWords } from "./opened_lines.ts";
import { NO_ROOM, ReadAhead } from "./read_ahead.ts";
import { isPieceSound, storedBytes } from "../pack/chunks.ts";
import { openBlocks } from "../seal/chunks.ts";
import type { VolumeKey } from "../seal/volume_key.ts";
import { blockAt } from "./reader.ts";
import { areSound, NOT_OPENED } from "./sound.ts";
import { TableLoader } from "./table_loader.ts";

/** A piece waits for nothing. */
const NOTHING = -1;
/** A piece waits for a place in memory. */
const A_PLACE = -2;
/** A piece has not waited yet. */
const NEVER = -1;
const NO_PIECES: readonly number[] = [];
/** How often is looked at who has waited for too long, in microseconds. */
const LOOK_US = 200_000;
/** Bytes that a stream is read ahead at first. */
const FIRST_AHEAD_BYTES = 256 << 10;

/** The parts of {@linkcode CachedChunks}. */
export interface CachedChunksParts {
  /** Bytes of a block. */
  readonly blockSize: number;
  /** The owner of a chunk. */
  readonly ownerOf: (chunk: number) => Owner;
  /** The data key; undefined for a volume that is not encrypted. */
  readonly key?: VolumeKey;
  /** Bytes of a piece, at most a line. @default 0: the volume does not compress */
  readonly piece?: number;
  /** Memory for the lines. */
  readonly memory: EngineMemory;
  /** Who fetches. */
  readonly board: FetchBoard;
  /** Makes the fetching side look at the board. */
  readonly asked: () => void;
  /** The cache's file, if there is one. It is closed with this. */
  readonly file?: CacheFile;
  /** Counts, which the file has too. */
  readonly counters: VolumeCounters;
  /** Sizes. */
  readonly sizes: CacheSizes;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
}

/** Reads chunks through a cache. */
export class CachedChunks implements ChunkReads, LinesOwner {
  readonly operations: number;
  readonly #parts: CachedChunksParts;
  /** Bytes of data in a line, and blocks. */
  readonly #line: number;
  readonly #perLine: number;
  readonly #opened: OpenedLines;
  readonly #lines: LineMemory;
  readonly #tables: TableLoader;
  /** Per place in memory: the table of its line's chunk, while the line is on its way. */
  readonly #tableOf: (ChunkSums | undefined)[];
  #owner!: PieceOwner;
  #ahead!: ReadAhead;
  /** Per piece: the line that it waits for, and since when in microseconds. */
  #awaits!: Float64Array<ArrayBuffer>;
  #since!: Float64Array<ArrayBuffer>;
  /** Per piece: the slot of the file that it is read from. */
  #slotOf!: Int32Array<ArrayBuffer>;
  /** The number of pieces that wait. */
  #waiting = 0;
  #isLooking = false;

  /** Takes over the parts. */
  constructor(parts: CachedChunksParts) {
    const { blockSize, piece = 0, memory, board, asked, file, counters, sizes } = parts;
    assert(piece <= sizes.line, "a line has room for a piece");
    this.#parts = parts;
    this.#line = piece || sizes.line;
    this.#perLine = this.#line / blockSize;
    this.#opened = new OpenedLines(this.#line, blockSize);
    this.#lines = new LineMemory({
      ...{ memory, board, asked, file, counters, line: sizes.line, mostAhead: sizes.ahead },
    });
    this.#tables = new TableLoader(this.#lines, sizes.line, parts.ownerOf, parts.key, piece);
    this.#tableOf = new Array(this.#lines.count).fill(undefined);
    this.operations = this.#lines.operations + 1;
  }

  start(owner: PieceOwner): void {
    const { count } = owner.pieces;
    this.#owner = owner;
    this.#awaits = new Float64Array(count).fill(NOTHING);
    this.#since = new Float64Array(count);
    this.#slotOf = new Int32Array(count);
    this.#lines.start(owner.host, this);
    const { blockSize, sizes } = this.#parts;
    this.#ahead = new ReadAhead({
      maps: owner.maps,
      first: FIRST_AHEAD_BYTES / blockSize,
      most: sizes.ahead * this.#perLine,
      read: (chunk, nth, count) => this.#readAhead(chunk, nth, count),
    });
  }

  most(nth: number): number {
    return this.#perLine - nth % this.#perLine;
  }

  read(piece: number): boolean {
    this.#since[piece] = NEVER;
    return this.#read(piece);
  }

  /** Begins to read a piece, or goes on with it. @returns Whether it is over. */
  #read(piece: number): boolean {
    const { pieces } = this.#owner;
    const chunk = pieces.chunk[piece];
    const table = this.#tables.get(chunk, false);
    if (typeof table === "string") {
      this.#owner.fail(piece, table);
      return true;
    }
    if (table === undefined) {
      this.#wait(piece, this.#tables.isUnderWay(chunk) ? tableLine(chunk, 0) : A_PLACE);
      return false;
    }
    const nth = pieces.from[piece];
    if (nth + pieces.bytes[piece] / this.#parts.blockSize > table.sums.length) {
      const { length } = table.sums;
      this.#owner.fail(piece, `${this.#nameOf(chunk)} has ${length} blocks, and not ${nth}`);
      return true;
    }
    return this.#readLine(piece, table);
  }

  /** Reads a piece whose table is there. @returns Whether it is over. */
  #readLine(piece: number, table: ChunkSums): boolean {
    const { file } = this.#parts;
    const { pieces } = this.#owner;
    const nth = Math.floor(pieces.from[piece] / this.#perLine);
    const key = dataLine(pieces.chunk[piece], nth);
    if (isPacked(table)) return this.#readPacked(piece, table, key, nth);
    let place = this.#lines.find(key);
    if (place >= 0 && this.#lines.isReady(place)) {
      if (this.#copy(piece, place, table)) {
        this.#parts.counters.add(AT.cacheMemoryHits, 1);
        this.#open(piece, table);
        return true;
      }
      // Memory has changed by itself.
      this.#lines.forget(key);
      place = -1;
    }
    const slot = place < 0 ? file?.find(key) ?? -1 : -1;
    if (slot >= 0) {
      file!.use(slot);
      this.#slotOf[piece] = slot;
      pieces.fd[piece] = file!.fd;
      pieces.offset[piece] = file!.offsetOf(slot) + this.#within(piece);
      this.#owner.send(piece);
      return false;
    }
    if (place < 0) place = this.#bring(key, nth, table, false);
    else this.#lines.hurry(place);
    this.#wait(piece, place < 0 ? A_PLACE : key);
    return false;
  }

  /** The same of a compressed chunk, whose nth line it is of. */
  #readPacked(piece: number, table: PackedSums, key: number, nth: number): boolean {
    if (this.#copyOpened(piece, key, table)) return true;
    let place = this.#lines.find(key);
    if (place >= 0 && this.#lines.isReady(place)) {
      const lay = this.#storedLine(place, table, nth);
      if (isPieceSound(table.pieces, nth, lay)) {
        const isOpen = this.#opened.open(key, table, nth, lay);
        // What does not open now never will.
        if (!isOpen || !this.#copyOpened(piece, key, table)) {
          this.#owner.fail(piece, unopenedWords(this.nameOf(key), table, nth));
        }
        return true;
      }
      // Memory has changed by itself.
      this.#lines.forget(key);
      place = -1;
    }
    const slot = place < 0 ? this.#parts.file?.find(key) ?? -1 : -1;
    if (slot >= 0) this.#parts.file!.use(slot);
    if (place < 0) place = this.#bring(key, nth, table, false);
    else this.#lines.hurry(place);
    this.#wait(piece, place < 0 ? A_PLACE : key, slot < 0);
    return false;
  }

  /** Copies a piece of a compressed chunk from its line if that is open. */
  #copyOpened(piece: number, key: number, table: PackedSums): boolean {
    const { blockSize, counters } = this.#parts;
    if (!copyOpened(this.#owner, piece, this.#opened, key, blockSize, table)) return false;
    if (this.#since[piece] === NEVER) counters.add(AT.cacheMemoryHits, 1);
    return true;
  }

  /** A line of a compressed chunk in memory, as it lies in the store. */
  #storedLine(place: number, { pieces }: PackedSums, nth: number): Uint8Array<ArrayBuffer> {
    const start = this.#lines.offsetOf(place);
    return this.#lines.bytes.subarray(start, start + storedBytes(pieces, nth));
  }

  /** Where a piece begins in its line, in bytes. */
  #within(piece: number): number {
    return this.#owner.pieces.from[piece] % this.#perLine * this.#parts.blockSize;
  }

  #bring(key: number, nth: number, table: ChunkSums, isAhead: boolean): number {
    const { dataAt, sums, pieces } = table;
    const blocks = Math.min(this.#perLine, sums.length - nth * this.#perLine);
    const [offset, bytes] = pieces === undefined
      ? [nth * this.#line, blocks * this.#parts.blockSize]
      : [pieces.offsets[nth], storedBytes(pieces, nth)];
    const place = this.#lines.bring(key, dataAt + offset, bytes, false, isAhead);
    if (place >= 0) this.#tableOf[place] = table;
    return place;
  }

  #copy(piece: number, place: number, table: ChunkSums): boolean {
    const { pieces, host } = this.#owner;
    const from = this.#lines.offsetOf(place) + this.#within(piece);
    const bytes = this.#lines.bytes.subarray(from, from + pieces.bytes[piece]);
    host.data(pieces.request[piece]).set(bytes, pieces.at[piece]);
    return this.#isPieceSound(piece, table);
  }

  #isPieceSound(piece: number, { sums }: ChunkSums): boolean {
    const { pieces, host } = this.#owner;
    const start = pieces.at[piece];
    const data = host.data(pieces.request[piece]);
    const end = start + pieces.bytes[piece];
    return areSound(data, start, end, this.#parts.blockSize, sums, pieces.from[piece]);
  }

  /** Decrypts a sound piece in its request. What does not open now never will: it fails. */
  #open(piece: number, { dataAt, seals }: ChunkSums): void {
    if (seals === undefined) return;
    const { pieces, host } = this.#owner;
    const [chunk, nth, start] = [pieces.chunk[piece], pieces.from[piece], pieces.at[piece]];
    const data = host.data(pieces.request[piece]);
    const end = start + pieces.bytes[piece];
    const { blockSize } = this.#parts;
    if (openBlocks(seals, data, start, end, blockSize, nth)) return;
    const where = blockAt(this.#nameOf(chunk), dataAt + nth * blockSize);
    this.#owner.fail(piece, `${where}: ${NOT_OPENED}`);
  }

  came(piece: number, result: number): boolean {
    const { pieces } = this.#owner;
    const chunk = pieces.chunk[piece];
    const table = this.#tables.find(chunk);
    const isWhole = pieces.got[piece] === pieces.bytes[piece];
    if (isWhole && table !== undefined && this.#isPieceSound(piece, table)) {
      this.#parts.counters.add(AT.cacheDiskHits, 1);
      this.#open(piece, table);
      return true;
    }
    const { file } = this.#parts;
    if (result < 0) file!.fail(result, "read");
    // Without the table nobody knows. It was there a moment ago.
    if (table !== undefined || !isWhole) {
      const key = dataLine(chunk, Math.floor(pieces.from[piece] / this.#perLine));
      file!.isBad(key, this.#slotOf[piece]);
    }
    pieces.got[piece] = 0;
    return this.#read(piece);
  }

  #nameOf(chunk: number): string {
    return this.#parts.ownerOf(chunk).names.chunk(chunk);
  }

  // Lines that come.

  nameOf(key: number): string {
    return this.#nameOf(chunkOfLine(key));
  }

  lineIsSound(place: number): boolean {
    const key = this.#lines.keyOf(place);
    // A table is checked as a whole.
    if (isTableLine(key)) return true;
    const table = this.#tableOf[place] ?? fail("a line of data has a table");
    const nth = nthOfLine(key);
    const start = this.#lines.offsetOf(place);
    if (isPacked(table)) {
      return isPieceSound(table.pieces, nth, this.#storedLine(place, table, nth));
    }
    const first = nth * this.#perLine;
    const blocks = Math.min(this.#perLine, table.sums.length - first);
    const { blockSize } = this.#parts;
    const end = start + blocks * blockSize;
    return areSound(this.#lines.bytes, start, end, blockSize, table.sums, first);
  }

  isAwaited(key: number): boolean {
    const awaited = awaitedFor(key);
    const before = this.#overdueUs();
    return this.#awaits.some((line, piece) => line === awaited && this.#since[piece] > before);
  }

  lineCame(key: number): void {
    if (!isTableLine(key)) {
      this.#tableOf[this.#lines.find(key)] = undefined;
      return this.#serve(key);
    }
    const chunk = chunkOfLine(key);
    const table = this.#tables.goOn(chunk, this.#waiting === 0);
    const first = awaitedFor(key);
    if (typeof table !== "string") return this.#serve(first);
    this.#ahead.letGo();
    this.#failAll(first, table);
  }

  lineFailed(key: number, words: string | undefined): void {
    if (isTableLine(key)) {
      this.#tables.giveUp(chunkOfLine(key));
      this.#ahead.letGo();
    }
    this.#failAll(awaitedFor(key), words);
  }

  /** Serves the pieces that wait for something, which has come. */
  #serve(key: number): void {
    for (const piece of this.#take((nth) => this.#awaits[nth] === key)) {
      if (this.#read(piece)) this.#owner.ended(piece);
    }
  }

  #failAll(key: number, words: string | undefined): void {
    if (words !== undefined) this.#parts.report(words);
    this.#fail((piece) => this.#awaits[piece] === key);
  }

  /** @returns Whether there were any. */
  #fail(chooses: (piece: number) => boolean): boolean {
    const taken = this.#take(chooses);
    for (const piece of taken) {
      this.#owner.fail(piece);
      this.#owner.ended(piece);
    }
    return taken.length > 0;
  }

  // Pieces that wait.

  #wait(piece: number, key: number, isMiss = true): void {
    assert(this.#awaits[piece] === NOTHING, "a piece waits for one thing");
    this.#awaits[piece] = key;
    this.#waiting++;
    if (this.#since[piece] !== NEVER) return;
    this.#since[piece] = this.#owner.host.nowUs();
    this.#parts.counters.add(isMiss ? AT.cacheMisses : AT.cacheDiskHits, 1);
    this.#look();
  }

  /**
   * Takes pieces that wait. A new list: while they are served, others may begin to wait, and may be
   * served.
   */
  #take(chooses: (piece: number) => boolean): readonly number[] {
    if (this.#waiting === 0) return NO_PIECES;
    const taken: number[] = [];
    for (let piece = 0; piece < this.#awaits.length; piece++) {
      if (this.#awaits[piece] === NOTHING || !chooses(piece)) continue;
      this.#awaits[piece] = NOTHING;
      taken.push(piece);
    }
    this.#waiting -= taken.length;
    return taken;
  }

  /** Looks after a while at who has waited for too long. */
  #look(): void {
    if (this.#isLooking || this.#parts.sizes.waitUs === Infinity) return;
    this.#isLooking = true;
    const pause = lookUsOf(this.#parts.sizes.waitUs, LOOK_US);
    this.#owner.host.timeout(pause, tokenOf(STORE_WAIT, 0));
  }

  /** Who waits since then, or for longer, has waited for too long. */
  #overdueUs(): number {
    return this.#owner.host.nowUs() - this.#parts.sizes.waitUs;
  }

  #failOverdue(): void {
    const before = this.#overdueUs();
    const count = this.#waiting;
    this.#fail((piece) => this.#since[piece] <= before);
    if (this.#waiting < count) this.#parts.report("a read has failed: the store does not answer");
  }

  done(token: number, result: number): void {
    if (kindOf(token) !== STORE_WAIT) {
      this.#lines.done(token, result);
      return this.#goOn();
    }
    this.#isLooking = false;
    this.#failOverdue();
    if (this.#waiting > 0) this.#look();
  }

  woken(): void {
    const { board, report } = this.#parts;
    const lines = [board.takeReport(), board.takeFailure()];
    for (const line of lines) if (line !== undefined) report(line);
    if (this.#lines.woken()) this.#goOn();
  }

  /** Goes on with those who had no place, and those who read ahead. */
  #goOn(): void {
    this.#serve(A_PLACE);
    this.#ahead.goOn();
  }

  batchEnd(): void {
    this.#lines.batchEnd();
  }

  giveUp(isOverdue: (request: number) => boolean = () => true): void {
    const { pieces } = this.#owner;
    let found = true;
    // Those that had no piece take the ones that become free.
    while (found) found = this.#fail((piece) => isOverdue(pieces.request[piece]));
  }

  // Reading ahead.

  saw(block: number, count: number): void {
    this.#ahead.saw(block, count);
  }

  /** Begins to bring blocks. @returns For how many it has. */
  #readAhead(chunk: number, first: number, count: number): number {
    if (!this.#lines.mayReadAhead) return NO_ROOM;
    const table = this.#tables.get(chunk, true);
    if (table === undefined) return 0;
    // Who reads them will be told what is wrong.
    if (typeof table === "string" || first + count > table.sums.length) return count;
    for (let nth = first; nth < first + count; nth += this.most(nth)) {
      const line = Math.floor(nth / this.#perLine);
      const key = dataLine(chunk, line);
      if (this.#lines.find(key) >= 0 || (this.#parts.file?.find(key) ?? -1) >= 0) continue;
      if (isPacked(table) && this.#opened.has(key)) continue;
      if (!this.#lines.mayReadAhead || this.#bring(key, line, table, true) < 0) return nth - first;
    }
    return count;
  }

  /** Whether no operation uses the memory of the lines. */
  get isIdle(): boolean {
    return this.#lines.isIdle;
  }

  /** Closes the cache's file. */
  [Symbol.dispose](): void {
    this.#parts.file?.[Symbol.dispose]();
  }
}

/** The line that pieces wait for, for a line that is to come: for a table, they wait for its first. */
function awaitedFor(key: number): number {
  return isTableLine(key) ? tableLine(chunkOfLine(key), 0) : key;
}

function isPacked(table: ChunkSums): table is PackedSums {
  return table.pieces !== undefined;
}
