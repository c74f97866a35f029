/**
 * Access to the bytes of a disk in files, by blocking calls, for wrappers that need the bytes. Without
 * such a wrapper the ring serves the disk (`file_requests.ts`), and nothing here is called.
 *
 * @module
 */

import { EINTR, EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { fallocateFile, readAt, syncFile, writeAt } from "../uring/file.ts";
import { Mapping } from "../uring/mapping.ts";
import type { Backend, WriteOptions, WriteZeroesOptions } from "../disk/backend.ts";
import { eachOf } from "../disk/each_of.ts";
import { LostWrites } from "./lost_writes.ts";
import type { StripeLayout } from "./stripe_layout.ts";
import { DONE, PUNCH, Zeroing } from "./zeroing.ts";

/** The files that {@linkcode FileBytes} work on. */
export interface ByteFiles {
  /** The open files, in the order of the layout. The caller still owns them. */
  readonly fds: readonly number[];
  /** The place of the disk's bytes in the files. */
  readonly layout: StripeLayout;
  /** Whether they are open with `O_DIRECT`, so that bytes must go through aligned memory. */
  readonly direct: boolean;
  /** Whether space in them can be freed. */
  readonly punches: boolean;
  /**
   * Memory of the {@linkcode LostWrites} of all threads that have the files open.
   *
   * @default A note of its own
   */
  readonly lost?: SharedArrayBuffer;
}

/** The size of the aligned memory in bytes. */
const BOUNCE_BYTES = 256 << 10;

/** The methods of such a disk. */
type ByteMethods = Pick<
  Backend,
  "synchronous" | "readAt" | "writeAt" | "flush" | "trim" | "writeZeroes" | "close"
>;

/** The methods that work on bytes, as part of a backend. */
export function byteMethods(files: ByteFiles): ByteMethods {
  const bytes = new FileBytes(files);
  return {
    synchronous: true,
    readAt: (buffer, offset) => bytes.read(buffer, offset),
    writeAt: (buffer, offset, how) => bytes.write(buffer, offset, how),
    flush: () => bytes.flush(),
    ...(files.punches
      ? {
        trim: (offset, length) => bytes.trim(offset, length),
        writeZeroes: (offset, length, how) => bytes.zero(offset, length, how),
      }
      : {}),
    close: () => bytes.close(),
  };
}

class FileBytes {
  readonly #fds: readonly number[];
  readonly #layout: StripeLayout;
  readonly #direct: boolean;
  /** Made on first use: a disk that the ring serves never needs it. */
  #mapping: Mapping | undefined;
  #bounce: Uint8Array<ArrayBuffer> | undefined;
  readonly #zeroing = new Zeroing();
  readonly #lost: LostWrites;

  constructor({ fds, layout, direct, lost }: ByteFiles) {
    this.#lost = new LostWrites(lost);
    this.#fds = fds;
    this.#layout = layout;
    this.#direct = direct;
  }

  read(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    this.#transfer(buffer, offset, false);
  }

  write(buffer: Uint8Array<ArrayBuffer>, offset: number, { fua }: WriteOptions): void {
    this.#transfer(buffer, offset, true);
    if (fua) this.flush();
  }

  #transfer(buffer: Uint8Array<ArrayBuffer>, offset: number, writes: boolean): void {
    const layout = this.#layout;
    for (let at = 0; at < buffer.length;) {
      const most = layout.pieceBytes(offset + at, buffer.length - at);
      const bytes = this.#direct ? Math.min(most, BOUNCE_BYTES) : most;
      const piece = bytes === buffer.length ? buffer : buffer.subarray(at, at + bytes);
      const fd = this.#fds[layout.fileOf(offset + at)];
      this.#move(fd, piece, layout.fileOffset(offset + at), writes);
      at += bytes;
    }
  }

  #move(fd: number, piece: Uint8Array<ArrayBuffer>, offset: number, writes: boolean): void {
    if (!this.#direct) return moveAll(fd, piece, offset, writes);
    const bounce = this.#aligned().subarray(0, piece.length);
    if (writes) bounce.set(piece);
    moveAll(fd, bounce, offset, writes);
    if (!writes) piece.set(bounce);
  }

  #aligned(): Uint8Array<ArrayBuffer> {
    if (this.#bounce !== undefined) return this.#bounce;
    this.#mapping = Mapping.anonymous(BOUNCE_BYTES);
    return this.#bounce = new Uint8Array(this.#mapping.buffer());
  }

  /** Syncs all files, also after one fails: the data in the others must become durable too. */
  flush(): void {
    this.#lost.check();
    eachOf(this.#fds.map((fd) => () => {
      const result = syncFile(fd);
      this.#lost.note(result);
      check("fdatasync", result);
    }));
    this.#lost.check();
  }

  trim(offset: number, length: number): void {
    this.#fallocate(PUNCH, offset, length);
  }

  zero(offset: number, length: number, { mayUnmap }: WriteZeroesOptions): void {
    const zeroing = this.#zeroing;
    for (let mode = zeroing.first(mayUnmap); mode !== DONE; mode = zeroing.next(mode, mayUnmap)) {
      this.#fallocate(mode, offset, length);
    }
  }

  /** Any range of the disk is one range of each file. */
  #fallocate(mode: number, offset: number, length: number): void {
    const layout = this.#layout;
    for (let file = 0; file < layout.files; file++) {
      const start = layout.bytesBefore(file, offset);
      const bytes = layout.bytesBefore(file, offset + length) - start;
      if (bytes === 0) continue;
      const result = fallocateFile(this.#fds[file], mode, start, bytes);
      if (this.#zeroing.forgives(mode, result)) return;
      check("fallocate", result);
    }
  }

  close(): void {
    this.#mapping?.[Symbol.dispose]();
    this.#mapping = undefined;
    this.#bounce = undefined;
  }
}

/** Reads or writes all bytes, and continues after a signal or a short count. */
function moveAll(fd: number, bytes: Uint8Array<ArrayBuffer>, offset: number, writes: boolean) {
  for (let done = 0; done < bytes.length;) {
    const rest = done === 0 ? bytes : bytes.subarray(done);
    const count = writes ? writeAt(fd, rest, offset + done) : readAt(fd, rest, offset + done);
    if (count === -EINTR) continue;
    // 0: the file has shrunk, and ends before the disk does.
    if (count <= 0) throw failed(writes ? "pwrite" : "pread", count === 0 ? EIO : -count);
    done += count;
  }
}

function check(what: string, result: number): void {
  if (result < 0) throw failed(what, -result);
}

function failed(operation: string, errno: number): UblkError {
  return new UblkError("SYSCALL_FAILED", { operation, errno });
}
