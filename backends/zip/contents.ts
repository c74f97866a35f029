/**
 * The contents of members: what of them can be read, when, and where it is by then.
 *
 * A stored member is read from the archive, a deflated one from the cache file that it is inflated to,
 * once, from its start to its end, beginning with the first read. Of one up to
 * {@linkcode CHECKED_FIRST_BYTES} nothing is handed out before its checksum has proved right; of a
 * greater one, what is there by then is. Memory is a matter of a few buffers, whatever the size.
 *
 * @module
 */

import { EIO } from "../../uapi/errno.ts";
import { assert, UblkError } from "../../uapi/error.ts";
import type { Answer } from "../backend.ts";
import { type Archive, damaged, type Member, STORED } from "./archive.ts";
import type { CacheFile } from "./cache_file.ts";
import { Crc32 } from "./crc32.ts";
import { Turns } from "./turns.ts";

/**
 * Contents up to so many bytes are checked before any of them are handed out: a second or so, and
 * ten where everything is slow, which a request has time for.
 */
export const CHECKED_FIRST_BYTES: number = 128 << 20;

/** What is inflated at a time: at most 1032 times as much comes out. */
const INPUT_BYTES = 16 << 10;
/** What of a stored member is checked at a time. */
const CHECK_BYTES = 256 << 10;

/** Where all of a member's contents are. */
export interface Place {
  /** An open file. */
  readonly fd: number;
  /** Where they begin in it, in bytes. */
  readonly start: number;
}

/** Somebody who waits for contents up to `end`. */
interface Waiter {
  readonly end: number;
  resolve(): void;
  reject(error: unknown): void;
}

/** A member's contents. */
export abstract class Contents {
  /** Called as bytes have been gone through. */
  onProgress: ((bytes: number) => void) | undefined;
  /** Whose they are. */
  protected readonly member: Member;
  /** The archive that has it. */
  protected readonly archive: Archive;
  #working: Promise<void> | undefined;
  #failure: UblkError | undefined;
  #checked = false;
  #closed = false;
  #there = 0;
  #waiters: Waiter[] = [];
  #crc = new Crc32();

  /** Nothing is read yet. */
  constructor(archive: Archive, member: Member) {
    this.archive = archive;
    this.member = member;
  }

  /** Goes through all of them, in order, and calls {@linkcode took} with each piece. */
  protected abstract work(): Promise<void>;

  /** Reads what is there. */
  protected abstract readThere(buffer: Uint8Array<ArrayBuffer>, offset: number): void;

  /**
   * Makes sure that they are where the archive says.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` where they are not.
   */
  abstract locate(): Promise<void>;

  /** Where they are, once {@linkcode check} has resolved; stored ones once they are located. */
  abstract place(): Place;

  /** Whether contents may be handed out that no checksum has proved yet. */
  protected get mayTrust(): boolean {
    return this.member.bytes > CHECKED_FIRST_BYTES;
  }

  /** Begins to go through them, so that whoever wants them waits less. */
  begin(): void {
    this.#start();
  }

  #start(): void {
    this.#working ??= this.#run();
  }

  /**
   * Goes through all of them.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` where they are not what the archive says.
   */
  check(): Promise<void> {
    return this.#until(Infinity);
  }

  /** Fills the buffer from a byte of the contents on, within them. */
  read(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    if (this.#failure !== undefined) throw this.#failure;
    const end = offset + buffer.length;
    if (this.#checked || this.mayTrust && end <= this.#there) {
      return this.readThere(buffer, offset);
    }
    return this.#until(this.mayTrust ? end : Infinity).then(() => this.readThere(buffer, offset));
  }

  #until(end: number): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#checked || end <= this.#there) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiters.push({ end, resolve, reject });
    this.#start();
    return promise;
  }

  async #run(): Promise<void> {
    try {
      await this.work();
      if (this.#closed) throw new UblkError("ABORTED", { operation: this.member.name, errno: EIO });
      if (this.#there !== this.member.bytes) throw this.damaged("it ends too early");
      if (this.#crc.value !== this.member.crc32) throw this.damaged("its checksum is wrong");
      this.#checked = true;
    } catch (error) {
      this.#failure = error instanceof UblkError ? error : new UblkError("SYSCALL_FAILED", {
        operation: `${this.member.name} in ${this.archive.path}`,
        reason: error instanceof Error ? error.message : String(error),
        errno: EIO,
        cause: error,
      });
      for (const { reject } of this.#waiters.splice(0)) reject(this.#failure);
    }
    for (const { resolve } of this.#waiters.splice(0)) resolve();
  }

  /** Takes the next piece, which is there from now on. Returns whether to go on. */
  protected took(bytes: Uint8Array): boolean {
    this.#crc.add(bytes);
    this.#there += bytes.length;
    this.onProgress?.(this.#there);
    const waiting = this.#waiters;
    if (waiting.some(({ end }) => end <= this.#there)) {
      this.#waiters = waiting.filter(({ end }) => end > this.#there);
      for (const { end, resolve } of waiting) if (end <= this.#there) resolve();
    }
    return !this.#closed;
  }

  /** How many bytes have been gone through. */
  protected get there(): number {
    return this.#there;
  }

  /** The error of contents that are not what the archive says. */
  protected damaged(reason: string): UblkError {
    return damaged(this.archive.path, this.member.name, reason);
  }

  /** Stops what is under way; resolves once it has. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#working;
  }
}

/** The contents of a member; `cache` is asked for only where they must be inflated. */
export function contentsOf(archive: Archive, member: Member, cache: () => CacheFile): Contents {
  return member.method === STORED
    ? new StoredContents(archive, member)
    : new InflatedContents(archive, member, cache());
}

/** They are in the archive as they are. */
class StoredContents extends Contents {
  #start: number | undefined;

  /** Finds them. */
  override async locate(): Promise<void> {
    if (this.member.storedBytes !== this.member.bytes) throw this.damaged("its sizes differ");
    this.#start ??= await this.archive.locate(this.member);
  }

  override begin(): void {
    // They are all there; who wants them checked says so.
    if (!this.mayTrust) super.begin();
  }

  override read(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    if (!this.mayTrust) return super.read(buffer, offset);
    if (this.#start !== undefined) return this.readThere(buffer, offset);
    return this.locate().then(() => this.readThere(buffer, offset));
  }

  protected override async work(): Promise<void> {
    await this.locate();
    const buffer = new Uint8Array(Math.min(CHECK_BYTES, this.member.bytes));
    const turns = new Turns();
    while (this.there < this.member.bytes) {
      const piece = buffer.subarray(0, Math.min(buffer.length, this.member.bytes - this.there));
      this.archive.read(piece, this.place().start + this.there);
      if (!this.took(piece)) return;
      await turns.next();
    }
  }

  protected override readThere(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    this.archive.read(buffer, this.place().start + offset);
  }

  override place(): Place {
    assert(this.#start !== undefined, "they have been found");
    return { fd: this.archive.fd, start: this.#start };
  }
}

/** They are inflated to the cache file. */
class InflatedContents extends Contents {
  readonly #cache: CacheFile;
  readonly #at: number;

  constructor(archive: Archive, member: Member, cache: CacheFile) {
    super(archive, member);
    this.#cache = cache;
    this.#at = cache.reserve(member.bytes);
  }

  override async locate(): Promise<void> {
    await this.archive.locate(this.member);
  }

  protected override async work(): Promise<void> {
    const start = await this.archive.locate(this.member);
    const inflating = new DecompressionStream("deflate-raw");
    const reader = inflating.readable.getReader();
    const writer = inflating.writable.getWriter();
    // Its failure is also that of the reader, who tells it.
    this.#feed(writer, start).catch(() => {});
    const turns = new Turns();
    try {
      for (;;) {
        const { value, done } = await this.#next(reader);
        if (done) break;
        if (this.there + value.length > this.member.bytes) throw this.damaged("it is too long");
        this.#cache.write(value, this.#at + this.there);
        if (!this.took(value)) break;
        await turns.next();
      }
    } finally {
      // Nothing where it has come to its end.
      await reader.cancel().catch(() => {});
      await writer.abort().catch(() => {});
    }
  }

  async #feed(writer: WritableStreamDefaultWriter<BufferSource>, start: number): Promise<void> {
    const { storedBytes } = this.member;
    try {
      for (let at = 0; at < storedBytes; at += INPUT_BYTES) {
        const input = new Uint8Array(Math.min(INPUT_BYTES, storedBytes - at));
        this.archive.read(input, start + at);
        await writer.ready;
        await writer.write(input);
      }
      await writer.close();
    } catch (error) {
      // So that the reader does not wait for what never comes.
      await writer.abort(error);
    }
  }

  /** What comes out next. What the stream throws is about its data. */
  async #next(reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>) {
    try {
      return await reader.read();
    } catch (error) {
      if (error instanceof TypeError) throw this.damaged("it cannot be inflated");
      throw error;
    }
  }

  protected override readThere(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    this.#cache.read(buffer, this.#at + offset);
  }

  override place(): Place {
    return { fd: this.#cache.fd, start: this.#at };
  }
}
