/**
 * The backend interface: the small table of operations behind a disk, and the contract of the
 * modules that open one.
 *
 * @module
 */

import type { BackendCounters } from "./counters.ts";
import type { RingFiles } from "../uring/ring_files.ts";
import type { Claim } from "./claims.ts";
import type { Engine } from "./engine.ts";

/** Options of one write. */
export interface WriteOptions {
  /** The data must be durable before the write is answered: force unit access (FUA). */
  readonly fua: boolean;
}

/** Options of one write of zeroes. */
export interface WriteZeroesOptions {
  /** The space may be freed. A later write to the range may then fail with ENOSPC. */
  readonly mayUnmap: boolean;
}

/** Requirements on the memory of requests. The kernel splits or copies requests to meet them. */
export interface RequestLimits {
  /** Alignment of the memory in bytes: a power of two, at most a page. */
  readonly dmaAlignmentBytes: number;
  /** Maximum number of memory segments in one request. */
  readonly maxSegments: number;
  /** Maximum length of a segment in bytes, at least 4096. */
  readonly maxSegmentBytes: number;
  /** Boundary in bytes that no segment may cross: a power of two, at least 4096. */
  readonly segmentBoundaryBytes: number;
}

/**
 * Hints on using a disk efficiently; all sizes are in bytes. Filesystems align their layout to
 * them. The block layer chooses the values that are left out, or derives them from the block size.
 */
export interface Topology {
  /**
   * The smallest write that needs no read-modify-write, in bytes: a power of two, at least the
   * block size.
   */
  readonly physicalBlockSize?: number;
  /** The smallest efficient request in bytes: a power of two, at least the physical block. */
  readonly ioMinBytes?: number;
  /** The most efficient request in bytes: a power of two, at least the physical block. */
  readonly ioOptBytes?: number;
  /** The disk rotates: sequential access is faster than random access. */
  readonly rotational?: boolean;
  /** The unit in which space is freed, in bytes: a multiple of the block size. */
  readonly discardGranularityBytes?: number;
  /** The start of the first such unit, in bytes from the start of the disk. */
  readonly discardAlignmentBytes?: number;
  /** Alignment of request memory for zero copy, in bytes: a power of two. */
  readonly dmaAlignmentBytes?: number;
}

/** The result of an operation: nothing once it is done, or a Promise that resolves then. */
export type Answer = void | Promise<void>;

/** A part of a disk that is stored in one way. */
export interface Extent {
  /** Its length in bytes, from the place that was asked for: a positive multiple of the block size. */
  readonly length: number;
  /** It takes no space, and reads as zeroes. */
  readonly isHole: boolean;
}

/** One request, as {@linkcode RingMethods} see it. Valid until it is answered. */
export interface RingRequest {
  /** `UBLK_IO_OP_READ`, `_WRITE`, `_FLUSH`, `_DISCARD` or `_WRITE_ZEROES`. */
  readonly op: number;
  /** Bytes from the start of the disk. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** The write must be durable before it is answered. */
  readonly fua: boolean;
  /** The zeroed space may be freed. */
  readonly mayUnmap: boolean;
  /** Bytes of integrity metadata that accompany the data; 0 for none. */
  readonly metadataLength: number;
  /** For the backend's own use between `prepare` and `complete`. 0 when the request arrives. */
  state: number;
}

/**
 * Queues operations for the current request on the serving thread's io_uring. The data path decides
 * where the request's data is (a buffer, the client's pages, shared memory). Operations address the
 * data by a byte position from its start.
 */
export interface RingOperations {
  /** `pread` of `length` bytes from a file to byte `at` of the request's data. */
  read(fd: number, at: number, length: number, offset: number): void;
  /** `pwrite` of `length` bytes to a file from byte `at` of the request's data. */
  write(fd: number, at: number, length: number, offset: number): void;
  /** `pread` of all the request's integrity metadata from a file. */
  readMetadata(fd: number, offset: number): void;
  /** `pwrite` of all the request's integrity metadata to a file. */
  writeMetadata(fd: number, offset: number): void;
  /** `fsync`, or `fdatasync` with `dataOnly`. */
  fsync(fd: number, dataOnly: boolean): void;
  /** `fallocate` with its mode bits. */
  fallocate(fd: number, mode: number, offset: number, length: number): void;
  /** A timer that completes with -ETIME after the given microseconds. */
  timeout(microseconds: number): void;
}

/** Methods of a backend that has the kernel do its I/O, through the serving thread's io_uring. */
export interface RingMethods {
  /**
   * Maximum number of operations that one request has in flight.
   *
   * @default 4
   */
  readonly operations?: number;
  /** The backend stores integrity metadata. */
  readonly metadata?: boolean;
  /**
   * The descriptor of a file that holds the disk byte for byte. A READ or WRITE without FUA and
   * without metadata then becomes one operation at the same offset, without a call of `prepare`. If
   * that operation fails or is short, `prepare` is called as for a new request.
   */
  readonly plainFd?: number;
  /** Use these methods for zero copy only. On other data paths use `readAt` and the others. */
  readonly forZeroCopyOnly?: boolean;
  /**
   * Choose zero copy where the kernel supports it, for instance because the files are open with
   * `O_DIRECT`. On other data paths, the buffers for `plainFd` are registered with the ring if the
   * limits of the process allow it.
   */
  readonly preferZeroCopy?: boolean;
  /**
   * Queues the operations that the request needs, or throws.
   *
   * @returns Nothing if operations were queued. To answer at once without the ring: the bytes done
   *   (0 for a request without data) or a negative errno.
   */
  prepare(request: RingRequest, ring: RingOperations): number | void;
  /**
   * Called when an operation completes, with its result: a number of bytes, 0, or a negative errno.
   * May queue further operations.
   *
   * @returns The answer: bytes done or a negative errno; or nothing, to wait for the operations
   *   still in flight. The request is answered once none is in flight. The first error wins.
   */
  complete(request: RingRequest, result: number, ring: RingOperations): number | void;
}

/** The current condition of a zone. A `conventional` zone has no write pointer. */
export type ZoneCondition =
  | "conventional"
  | "empty"
  | "implicitly-open"
  | "explicitly-open"
  | "closed"
  | "full"
  | "read-only"
  | "offline";

/** A zone in a report. */
export interface Zone {
  /** The current condition. */
  readonly condition: ZoneCondition;
  /** Bytes from the zone's start to its write pointer. A conventional zone has none; give 0. */
  readonly written: number;
}

/**
 * The zones of a zoned disk. A zone must be written sequentially, except a conventional one, which
 * is written like any disk. All zones have the same size and are numbered from 0.
 *
 * The backend keeps the write pointers and conditions, and enforces the rules. A write that is not
 * at the write pointer fails with `EIO`. Opening more than `maxOpen` zones fails with
 * `ETOOMANYREFS`; more than `maxActive` open or closed zones with `EOVERFLOW`. A READ beyond a
 * write pointer must succeed, for instance with zeroes.
 */
export interface ZoneMethods {
  /** Size of a zone in bytes: a power of two, at least 4096, that divides the disk's size. */
  readonly size: number;
  /**
   * Maximum number of open zones; 0 for no limit.
   *
   * @default 0
   */
  readonly maxOpen?: number;
  /**
   * Maximum number of zones that are open or closed; 0 for no limit.
   *
   * @default 0
   */
  readonly maxActive?: number;
  /** Reports exactly `count` zones, starting with zone `first`. All of them exist. */
  report(first: number, count: number): readonly Zone[] | Promise<readonly Zone[]>;
  /** Opens a zone explicitly. */
  open(zone: number): Answer;
  /** Closes an open zone. */
  close(zone: number): Answer;
  /** Finishes a zone: it becomes full. */
  finish(zone: number): Answer;
  /**
   * Writes the whole buffer at the zone's write pointer.
   *
   * @returns The position of the data, in bytes from the start of the disk.
   */
  append(
    buffer: Uint8Array<ArrayBuffer>,
    zone: number,
    options: WriteOptions,
  ): number | Promise<number>;
  /** Empties a zone: its write pointer returns to its start. */
  reset(zone: number): Answer;
  /** Empties all zones that have a write pointer. */
  resetAll(): Answer;
}

/**
 * A disk's contents and the operations on them.
 *
 * Offsets and lengths are in bytes, multiples of {@linkcode blockSize}, and within
 * {@linkcode size}. An operation does all of its work or throws (or rejects): there are no short
 * reads or writes.
 *
 * **Errors** become an errno of the request. A `UblkError` with an `errno`, or any error whose
 * `code` is the name of an errno (as in Deno's own errors), keeps that errno if the block layer
 * passes it on. Any other error becomes EIO.
 *
 * **Buffers are borrowed** until the method returns or its Promise settles. Using one later is a
 * bug, which `serve({ paranoid: true })` detects.
 *
 * **Absent methods** are not advertised to the kernel. For example, the kernel sends no FLUSH to a
 * backend without `flush`, so each of its writes must be final when answered.
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
  /** Size of the disk in bytes: a positive multiple of the block size, at most 2^53 - 1. */
  readonly size: number;
  /**
   * Logical block size in bytes: 512, 1024, 2048 or 4096.
   *
   * @default 512
   */
  readonly blockSize?: number;
  /**
   * The disk is read-only: the kernel refuses writes.
   *
   * @default false
   */
  readonly readOnly?: boolean;
  /**
   * Requirements on the memory of requests.
   *
   * @default Those of the data path
   */
  readonly limits?: RequestLimits;
  /** Hints on using the disk efficiently. */
  readonly topology?: Topology;
  /**
   * `writeAt` honours `fua`. Has an effect only together with `flush`.
   *
   * @default false
   */
  readonly fua?: boolean;
  /**
   * Every method finishes before it returns, without waiting for a timer, socket or other event.
   * The serving thread then blocks in the kernel instead of running an event loop, which is much
   * faster. If such a backend returns a Promise, the request fails.
   *
   * @default false
   */
  readonly synchronous?: boolean;
  /**
   * The contents outlive this process, so another process may recover the device.
   *
   * @default false
   */
  readonly persistent?: boolean;
  /**
   * Address of the disk's contents, if they are `size` bytes of this process's memory. If the
   * kernel offers `NEED_GET_DATA`, it reads and writes that memory directly, and `readAt` and
   * `writeAt` are not called. Only for `synchronous` backends in a Worker.
   */
  readonly address?: number;
  /**
   * Methods of a backend whose contents are in files. The kernel moves the data, by operations on
   * the serving thread's io_uring, and `readAt` and the others are not called. Only for
   * `synchronous` backends in a Worker.
   */
  readonly ring?: RingMethods;
  /**
   * Holds requests and answers any of them at any time, by operations on the serving thread's
   * io_uring. In a Worker it is called instead of `readAt` and the others, and the thread blocks in
   * the kernel; `synchronous` is then about the methods alone. They serve everybody else: wrappers,
   * a program that has the backend as an object, tests. The methods also say what the disk can do:
   * without `flush`, for instance, no FLUSH comes. Excludes `ring`, `address` and `zones`, and has
   * no integrity metadata.
   */
  readonly engine?: Engine;
  /** The zones, which make the disk a zoned one. Excludes `resize`. */
  readonly zones?: ZoneMethods;
  /**
   * Counters of its own, which `ublk stats`, `ublk top` and metrics show: those of the first thread,
   * if several have the backend open. Wrappers pass them on.
   *
   * @default None
   */
  readonly counters?: BackendCounters;
  /**
   * Lines about how it was opened that whoever serves it should read: they are logged as warnings,
   * and `ublk add` prints them. Those of the first thread, if several have the backend open. Wrappers
   * pass them on.
   *
   * @default None
   */
  readonly warnings?: readonly string[];

  /** Fills the whole buffer with the data at `offset`. */
  readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer;
  /** Writes the whole buffer at `offset`. */
  writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number, options: WriteOptions): Answer;
  /**
   * Makes every answered write durable, whichever queue it came through. After a failure, it may
   * succeed again only if no write was lost.
   */
  flush?(): Answer;
  /** Discards a range. Until it is written again, reads of it may return anything. */
  trim?(offset: number, length: number): Answer;
  /** Zeroes a range: reads of it return zeroes from now on. */
  writeZeroes?(offset: number, length: number, options: WriteZeroesOptions): Answer;
  /**
   * Says how the disk is stored at `offset`, for copies that leave out holes. The extent may end
   * before the next one begins, and must not be longer than `length`. Without this method all is data.
   */
  extentAt?(offset: number, length: number): Extent | Promise<Extent>;
  /** Fills the buffer with the integrity metadata of the blocks whose data begins at `offset`. */
  readMetadata?(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer;
  /** Stores the integrity metadata of the blocks whose data begins at `offset`. */
  writeMetadata?(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer;
  /**
   * Changes the size, in bytes. Called in every thread that has the backend open, before the disk
   * grows or after it has shrunk. If the disk fails to grow, every thread calls it once more with
   * the old size, even a thread where it threw.
   */
  resize?(size: number): Answer;
  /**
   * Called before a tag is handed to the kernel; all tags before it have been. For fault injection.
   */
  beforeFetch?(queue: number, tag: number): void;
  /**
   * Releases what `open` acquired. Called once, after the last operation was answered; an operation
   * that missed its deadline may still be running. The time limit is that of a request. Errors are
   * logged.
   */
  close?(): Answer;
}

/** The sharing of a backend between threads. */
export type Sharing =
  /** One thread owns the backend and serves all queues, so its JavaScript state is in one place. */
  | "single"
  /** Each queue's thread opens a backend of its own. They share state by other means, if at all. */
  | "per-queue";

/** The context of `open`, passed after its options. */
export interface OpenContext {
  /** The first of the queues that this thread serves. */
  readonly queue: number;
  /** The value that the module's `share` returned; the same in every thread. */
  readonly shared: unknown;
  /** The open backends that this one wraps, in the order of the specification. */
  readonly inner: readonly Backend[];
  /**
   * Promise-based file I/O through io_uring instead of Deno's thread pool, for backends that are
   * not `synchronous`. It works from `open` until `close` has finished; operations still in flight
   * are then cancelled. A program that serves a backend object makes its own with `ringFiles()`.
   */
  readonly ring: RingFiles;
  /**
   * The device already exists and has users, so its contents must exist too. Do not create them
   * afresh.
   */
  readonly recovering: boolean;
  /**
   * Block size in bytes of the device being recovered; undefined for a new device. Its users rely
   * on this size, so a backend that chooses its own block size should choose this one if it can.
   */
  readonly deviceBlockSize?: number;
  /**
   * The time that requests have, in milliseconds: the device's deadline. A backend that waits for
   * something answers before that, with an error that says more than that time is up.
   *
   * @default Nobody has said so: the disk is no device
   */
  readonly deadlineMs?: number;
}

/** The context of `share`, passed after its options. */
export interface ShareContext extends Pick<OpenContext, "recovering" | "deviceBlockSize"> {
  /**
   * Claims a file for the disk; call it before opening the file. It throws if the disk uses the
   * file already, even under another name.
   */
  readonly claim: Claim;
}

/** The exports of a backend module. */
export interface BackendModule {
  /**
   * Whether one thread or one thread per queue opens the backend.
   *
   * @default "single"
   */
  readonly sharing?: Sharing;
  /** Opens the backend in the thread that will serve it. */
  open(options: unknown, context: OpenContext): Backend | Promise<Backend>;
  /**
   * Makes the state that the threads of a `per-queue` backend share. Called once, in the first
   * thread, before any `open`. The value must survive `structuredClone`.
   */
  share?(options: unknown, context: ShareContext): unknown | Promise<unknown>;
  /** Releases the value of `share`. Called once, after every thread's `close`. */
  unshare?(shared: unknown): Answer;
}
