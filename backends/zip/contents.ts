/**
 * The contents of an archive's members. Stored members are read from the archive. Deflated members are
 * inflated to the cache file, from their start and only as far as somebody reads, and read from there.
 *
 * A read is answered as soon as its bytes are ready. A read of a member's last byte waits until the
 * checksum has been verified. So does every read of a member up to {@linkcode CHECKED_FIRST_BYTES}.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { EIO } from "../../uapi/errno.ts";
import { assert, UblkError } from "../../uapi/error.ts";
import type { Answer } from "../../disk/backend.ts";
import type { Archive } from "./archive.ts";
import { type Clock, threadClock } from "./pauses.ts";
import type { CacheFile } from "./cache_file.ts";
import { Damage, damaged } from "./damage.ts";
import { ReadScheduler, type Work } from "./read_scheduler.ts";
import { STORED } from "./members.ts";
import { piecesOf } from "./pieces.ts";

/** Members up to this size are checked before their first read is answered: some milliseconds. */
const CHECKED_FIRST_BYTES: number = 1 << 20;
/** Stored members up to this size are checked when their end is read: about a second. */
export const CHECKED_STORED_BYTES: number = 128 << 20;
/**
 * Maximum of partly inflated members that are kept although no read has asked for them for
 * {@linkcode MAX_IDLE_MS}.
 */
const MAX_IDLE = 32;
/** Time after which a member is idle. A sequential reader returns sooner. (ms) */
const MAX_IDLE_MS = 30_000;
/** Maximum of partly inflated members. */
const MAX_STARTED = 256;
/**
 * Maximum of memory that partly inflated members keep, each for its last piece: usually less than
 * 1 MiB, but 16 MiB if 16 KiB of input inflate to zeroes.
 */
const MAX_KEPT_BYTES: number = 512 << 20;

/** The location of a member's complete contents. */
export interface FileLocation {
  /** The descriptor of an open file. */
  readonly fd: number;
  /** The position in the file at which the contents start. */
  readonly start: number;
}

/** The contents of all members of an archive. */
export class Contents {
  readonly #archive: Archive;
  readonly #cache: CacheFile | undefined;
  readonly #scheduler: ReadScheduler;
  readonly #clock: Clock;
  /** By member, 1 if the checksum has been verified. */
  readonly #checked: Uint8Array<ArrayBuffer>;
  /** By member, the position of its contents in the archive or cache file, plus 1; 0: unknown. */
  readonly #start: Float64Array<ArrayBuffer>;
  /** By member, the reason why it is damaged. */
  readonly #damage = new Map<number, string>();
  /** Passes in progress, by member; least recently used first. */
  readonly #passes = new Map<number, Pass>();

  /** `cache` is the file that deflated members are inflated to. */
  constructor(archive: Archive, cache: CacheFile | undefined, clock: Clock = threadClock) {
    this.#archive = archive;
    this.#cache = cache;
    this.#scheduler = new ReadScheduler();
    this.#clock = clock;
    this.#checked = new Uint8Array(archive.members.count);
    this.#start = new Float64Array(archive.members.count);
  }

  /**
   * Fills the buffer with a member's contents from `offset` on. The range must lie within them.
   *
   * @throws {UblkError} if the contents are damaged, or there is no space to inflate them.
   */
  read(member: number, buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    this.#throwIfDamaged(member);
    const end = offset + buffer.length;
    const needed = this.#bytesNeeded(member, end);
    const ready = this.#checked[member] === 1 ? Infinity : this.#passes.get(member)?.bytesDone ?? 0;
    if (needed <= ready) return this.#readReady(member, buffer, offset);
    return this.#waitFor(member, needed, () => this.#readReady(member, buffer, offset));
  }

  /** The bytes of a member to process before a read up to `end` can be answered. */
  #bytesNeeded(member: number, end: number): number {
    const bytes = this.#archive.members.bytes[member];
    if (bytes <= CHECKED_FIRST_BYTES) return Infinity;
    if (!this.#isStored(member)) return end < bytes ? end : Infinity;
    return end < bytes || bytes > CHECKED_STORED_BYTES ? 0 : Infinity;
  }

  /**
   * Inflates and checks a whole member.
   *
   * @param onProgress Called with the number of bytes processed.
   * @throws {UblkError} as {@linkcode read}.
   */
  check(member: number, onProgress?: (bytes: number) => void): Promise<void> {
    this.#throwIfDamaged(member);
    return this.#waitFor(member, Infinity, () => {}, onProgress);
  }

  /**
   * Verifies that a member is at the position that the archive's directory states.
   *
   * @throws {UblkError} if it is not.
   */
  locate(member: number): void {
    try {
      this.#locate(member);
    } catch (error) {
      throw this.#failure(member, error);
    }
  }

  #locate(member: number): void {
    const { bytes, storedBytes } = this.#archive.members;
    const start = this.#archive.locate(member);
    if (!this.#isStored(member)) return;
    if (storedBytes[member] !== bytes[member]) throw new Damage("its sizes differ");
    this.#start[member] = start + 1;
  }

  /** The location of a checked member, or of a stored one after {@linkcode locate}. */
  location(member: number): FileLocation {
    const start = this.#start[member] - 1;
    assert(start >= 0, "the member has been located");
    return { fd: this.#isStored(member) ? this.#archive.fd : this.#cache!.fd, start };
  }

  #isStored(member: number): boolean {
    return this.#archive.members.method[member] === STORED;
  }

  #readReady(member: number, buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    try {
      if (this.#isStored(member)) {
        if (this.#start[member] === 0) this.#locate(member);
        this.#archive.read(buffer, this.#start[member] - 1 + offset);
      } else {
        this.#cache!.read(buffer, this.#start[member] - 1 + offset);
      }
    } catch (error) {
      throw this.#failure(member, error);
    }
  }

  #waitFor(
    member: number,
    end: number,
    ready: () => void,
    onProgress?: (bytes: number) => void,
  ): Promise<void> {
    let pass = this.#passes.get(member);
    // Move it to the end, as the most recently used.
    if (pass !== undefined) this.#passes.delete(member);
    else pass = this.#begin(member);
    this.#passes.set(member, pass);
    pass.onProgress ??= onProgress;
    pass.lastUsedMs = this.#clock.now();
    const answer = this.#scheduler.wait(pass, end, ready);
    this.#dropIdle();
    return answer;
  }

  #begin(member: number): Pass {
    const archive = this.#archive;
    const cache = this.#isStored(member) ? undefined : this.#cache;
    assert(cache !== undefined || this.#isStored(member), "a deflated member needs a cache");
    if (cache !== undefined && this.#start[member] === 0) {
      this.#start[member] = cache.reserve(archive.members.bytes[member]) + 1;
    }
    const start = this.#start[member] - 1;
    return new Pass(archive, member, {
      write: (bytes, at) => cache?.write(bytes, start + at),
      done: () => {
        this.#passes.delete(member);
        this.#checked[member] = 1;
      },
      failed: (error) => {
        this.#drop(member);
        return this.#failure(member, error);
      },
    });
  }

  /**
   * Drops passes that no read waits for: those idle for long, and beyond the limits those that are
   * cheapest to repeat. (Once every pass beyond 32 was dropped, the least recently used first. With
   * 33 files read in turn that was always the one to be read next: each piece inflated its file again
   * from the start.)
   */
  #dropIdle(): void {
    const idleSinceMs = this.#clock.now() - MAX_IDLE_MS;
    for (const [member, pass] of this.#passes) {
      if (this.#passes.size <= MAX_IDLE || pass.lastUsedMs > idleSinceMs) break;
      if (!this.#scheduler.hasWaiters(pass)) this.#drop(member);
    }
    let keptBytes = 0;
    for (const pass of this.#passes.values()) keptBytes += pass.keptBytes;
    if (this.#passes.size <= MAX_STARTED && keptBytes <= MAX_KEPT_BYTES) return;
    // Among equals the most recently used first: files read in turn return in that order.
    const idle = [...this.#passes].filter(([, pass]) => !this.#scheduler.hasWaiters(pass)).reverse()
      .sort(([, one], [, other]) => one.bytesDone - other.bytesDone);
    for (const [member, pass] of idle) {
      if (this.#passes.size <= MAX_STARTED && keptBytes <= MAX_KEPT_BYTES) break;
      keptBytes -= pass.keptBytes;
      this.#drop(member);
    }
  }

  /** Drops an unfinished pass and frees the space of its member. A later read starts it again. */
  #drop(member: number): void {
    const pass = this.#passes.get(member);
    if (pass === undefined) return;
    this.#passes.delete(member);
    void pass.end();
    if (this.#isStored(member)) return;
    this.#cache!.free(this.#start[member] - 1, this.#archive.members.bytes[member]);
  }

  /** The error for the reader. Damage is remembered; other errors, as of a full cache, may pass. */
  #failure(member: number, error: unknown): UblkError {
    const { path, members } = this.#archive;
    if (error instanceof Damage) {
      this.#damage.set(member, error.reason);
      return damaged(path, members.name(member), error.reason);
    }
    if (error instanceof UblkError) return error;
    return new UblkError("SYSCALL_FAILED", {
      operation: `${members.name(member)} in ${path}`,
      reason: error instanceof Error ? error.message : String(error),
      errno: EIO,
      cause: error,
    });
  }

  #throwIfDamaged(member: number): void {
    const reason = this.#damage.get(member);
    if (reason !== undefined) {
      throw damaged(this.#archive.path, this.#archive.members.name(member), reason);
    }
  }

  /** Stops all passes, and resolves once they have stopped. */
  async close(): Promise<void> {
    const error = new UblkError("ABORTED", { operation: this.#archive.path, errno: EIO });
    await this.#scheduler.close(error);
    // The streams of the passes read the archive, which is closed next.
    await Promise.all([...this.#passes.values()].map((pass) => pass.end()));
  }
}

/** The callbacks of a pass. */
interface PassHandlers {
  write(bytes: Uint8Array<ArrayBuffer>, at: number): void;
  done(): void;
  failed(error: unknown): UblkError;
}

/** One pass over a member: counts, checksums and writes each piece. */
class Pass implements Work {
  bytesDone = 0;
  /** Time of the last read that asked for it, by the monotonic clock. */
  lastUsedMs = 0;
  /** Bytes of the last piece, which the stream keeps in memory. */
  keptBytes = 0;
  onProgress: ((bytes: number) => void) | undefined;
  #crc = 0;
  readonly #pieces: AsyncGenerator<Uint8Array<ArrayBuffer>>;
  readonly #bytes: number;
  readonly #crc32: number;
  readonly #handlers: PassHandlers;

  constructor(archive: Archive, member: number, handlers: PassHandlers) {
    this.#pieces = piecesOf(archive, member);
    this.#bytes = archive.members.bytes[member];
    this.#crc32 = archive.members.crc32[member];
    this.#handlers = handlers;
  }

  async step(): Promise<boolean> {
    try {
      const { value, done } = await this.#pieces.next();
      if (done) {
        if (this.bytesDone < this.#bytes) throw new Damage("it ends too early");
        if (this.#crc !== this.#crc32) throw new Damage("its checksum is wrong");
        this.#handlers.done();
        return true;
      }
      if (this.bytesDone + value.length > this.#bytes) throw new Damage("it is too long");
      this.keptBytes = value.buffer.byteLength;
      this.#handlers.write(value, this.bytesDone);
      this.#crc = crc32(value, this.#crc);
      this.bytesDone += value.length;
      this.onProgress?.(this.bytesDone);
      return false;
    } catch (error) {
      throw this.#handlers.failed(error);
    }
  }

  /** Closes the stream, and resolves once it is closed. */
  async end(): Promise<void> {
    // Nobody is left to receive an error.
    await this.#pieces.return(undefined).catch(() => {});
  }
}
