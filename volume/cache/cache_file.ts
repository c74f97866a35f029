/**
 * The file of a cache: lines that outlive the process, a bounded number of them.
 *
 * Nothing is ever synced, and nothing in the file is trusted. A line is found by its key, but
 * whoever reads it compares it with the sums of its chunk. So a key without its line, half a line,
 * an old file and a flipped bit are all the same: the line is dropped and fetched again. A file that
 * cannot be written any more, because its disk is full or broken, is given up, and the volume goes
 * on without.
 *
 * @module
 */

import type { EngineHost, EngineMemory } from "../../disk/engine.ts";
import { errnoOfFile } from "../../files/file_error.ts";
import { type File, type Files, folderOf } from "../../files/port.ts";
import { readUpTo, writeWhole } from "../../files/whole.ts";
import { makeFolders } from "../../store/directory.ts";
import { EAGAIN, ECANCELED, EINTR, ENOSPC } from "../../uapi/errno.ts";
import { isUblkError, thrownText } from "../../uapi/error.ts";
import {
  CACHE_KEY_BYTES,
  CACHE_PAGE,
  cacheLinesAt,
  cacheSlots,
  decodeCacheHeader,
  encodeCacheHeader,
} from "../format/cache.ts";
import { FormatError } from "../format/record.ts";
import { Waiting } from "../journal/requests.ts";
import { AT, type VolumeCounters } from "../counters.ts";
import { LINE_WRITE, tokenOf } from "../tokens.ts";
import { chunkOfLine } from "./lines.ts";
import { Places } from "./places.ts";

/** The name of the write of a page of keys. */
const INDEX = 0;
const KEYS_PER_PAGE = CACHE_PAGE / CACHE_KEY_BYTES;

/** How a cache's file is opened. */
export interface CacheFileParts {
  /** The files of this machine. */
  readonly files: Files;
  /** The path. The folders above are made if they are missing. */
  readonly path: string;
  /** Bytes of a line. */
  readonly line: number;
  /** Most bytes of the file. */
  readonly size: number;
  /** Most lines that are written at once. With a slower disk, fewer lines are kept. */
  readonly writes: number;
  /** The volume's UUID. */
  readonly volume: string;
  /** Of which copy of the volume it is; undefined for a volume that is no copy. */
  readonly copy: string | undefined;
  /** The epoch of the attachment, or of the volume for a reader. */
  readonly epoch: number;
  /** The manifest that counts. */
  readonly manifest: { readonly number: number; readonly nextChunk: number };
  /** The number under which operations know an open file. */
  readonly fdOf: (file: File) => number;
  /** Makes memory that operations can use. */
  readonly allocate: (bytes: number) => EngineMemory & Partial<Disposable>;
  /** Counts. */
  readonly counters: VolumeCounters;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
}

/** Opens a cache's file, or makes it. @returns Undefined if it cannot be had: that is reported. */
export function openCacheFile(parts: CacheFileParts): CacheFile | undefined {
  const { files, path, report } = parts;
  using stack = new DisposableStack();
  try {
    makeFolders(files, folderOf(path).replace(/\/\.$/, ""));
    const file = stack.use(files.open(path, { write: true, create: "if-missing", mode: 0o600 }));
    if (!file.lock("exclusive")) {
      report(`the volume goes on without its cache ${path}: another process uses it`);
      return undefined;
    }
    const slots = cacheSlots(parts.size, parts.line);
    const { volume, copy, epoch, manifest, line } = parts;
    const memory = parts.allocate(cacheLinesAt(slots) - CACHE_PAGE);
    const keys = new Float64Array(memory.bytes.buffer, memory.bytes.byteOffset, slots);
    if (isUsable(file, parts, slots)) {
      readUpTo(file, memory.bytes.subarray(0, slots * CACHE_KEY_BYTES), CACHE_PAGE);
      keepKeys(keys, manifest.nextChunk);
    } else file.truncate(0);
    const length = cacheLinesAt(slots) + slots * line;
    if (file.size() !== length) makeRoom(file, length);
    const header = { volume, copy, line, slots, epoch, manifest: manifest.number };
    writeWhole(file, encodeCacheHeader(header), 0);
    stack.move();
    return new CacheFile(parts, file, memory, keys);
  } catch (error) {
    if (!isUblkError(error)) throw error;
    const remedy = errnoOfFile(error) === ENOSPC ? "; make room, or give it a smaller size" : "";
    report(`the volume goes on without its cache ${path}: ${thrownText(error)}${remedy}`);
    return undefined;
  }
}

/** Reserves all room now, so that a full disk is noticed now, and takes none if that fails. */
function makeRoom(file: File, length: number): void {
  try {
    if (!file.allocate("extend", 0, length)) file.truncate(length);
    else if (file.size() > length) file.truncate(length);
  } catch (error) {
    // A part may stay allocated beyond the end, which a file that is cut to its own length keeps.
    file.truncate(length);
    file.truncate(0);
    throw error;
  }
}

/** Whether a file holds lines of this volume, of its past and of no other future. */
function isUsable(
  file: File,
  { volume, copy, epoch, manifest, line }: CacheFileParts,
  slots: number,
): boolean {
  const bytes = new Uint8Array(CACHE_PAGE);
  if (readUpTo(file, bytes, 0) < CACHE_PAGE) return false;
  try {
    const header = decodeCacheHeader(bytes, volume);
    // A store that was brought back from a copy may give the numbers of chunks once more.
    const isPast = header.copy === copy && header.epoch <= epoch &&
      header.manifest <= manifest.number;
    return header.line === line && header.slots === slots && isPast;
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}

/** Drops keys that are none, and those of chunks that the volume does not have. */
function keepKeys(keys: Float64Array<ArrayBuffer>, nextChunk: number): void {
  for (let slot = 0; slot < keys.length; slot++) {
    const key = keys[slot] - 1;
    const isKey = Number.isSafeInteger(key) && key >= 0;
    if (!isKey || chunkOfLine(key) >= nextChunk) keys[slot] = 0;
  }
}

/** An open cache file. */
export class CacheFile implements Disposable {
  /** Most operations under way at once. */
  readonly operations: number;
  /** Its descriptor. */
  readonly fd: number;
  readonly #parts: CacheFileParts;
  readonly #file: File;
  readonly #index: EngineMemory & Partial<Disposable>;
  readonly #places: Places;
  readonly #linesAt: number;
  #host!: EngineHost;
  /** Per write: the slot and the line, and the place in memory that it comes from. */
  readonly #slotOf: Int32Array<ArrayBuffer>;
  readonly #keyOf: Float64Array<ArrayBuffer>;
  readonly #placeOf: Int32Array<ArrayBuffer>;
  readonly #idle: Waiting;
  /** Pages of keys that have changed. */
  readonly #changed: Waiting;
  readonly #isChanged: Uint8Array<ArrayBuffer>;
  #isIndexWritten = false;
  #isGivenUp = false;

  /** Takes over an open file and the memory of its keys. */
  constructor(
    parts: CacheFileParts,
    file: File,
    index: EngineMemory & Partial<Disposable>,
    keys: Float64Array<ArrayBuffer>,
  ) {
    this.#parts = parts;
    this.#file = file;
    this.#index = index;
    this.fd = parts.fdOf(file);
    this.#places = new Places(keys);
    this.#linesAt = cacheLinesAt(keys.length);
    const pages = Math.ceil(keys.length / KEYS_PER_PAGE);
    this.#changed = new Waiting(pages);
    this.#isChanged = new Uint8Array(pages);
    const operations = this.operations = parts.writes + 1;
    this.#slotOf = new Int32Array(operations);
    this.#keyOf = new Float64Array(operations);
    this.#placeOf = new Int32Array(operations);
    this.#idle = new Waiting(parts.writes);
    for (let nth = INDEX + 1; nth < operations; nth++) this.#idle.push(nth);
  }

  /** Gets the host, before anything else. */
  start(host: EngineHost): void {
    this.#host = host;
  }

  /** The slot of a line, or -1. */
  find(key: number): number {
    return this.#isGivenUp ? -1 : this.#places.find(key);
  }

  /** A slot's line is used. */
  use(slot: number): void {
    this.#places.use(slot);
  }

  /** Where a slot's line is in the file. */
  offsetOf(slot: number): number {
    return this.#linesAt + slot * this.#parts.line;
  }

  /** A line is not found any more. */
  drop(key: number): void {
    const slot = this.#places.find(key);
    if (slot >= 0) this.#places.drop(slot);
  }

  /** What was read of a line in a slot was not what it should be. */
  isBad(key: number, slot: number): void {
    // Meanwhile the slot may have been given to another line.
    if (this.#places.keyOf(slot) !== key) return;
    this.#parts.counters.add(AT.cacheBad, 1);
    this.#places.drop(slot);
  }

  /** Begins to write a line from a place in memory. @returns Whether it does. */
  write(key: number, memory: EngineMemory, place: number): boolean {
    if (this.#isGivenUp || this.#idle.length === 0 || this.#places.find(key) >= 0) return false;
    const slot = this.#places.take();
    if (slot < 0) return false;
    const nth = this.#idle.shift();
    this.#slotOf[nth] = slot;
    this.#keyOf[nth] = key;
    this.#placeOf[nth] = place;
    const token = tokenOf(LINE_WRITE, nth);
    const { line } = this.#parts;
    this.#host.write(memory, place * line, line, this.fd, this.offsetOf(slot), token);
    return true;
  }

  /** A write has completed. @returns The place in memory that the line came from, or -1. */
  wrote(nth: number, result: number): number {
    if (result < 0) this.fail(result, "written");
    if (nth === INDEX) {
      this.#isIndexWritten = false;
      this.#writeIndex();
      return -1;
    }
    const slot = this.#slotOf[nth];
    // Without all of it, the slot stays empty.
    if (result === this.#parts.line && this.#places.find(this.#keyOf[nth]) < 0) {
      this.#places.enter(slot, this.#keyOf[nth]);
      this.#change(Math.floor(slot / KEYS_PER_PAGE));
    }
    this.#places.settle(slot);
    this.#idle.push(nth);
    return this.#placeOf[nth];
  }

  #change(page: number): void {
    if (this.#isChanged[page] === 0) {
      this.#isChanged[page] = 1;
      this.#changed.push(page);
    }
    if (!this.#isIndexWritten) this.#writeIndex();
  }

  #writeIndex(): void {
    if (this.#isGivenUp || this.#changed.length === 0) return;
    const page = this.#changed.shift();
    this.#isChanged[page] = 0;
    this.#isIndexWritten = true;
    const at = page * CACHE_PAGE;
    const token = tokenOf(LINE_WRITE, INDEX);
    this.#host.write(this.#index, at, CACHE_PAGE, this.fd, CACHE_PAGE + at, token);
  }

  /** An operation has failed: the volume goes on without the file, unless that may be chance. */
  fail(result: number, verb: string): void {
    if (result === -ECANCELED || result === -EINTR || result === -EAGAIN) return;
    if (this.#isGivenUp) return;
    this.#isGivenUp = true;
    const { report, path } = this.#parts;
    report(`the volume goes on without its cache ${path}: it cannot be ${verb}, errno ${-result}`);
  }

  /** Whether nothing is being written. */
  get isIdle(): boolean {
    return this.#idle.length === this.#parts.writes && !this.#isIndexWritten;
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
    // Memory that the kernel has not let go of may still be read.
    if (this.isIdle) this.#index[Symbol.dispose]?.();
  }
}
