/**
 * The contents of an archive's members: read from the archive where they are stored, and where they
 * are deflated from the cache file that they are inflated to, from the start on and as far as somebody
 * reads.
 *
 * A read is answered as soon as its bytes are there; one that has a member's last byte, once the
 * checksum has proved right. Of a member up to {@linkcode CHECKED_FIRST_BYTES} nothing is handed out
 * before that.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { EIO } from "../../uapi/errno.ts";
import { assert, UblkError } from "../../uapi/error.ts";
import type { Answer } from "../../disk/backend.ts";
import type { Archive } from "./archive.ts";
import { type Clock, threadClock } from "./breaths.ts";
import type { CacheFile } from "./cache_file.ts";
import { Damage, damaged } from "./damage.ts";
import { Line, type Work } from "./line.ts";
import { STORED } from "./members.ts";
import { piecesOf } from "./pieces.ts";

/** Contents up to so many bytes are checked before any of them are handed out: some milliseconds. */
const CHECKED_FIRST_BYTES: number = 1 << 20;
/** A stored member up to so many bytes is checked where its end is read; that takes a second or so. */
export const CHECKED_STORED_BYTES: number = 128 << 20;
/**
 * Members that are partly inflated and kept although no read waits for them and none has for
 * {@linkcode MAX_UNUSED_MS}.
 */
const MAX_UNUSED = 32;
/** A reader that asks piece by piece comes back sooner. (ms) */
const MAX_UNUSED_MS = 30_000;
/** Members that are partly inflated. */
const MAX_BEGUN = 256;
/** Memory that they keep, each for its last piece: 16 MiB where 16 KiB were zeroes, mostly less than 1. */
const MAX_KEPT_BYTES: number = 512 << 20;

/** The place of all of a member's contents. */
export interface Place {
  /** An open file. */
  readonly fd: number;
  /** The byte of the file at which they begin. */
  readonly start: number;
}

/** The contents of all members of an archive. */
export class Contents {
  readonly #archive: Archive;
  readonly #cache: CacheFile | undefined;
  readonly #line: Line;
  readonly #clock: Clock;
  /** By member, 1 where the checksum has proved right. */
  readonly #checked: Uint8Array<ArrayBuffer>;
  /** By member, the place of its contents in the archive or the cache file, plus 1; 0: not known. */
  readonly #start: Float64Array<ArrayBuffer>;
  /** Why a member is damaged. */
  readonly #damage = new Map<number, string>();
  /** Members that are being gone through; the one that was used last is last. */
  readonly #passages = new Map<number, Passage>();

  /** `cache` is where deflated members are inflated to. */
  constructor(archive: Archive, cache: CacheFile | undefined, clock: Clock = threadClock) {
    this.#archive = archive;
    this.#cache = cache;
    this.#line = new Line();
    this.#clock = clock;
    this.#checked = new Uint8Array(archive.members.count);
    this.#start = new Float64Array(archive.members.count);
  }

  /**
   * Fills the buffer from a byte of a member's contents on, within them.
   *
   * @throws {UblkError} where they are damaged, or there is no room to inflate them.
   */
  read(member: number, buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    this.#throwIfDamaged(member);
    const end = offset + buffer.length;
    const needed = this.#neededFor(member, end);
    const there = this.#checked[member] === 1 ? Infinity : this.#passages.get(member)?.there ?? 0;
    if (needed <= there) return this.#readThere(member, buffer, offset);
    return this.#waitFor(member, needed, () => this.#readThere(member, buffer, offset));
  }

  /** The bytes of a member to go through before a read up to `end`. */
  #neededFor(member: number, end: number): number {
    const bytes = this.#archive.members.bytes[member];
    if (bytes <= CHECKED_FIRST_BYTES) return Infinity;
    if (!this.#isStored(member)) return end < bytes ? end : Infinity;
    return end < bytes || bytes > CHECKED_STORED_BYTES ? 0 : Infinity;
  }

  /**
   * Goes through all of a member.
   *
   * @param onProgress Called with the bytes that have been gone through.
   * @throws {UblkError} as {@linkcode read}.
   */
  check(member: number, onProgress?: (bytes: number) => void): Promise<void> {
    this.#throwIfDamaged(member);
    return this.#waitFor(member, Infinity, () => {}, onProgress);
  }

  /**
   * Makes sure that a member is where the archive says.
   *
   * @throws {UblkError} where it is not.
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

  /** The place of a member that has been checked, or of a stored one that has been located. */
  place(member: number): Place {
    const start = this.#start[member] - 1;
    assert(start >= 0, "it has been found");
    return { fd: this.#isStored(member) ? this.#archive.fd : this.#cache!.fd, start };
  }

  #isStored(member: number): boolean {
    return this.#archive.members.method[member] === STORED;
  }

  #readThere(member: number, buffer: Uint8Array<ArrayBuffer>, offset: number): void {
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
    let passage = this.#passages.get(member);
    // The one that was used last is last.
    if (passage !== undefined) this.#passages.delete(member);
    else passage = this.#begin(member);
    this.#passages.set(member, passage);
    passage.onProgress ??= onProgress;
    passage.usedMs = this.#clock.now();
    const answer = this.#line.wait(passage, end, ready);
    this.#endIdle();
    return answer;
  }

  #begin(member: number): Passage {
    const archive = this.#archive;
    const cache = this.#isStored(member) ? undefined : this.#cache;
    assert(cache !== undefined || this.#isStored(member), "there is a cache for what is deflated");
    if (cache !== undefined && this.#start[member] === 0) {
      this.#start[member] = cache.reserve(archive.members.bytes[member]) + 1;
    }
    const start = this.#start[member] - 1;
    return new Passage(archive, member, {
      write: (bytes, at) => cache?.write(bytes, start + at),
      done: () => {
        this.#passages.delete(member);
        this.#checked[member] = 1;
      },
      failed: (error) => {
        this.#end(member);
        return this.#failure(member, error);
      },
    });
  }

  /**
   * Forgets members that no read waits for: those unused for long, and beyond the limit those with
   * the least to inflate again. (Every one beyond 32 was once forgotten, the one unused for longest
   * first. With 33 files read side by side that was always the one to be read next: each piece
   * inflated its file again from the start.)
   */
  #endIdle(): void {
    const unusedMs = this.#clock.now() - MAX_UNUSED_MS;
    for (const [member, passage] of this.#passages) {
      if (this.#passages.size <= MAX_UNUSED || passage.usedMs > unusedMs) break;
      if (!this.#line.wants(passage)) this.#end(member);
    }
    let keptBytes = 0;
    for (const passage of this.#passages.values()) keptBytes += passage.keptBytes;
    if (this.#passages.size <= MAX_BEGUN && keptBytes <= MAX_KEPT_BYTES) return;
    // Of equal ones that which was used last: files read in turn come up again in that order.
    const idle = [...this.#passages].filter(([, passage]) => !this.#line.wants(passage)).reverse()
      .sort(([, one], [, other]) => one.there - other.there);
    for (const [member, passage] of idle) {
      if (this.#passages.size <= MAX_BEGUN && keptBytes <= MAX_KEPT_BYTES) break;
      keptBytes -= passage.keptBytes;
      this.#end(member);
    }
  }

  /** Forgets a member that is not all there, and gives its space back. It may be begun again. */
  #end(member: number): void {
    const passage = this.#passages.get(member);
    if (passage === undefined) return;
    this.#passages.delete(member);
    void passage.end();
    if (this.#isStored(member)) return;
    this.#cache!.free(this.#start[member] - 1, this.#archive.members.bytes[member]);
  }

  /** The error for who reads. Damage stays; anything else, such as a full cache, may pass. */
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

  /** Stops all that goes on; resolves once it has. */
  async close(): Promise<void> {
    const error = new UblkError("ABORTED", { operation: this.#archive.path, errno: EIO });
    await this.#line.close(error);
    // Their streams read the archive, which is closed next.
    await Promise.all([...this.#passages.values()].map((passage) => passage.end()));
  }
}

/** The ways of a passage to what it is for. */
interface PassageEnds {
  write(bytes: Uint8Array<ArrayBuffer>, at: number): void;
  done(): void;
  failed(error: unknown): UblkError;
}

/** A member that is gone through: each piece is counted, summed and written. */
class Passage implements Work {
  there = 0;
  /** Of the last read that asked for it, by the monotonic clock. */
  usedMs = 0;
  /** Of its last piece, which its stream keeps. */
  keptBytes = 0;
  onProgress: ((bytes: number) => void) | undefined;
  #crc = 0;
  readonly #pieces: AsyncGenerator<Uint8Array<ArrayBuffer>>;
  readonly #bytes: number;
  readonly #crc32: number;
  readonly #ends: PassageEnds;

  constructor(archive: Archive, member: number, ends: PassageEnds) {
    this.#pieces = piecesOf(archive, member);
    this.#bytes = archive.members.bytes[member];
    this.#crc32 = archive.members.crc32[member];
    this.#ends = ends;
  }

  async step(): Promise<boolean> {
    try {
      const { value, done } = await this.#pieces.next();
      if (done) {
        if (this.there < this.#bytes) throw new Damage("it ends too early");
        if (this.#crc !== this.#crc32) throw new Damage("its checksum is wrong");
        this.#ends.done();
        return true;
      }
      if (this.there + value.length > this.#bytes) throw new Damage("it is too long");
      this.keptBytes = value.buffer.byteLength;
      this.#ends.write(value, this.there);
      this.#crc = crc32(value, this.#crc);
      this.there += value.length;
      this.onProgress?.(this.there);
      return false;
    } catch (error) {
      throw this.#ends.failed(error);
    }
  }

  /** Lets go of what it has open; resolves once it has. */
  async end(): Promise<void> {
    // An error would be one of a reader that is there no more.
    await this.#pieces.return(undefined).catch(() => {});
  }
}
