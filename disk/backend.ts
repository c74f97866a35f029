/**
 * What a backend is: the small table of operations behind a disk.
 *
 * @module
 */

import type { Claim } from "./claims.ts";

/** How a write is to be done. */
export interface WriteOptions {
  /** The data must be durable before the write is answered (force unit access). */
  readonly fua: boolean;
}

/** How zeroes are to be written. */
export interface WriteZeroesOptions {
  /** The space may be given back, so that later writes there could fail with ENOSPC. */
  readonly mayUnmap: boolean;
}

/** What the memory of requests must be like: the kernel splits and copies what is not. */
export interface RequestLimits {
  /** The multiple of bytes, a power of two up to the page, at which it must lie. */
  readonly dmaAlignmentBytes: number;
  /** The most pieces of one request. */
  readonly maxSegments: number;
  /** The longest piece in bytes, at least 4096. */
  readonly maxSegmentBytes: number;
  /** What no piece may lie across, in bytes: a power of two, at least 4096. */
  readonly segmentBoundaryBytes: number;
}

/**
 * How a disk is best used; all sizes in bytes. What is left out is what the block layer or the block
 * size says. Filesystems lay themselves out by it.
 */
export interface Topology {
  /** The least write that needs no read before it, in bytes: a power of two, at least the block size. */
  readonly physicalBlockSize?: number;
  /** The smallest good request: a power of two, at least the physical block. */
  readonly ioMinBytes?: number;
  /** The best request: a power of two, at least the physical block. */
  readonly ioOptBytes?: number;
  /** It rotates: what lies together is faster. */
  readonly rotational?: boolean;
  /** The unit in which space is given back: a multiple of the block size. */
  readonly discardGranularityBytes?: number;
  /** Where the first such unit begins, from the start of the disk. */
  readonly discardAlignmentBytes?: number;
  /** The multiple at which the memory of requests must lie for zero copy: a power of two. */
  readonly dmaAlignmentBytes?: number;
}

/** What a data operation returns: nothing, or a Promise of nothing, once all is done. */
export type Answer = void | Promise<void>;

/** One request as a backend sees it that works through the ring. Valid until it is answered. */
export interface RingRequest {
  /** `UBLK_IO_OP_READ`, `_WRITE`, `_FLUSH`, `_DISCARD` or `_WRITE_ZEROES`. */
  readonly op: number;
  /** Bytes from the start of the disk. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** The write must be durable before it is answered. */
  readonly fua: boolean;
  /** Zeroed space may be given back. */
  readonly mayUnmap: boolean;
  /** Bytes of integrity metadata that go with the data; 0 where there is none. */
  readonly metadataLength: number;
  /** The backend's own, 0 when the request arrives: what it must know when operations complete. */
  state: number;
}

/**
 * Queues operations on the serving thread's own ring, for the request at hand. Where its data is
 * (a buffer, the pages of who asked, shared memory) is the data path's business: operations name
 * it by the distance from its start.
 */
export interface RingOperations {
  /** `pread` of `length` bytes from a file to byte `at` of the request's data. */
  read(fd: number, at: number, length: number, offset: number): void;
  /** `pwrite` of `length` bytes to a file from byte `at` of the request's data. */
  write(fd: number, at: number, length: number, offset: number): void;
  /** `pread` of all of the request's integrity metadata from a file. */
  readMetadata(fd: number, offset: number): void;
  /** `pwrite` of all of the request's integrity metadata to a file. */
  writeMetadata(fd: number, offset: number): void;
  /** `fsync`, or `fdatasync` with `dataOnly`. */
  fsync(fd: number, dataOnly: boolean): void;
  /** `fallocate` with its mode bits. */
  fallocate(fd: number, mode: number, offset: number, length: number): void;
  /** Completes with -ETIME after a time in microseconds. */
  timeout(microseconds: number): void;
}

/** How a backend works that hands its requests on to the kernel through the serving thread's ring. */
export interface RingMethods {
  /** The most operations that one request has under way at a time. Without it, 4. */
  readonly operations?: number;
  /** It keeps the integrity metadata of requests that have some. */
  readonly metadata?: boolean;
  /**
   * The descriptor of a file that is the disk, byte for byte. A READ or WRITE without FUA and
   * metadata is then one operation at the same offset, which is queued without asking. `prepare`
   * is called, as if for the first time, only where it was not done in full.
   */
  readonly plainFd?: number;
  /** They are for zero copy, where nobody sees the bytes; elsewhere `readAt` and the others serve. */
  readonly forZeroCopyOnly?: boolean;
  /**
   * Zero copy is its best way (its files are open with `O_DIRECT`), where the kernel has it. On the
   * other paths the buffers that a `plainFd` is read to and written from are registered if they may.
   */
  readonly preferZeroCopy?: boolean;
  /**
   * Queues what the request needs, or throws.
   *
   * @returns Bytes done (0 for what carries no data) or a negative errno, where it needs nothing
   *   of the ring and is answered at once.
   */
  prepare(request: RingRequest, ring: RingOperations): number | void;
  /**
   * Called for each operation as it completes, with its result: bytes or 0, or a negative errno.
   * It may queue further operations.
   *
   * @returns Bytes done or a negative errno to answer with, or nothing to wait for the operations
   *   that are still under way. The answer is given once none is; the first error stays.
   */
  complete(request: RingRequest, result: number, ring: RingOperations): number | void;
}

/** What a zone is like at the moment. `conventional` is one without a write pointer. */
export type ZoneCondition =
  | "conventional"
  | "empty"
  | "implicitly-open"
  | "explicitly-open"
  | "closed"
  | "full"
  | "read-only"
  | "offline";

/** A zone, as a report tells of it. */
export interface Zone {
  /** What it is like. */
  readonly condition: ZoneCondition;
  /** Bytes from its start to its write pointer, which a conventional zone does not have. */
  readonly written: number;
}

/**
 * The zones of a disk that must be written in order. They are all of one size and are numbered from
 * 0; the conventional ones, if any, are written like any disk. It is the backend that keeps the
 * write pointers and the conditions, and that refuses: with EIO a write that is not at the write
 * pointer, with `ETOOMANYREFS` one zone too many open, and with `EOVERFLOW` one too many open or
 * closed. READs beyond a write pointer are answered too; with zeroes, say.
 */
export interface ZoneMethods {
  /** Bytes of a zone: a power of two from 4096, and a divisor of the disk's size. */
  readonly size: number;
  /** The most zones that are open at a time. Without it, or 0, there is no limit. */
  readonly maxOpen?: number;
  /** The most zones that are open or closed at a time. Without it, or 0, there is no limit. */
  readonly maxActive?: number;
  /** Tells of `count` zones from the zone `first` on: of all of them, which there are. */
  report(first: number, count: number): readonly Zone[] | Promise<readonly Zone[]>;
  /** Opens a zone explicitly. */
  open(zone: number): Answer;
  /** Closes an open zone. */
  close(zone: number): Answer;
  /** Makes a zone full. */
  finish(zone: number): Answer;
  /**
   * Writes the whole buffer at the zone's write pointer.
   *
   * @returns The place where it was written, in bytes from the start of the disk.
   */
  append(
    buffer: Uint8Array<ArrayBuffer>,
    zone: number,
    options: WriteOptions,
  ): number | Promise<number>;
  /** Empties a zone: its write pointer is at its start again. */
  reset(zone: number): Answer;
  /** Empties all zones that have a write pointer. */
  resetAll(): Answer;
}

/**
 * A disk's contents and the operations on them.
 *
 * Offsets and lengths are bytes, multiples of {@linkcode blockSize}, within
 * {@linkcode size}. An operation handles all it was given or throws (or rejects): there are no
 * short reads or writes. A thrown `UblkError` with an `errno`, or any error whose `code` is an
 * errno's name (as Deno's are), reaches the reader with that errno where the block layer passes it
 * on; anything else becomes EIO.
 *
 * **Buffers are borrowed** until the method returns or its Promise settles. Keeping one is an
 * error, which `serve({ paranoid: true })` catches.
 *
 * What is absent is not advertised to the kernel: a backend without `flush` is one whose writes
 * are final when answered, and the kernel sends it no FLUSH.
 *
 * @example A disk of 64 MiB in a plain array
 * ```ts
 * import type { Backend } from "@ublk/ublk";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = new Uint8Array(64 << 20);
 * const disk: Backend = {
 *   size: bytes.length,
 *   readAt: (buffer, offset) => buffer.set(bytes.subarray(offset, offset + buffer.length)),
 *   writeAt: (buffer, offset) => bytes.set(buffer, offset),
 * };
 * await disk.writeAt(new Uint8Array(512).fill(7), 4096, { fua: false });
 * assertEquals(bytes[4096], 7);
 * ```
 */
export interface Backend {
  /** The size in bytes: a positive multiple of the block size, at most 2^53 - 1. */
  readonly size: number;
  /** The logical block size in bytes: 512, 1024, 2048 or 4096. Without it, 512. */
  readonly blockSize?: number;
  /** Writes are refused by the kernel. */
  readonly readOnly?: boolean;
  /** What the memory of requests must be like. Without it, whatever the path can do. */
  readonly limits?: RequestLimits;
  /** How it is best used. */
  readonly topology?: Topology;
  /** `writeAt` honours `fua`. It counts only beside a `flush`. */
  readonly fua?: boolean;
  /**
   * Every method is done when it returns and needs no timer, socket or other event in between.
   * The serving thread then blocks in the kernel instead of running an event loop, which is much
   * faster; a Promise from such a backend is an error.
   */
  readonly synchronous?: boolean;
  /** The contents outlive this process, so that another may recover the device. */
  readonly persistent?: boolean;
  /**
   * The disk's contents are this process's memory, `size` bytes from this address. Where the
   * kernel offers `NEED_GET_DATA`, reads and writes then touch that memory directly, and
   * `readAt` and `writeAt` are not called. For backends in a Worker that are `synchronous`.
   */
  readonly address?: number;
  /**
   * The disk's contents are in files: the kernel moves the data, by operations on the serving
   * thread's own ring, and `readAt` and the others are not called. For backends in a Worker that
   * are `synchronous`.
   */
  readonly ring?: RingMethods;
  /** Its zones: the kernel is told that the disk is a zoned one. It cannot have `resize` then. */
  readonly zones?: ZoneMethods;

  /** Fills the whole buffer from `offset`. */
  readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer;
  /** Writes the whole buffer at `offset`. */
  writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number, options: WriteOptions): Answer;
  /**
   * Makes every write that was answered, on any queue, durable. Once it has failed it succeeds only
   * if nothing was lost.
   */
  flush?(): Answer;
  /** Forgets a range: it may read as anything until written again. */
  trim?(offset: number, length: number): Answer;
  /** Makes a range read as zeroes. */
  writeZeroes?(offset: number, length: number, options: WriteZeroesOptions): Answer;
  /** Fills the buffer with the integrity metadata of the blocks from `offset` (of the data). */
  readMetadata?(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer;
  /** Keeps the integrity metadata of the blocks from `offset` (of the data). */
  writeMetadata?(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer;
  /**
   * Changes the size, in bytes. Called in every thread that has the backend open: before the disk
   * grows, and after it has shrunk. Where the disk could not grow it is called once more, with the
   * size before, in each thread, also where it has thrown.
   */
  resize?(size: number): Answer;
  /**
   * Called before a tag is handed to the kernel, with all before it already there. For the
   * injection of faults.
   */
  beforeFetch?(queue: number, tag: number): void;
  /**
   * Releases what was opened. Called once, after the last operation was answered; one that has missed
   * its deadline may still be under way. It has as long as a request; what it throws is logged.
   */
  close?(): Answer;
}

/** How a backend's state may be spread over threads. */
export type Sharing =
  /** One thread owns the backend and serves all queues: JavaScript state is never split. */
  | "single"
  /** One backend is opened in each queue's thread; what they share they share by other means. */
  | "per-queue";

/** What `open` is told beside its options. */
export interface OpenContext {
  /** The first of the queues that this thread serves. */
  readonly queue: number;
  /** What the module's `share` returned, the same in every thread. */
  readonly shared: unknown;
  /** The opened backends that this one wraps, in the order of the specification. */
  readonly inner: readonly Backend[];
  /**
   * The disk is there already, and its users go on: what held its contents must be there too. Make
   * nothing anew.
   */
  readonly recovering: boolean;
  /**
   * The block size in bytes of the device that is recovered; undefined for a new one. Its users rely
   * on it: a backend that chooses its block size by itself chooses this one if it can.
   */
  readonly deviceBlockSize?: number;
}

/** Passed to `share` after its options. */
export interface ShareContext extends Pick<OpenContext, "recovering" | "deviceBlockSize"> {
  /**
   * Notes a file that the disk is to use, before it is opened: one disk must not use one file
   * twice, under whatever names.
   */
  readonly claim: Claim;
}

/** What a module exports to be a backend. */
export interface BackendModule {
  /** Without it, `"single"`. */
  readonly sharing?: Sharing;
  /** Opens the backend in the thread that will serve it. */
  open(options: unknown, context: OpenContext): Backend | Promise<Backend>;
  /**
   * Makes, once, what the threads of a `per-queue` backend share; cloneable. It runs in the first
   * thread before any `open`.
   */
  share?(options: unknown, context: ShareContext): unknown | Promise<unknown>;
  /** Releases what `share` made, once, after every thread's `close`. */
  unshare?(shared: unknown): Answer;
}
