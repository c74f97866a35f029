/**
 * Requests to a disk that is in files, as operations of the serving thread's ring: what `loop` and
 * `stripe` have in common.
 *
 * A request goes through phases, one after the other, and a phase has some operations under way at
 * a time. Which of them a completion belongs to cannot be seen and need not be: as long as the
 * bytes add up at the end of the phase all is well. Where they do not, something was read or
 * written short (a signal, the end of a file that has shrunk), and the phase is done again
 * carefully: one operation at a time, each of which goes on where the last one stopped.
 *
 * @module
 */

import { ECANCELED, EINTR, EIO, EOPNOTSUPP } from "../uapi/errno.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import type { RingMethods, RingOperations, RingRequest } from "../disk/backend.ts";
import { LostWrites } from "./lost_writes.ts";
import type { StripeLayout } from "./stripe_layout.ts";
import { writeUnchecked } from "./unchecked.ts";
import { DONE, PUNCH, Zeroing } from "./zeroing.ts";

/** Data, and metadata with it. */
const TRANSFER = 0;
/** Metadata alone, when it is done carefully. */
const METADATA = 1;
/** A range of each file made to read as zeroes, or given space. */
const FALLOCATE = 2;
/** What was written made durable. */
const SYNC = 3;

/** How far a request has come. Made once, used by one request after the other. */
class Progress {
  /** One of the phases above. */
  phase = TRANSFER;
  /** Of {@linkcode FALLOCATE}. */
  mode = PUNCH;
  /** What is to be queued next: a byte of the request, or the index of a file. */
  cursor = 0;
  /** Operations under way. */
  pending = 0;
  /** Bytes done in this phase. */
  done = 0;
  /** One operation at a time, since not all at a time came to too little. */
  careful = false;
  /** It has its answer, an error, and waits for what is still under way. */
  failed = false;
}

/** Where the integrity metadata is. */
export interface MetadataFile {
  /** The open file. */
  readonly fd: number;
  /** Bytes per block. */
  readonly bytesPerBlock: number;
  /** Bytes of the block to which they belong. */
  readonly blockSize: number;
}

/** What {@linkcode FileRequests} work on. */
export interface RequestFiles {
  /** The open files, in the order of the layout. */
  readonly fds: readonly number[];
  /** What of the disk is where. */
  readonly layout: StripeLayout;
  /** They are open with `O_DIRECT`. */
  readonly direct: boolean;
  /** Where the metadata is, if there is any. */
  readonly metadata?: MetadataFile;
  /** Memory of the {@linkcode LostWrites} that all who have the files open share. Default: its own. */
  readonly lost?: SharedArrayBuffer;
}

/** The most operations on data that one request has under way. */
const WIDTH = 8;

/** The ring methods of a disk in files. */
export class FileRequests implements RingMethods {
  readonly operations: number;
  readonly metadata: boolean;
  readonly preferZeroCopy: boolean;
  readonly plainFd: number | undefined;

  readonly #fds: readonly number[];
  readonly #layout: StripeLayout;
  readonly #direct: boolean;
  readonly #metadata: MetadataFile | undefined;
  readonly #width: number;
  /** By `request.state - 1`. */
  readonly #progress: Progress[] = [];
  /** Which of them no request has. */
  readonly #free: number[] = [];
  readonly #zeroing = new Zeroing();
  readonly #lost: LostWrites;

  /** The files stay the caller's. */
  constructor(files: RequestFiles) {
    this.#fds = files.fds;
    this.#layout = files.layout;
    this.#direct = files.direct;
    this.#metadata = files.metadata;
    this.#lost = new LostWrites(files.lost);
    this.#width = files.fds.length === 1 ? 1 : WIDTH;
    this.operations = this.#width + (files.metadata === undefined ? 0 : 1);
    this.metadata = files.metadata !== undefined;
    this.preferZeroCopy = files.direct;
    // What is queued without asking leaves the metadata as it is, which then is another write's.
    const isPlain = files.fds.length === 1 && files.metadata === undefined;
    this.plainFd = isPlain ? files.fds[0] : undefined;
  }

  prepare(request: RingRequest, ring: RingOperations): number | void {
    const phase = firstPhase(request.op);
    if (phase < 0) return -EOPNOTSUPP;
    if (phase === SYNC && this.#lost.noted) return -EIO;
    if (this.#metadata !== undefined && changesDataAlone(request)) {
      this.#forgetMetadata(request, this.#metadata);
    }
    const progress = this.#account(request);
    if (phase === FALLOCATE) progress.mode = this.#zeroing.first(mayUnmap(request));
    this.#begin(request, progress, phase, ring);
    if (phase === TRANSFER && request.metadataLength > 0) {
      this.#queueMetadata(request, ring);
      progress.pending++;
    }
  }

  /**
   * New data without metadata, and zeroes, have nothing to check: beside what belonged to the old
   * data they read as EILSEQ. It is done before the data is touched, so that whatever fails on the
   * way, or ends there, leaves data that can be read. By a call, since it is no memory of the
   * request's that is written, and what it writes to is a page cache.
   */
  #forgetMetadata({ offset, length }: RingRequest, file: MetadataFile): void {
    const { fd, bytesPerBlock, blockSize } = file;
    const start = offset / blockSize * bytesPerBlock;
    writeUnchecked(fd, start, start + length / blockSize * bytesPerBlock);
  }

  #account(request: RingRequest): Progress {
    if (this.#free.length === 0) this.#free.push(this.#progress.push(new Progress()) - 1);
    const index = this.#free.pop()!;
    request.state = index + 1;
    const progress = this.#progress[index];
    progress.pending = 0;
    progress.careful = false;
    progress.failed = false;
    return progress;
  }

  complete(request: RingRequest, result: number, ring: RingOperations): number | void {
    const progress = this.#progress[request.state - 1];
    progress.pending--;
    if (progress.phase === SYNC) this.#lost.note(result);
    const error = progress.failed ? 0 : this.#taken(request, progress, result);
    if (error < 0 || progress.failed) {
      progress.failed = true;
      // A flush goes on: what was written to the other files is to be durable too. Not where it is
      // cancelled, since then there may be no ring any more.
      if (progress.phase === SYNC && result !== -ECANCELED) this.#queue(request, progress, ring);
      if (progress.pending === 0) this.#release(request);
      return error < 0 ? error : undefined;
    }
    this.#queue(request, progress, ring);
    if (progress.pending > 0) return;
    const answer = this.#nextPhase(request, progress, ring);
    if (answer !== undefined) this.#release(request);
    return answer;
  }

  #release(request: RingRequest): void {
    this.#free.push(request.state - 1);
    request.state = 0;
  }

  /** Takes an operation's result: 0, or a negative errno that is the request's. */
  #taken(request: RingRequest, progress: Progress, result: number): number {
    if (result < 0) return this.#forgiven(progress, result);
    if (progress.phase === METADATA) return result === request.metadataLength ? 0 : -EIO;
    if (progress.phase !== TRANSFER) return 0;
    progress.done += result;
    if (!progress.careful) return 0;
    // The file ends before the disk does: it has shrunk.
    if (result === 0) return -EIO;
    // As much as there was up to an end amid a block, from where nothing direct can go on.
    if (this.#direct && progress.done % 512 !== 0) return -EIO;
    progress.cursor = progress.done;
    return 0;
  }

  #forgiven(progress: Progress, result: number): number {
    if (result === -EINTR && progress.phase === TRANSFER) {
      if (progress.careful) progress.cursor = progress.done;
      return 0;
    }
    const { phase, mode } = progress;
    return phase === FALLOCATE && this.#zeroing.forgives(mode, result) ? 0 : result;
  }

  /** All operations of a phase are done: the answer, or nothing where another phase follows. */
  #nextPhase(request: RingRequest, progress: Progress, ring: RingOperations): number | void {
    const { op, length } = request;
    switch (progress.phase) {
      case TRANSFER: {
        const metadata = progress.careful ? 0 : request.metadataLength;
        if (progress.done !== length + metadata) {
          progress.careful = true;
          return this.#begin(request, progress, metadata > 0 ? METADATA : TRANSFER, ring);
        }
        const sync = request.fua && op === UBLK_IO_OP_WRITE;
        if (!sync) return length;
        if (this.#lost.noted) return -EIO;
        return this.#begin(request, progress, SYNC, ring);
      }
      case METADATA:
        return this.#begin(request, progress, TRANSFER, ring);
      case FALLOCATE:
        progress.mode = this.#zeroing.next(progress.mode, mayUnmap(request));
        if (progress.mode === DONE) return 0;
        return this.#begin(request, progress, FALLOCATE, ring);
      case SYNC:
        if (this.#lost.noted) return -EIO;
        return op === UBLK_IO_OP_WRITE ? length : 0;
    }
    return 0;
  }

  #begin(request: RingRequest, progress: Progress, phase: number, ring: RingOperations): void {
    progress.phase = phase;
    progress.cursor = 0;
    progress.done = 0;
    this.#queue(request, progress, ring);
  }

  /** Queues as much of the phase as may be under way. */
  #queue(request: RingRequest, progress: Progress, ring: RingOperations): void {
    const { phase } = progress;
    if (phase === TRANSFER) return this.#queueTransfers(request, progress, ring);
    if (phase !== METADATA) return this.#queuePerFile(request, progress, ring);
    if (progress.cursor > 0) return;
    this.#queueMetadata(request, ring);
    progress.cursor = 1;
    progress.pending++;
  }

  #queueTransfers(request: RingRequest, progress: Progress, ring: RingOperations): void {
    const layout = this.#layout;
    const { op, length } = request;
    const most = progress.careful ? 1 : this.#width;
    while (progress.pending < most && progress.cursor < length) {
      const at = progress.cursor;
      const offset = request.offset + at;
      const bytes = layout.pieceBytes(offset, length - at);
      const fd = this.#fds[layout.fileOf(offset)];
      if (op === UBLK_IO_OP_READ) ring.read(fd, at, bytes, layout.fileOffset(offset));
      else ring.write(fd, at, bytes, layout.fileOffset(offset));
      progress.cursor = at + bytes;
      progress.pending++;
    }
  }

  #queuePerFile(request: RingRequest, progress: Progress, ring: RingOperations): void {
    const layout = this.#layout;
    while (progress.pending < this.#width && progress.cursor < layout.files) {
      const file = progress.cursor++;
      const start = layout.bytesBefore(file, request.offset);
      const bytes = layout.bytesBefore(file, request.offset + request.length) - start;
      // A flush is for every file, whatever its range says; all else for those that have a part.
      if (bytes === 0 && request.op !== UBLK_IO_OP_FLUSH) continue;
      const fd = this.#fds[file];
      if (progress.phase === SYNC) ring.fsync(fd, true);
      else ring.fallocate(fd, progress.mode, start, bytes);
      progress.pending++;
    }
    // Last the metadata: without it a loss of power left new data beside old metadata.
    if (progress.phase !== SYNC || progress.cursor !== layout.files) return;
    if (this.#metadata === undefined) return;
    progress.cursor++;
    ring.fsync(this.#metadata.fd, true);
    progress.pending++;
  }

  #queueMetadata(request: RingRequest, ring: RingOperations): void {
    const { fd, bytesPerBlock, blockSize } = this.#metadata!;
    const offset = request.offset / blockSize * bytesPerBlock;
    if (request.op === UBLK_IO_OP_READ) ring.readMetadata(fd, offset);
    else ring.writeMetadata(fd, offset);
  }
}

/** Whether a request changes data and brings no metadata for it. */
function changesDataAlone({ op, metadataLength }: RingRequest): boolean {
  return op === UBLK_IO_OP_DISCARD || op === UBLK_IO_OP_WRITE_ZEROES ||
    op === UBLK_IO_OP_WRITE && metadataLength === 0;
}

function firstPhase(op: number): number {
  switch (op) {
    case UBLK_IO_OP_READ:
    case UBLK_IO_OP_WRITE:
      return TRANSFER;
    case UBLK_IO_OP_FLUSH:
      return SYNC;
    case UBLK_IO_OP_DISCARD:
    case UBLK_IO_OP_WRITE_ZEROES:
      return FALLOCATE;
  }
  return -1;
}

/** Whether a range's space may be given back: what is discarded always. */
function mayUnmap(request: RingRequest): boolean {
  return request.op === UBLK_IO_OP_DISCARD || request.mayUnmap;
}
