/**
 * Requests to a disk in files, as operations of the serving thread's ring: the common part of `loop`
 * and `stripe`.
 *
 * A request goes through phases, one after the other, and a phase may have several operations in
 * flight. A completion does not say which operation it belongs to, and need not: the phase succeeds
 * if the bytes add up at its end. If they do not, an operation was short (a signal, the end of a file
 * that has shrunk). The phase is then done again carefully: one operation at a time, each continuing
 * where the last one stopped.
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
/** Only metadata, in the careful mode. */
const METADATA = 1;
/** Making a range of each file read as zeroes, or allocating space for it. */
const FALLOCATE = 2;
/** Making written data durable. */
const SYNC = 3;

/** The progress of a request. Made once, and used by one request after the other. */
class RequestProgress {
  /** One of the phases above. */
  phase = TRANSFER;
  /** The mode of {@linkcode FALLOCATE}. */
  mode = PUNCH;
  /** The next part to queue: a byte of the request, or the index of a file. */
  cursor = 0;
  /** Operations in flight. */
  pending = 0;
  /** Bytes done in this phase. */
  done = 0;
  /** One operation at a time, because an operation of the first attempt was short. */
  careful = false;
  /** The answer is an error, and the request waits for operations in flight. */
  failed = false;
}

/** The file of the integrity metadata. */
export interface MetadataFile {
  /** The open file. */
  readonly fd: number;
  /** Bytes per block. */
  readonly bytesPerBlock: number;
  /** Bytes of data per block. */
  readonly blockSize: number;
}

/** The files that {@linkcode FileRequests} work on. */
export interface RequestFiles {
  /** The open files, in the order of the layout. */
  readonly fds: readonly number[];
  /** The place of the disk's bytes in the files. */
  readonly layout: StripeLayout;
  /** Whether they are open with `O_DIRECT`. */
  readonly direct: boolean;
  /** The metadata file, if there is one. */
  readonly metadata?: MetadataFile;
  /**
   * Memory of the {@linkcode LostWrites} of all threads that have the files open.
   *
   * @default A note of its own
   */
  readonly lost?: SharedArrayBuffer;
}

/** The maximum number of data operations that one request has in flight. */
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
  readonly #progress: RequestProgress[] = [];
  /** Indices of the unused ones. */
  readonly #free: number[] = [];
  readonly #zeroing = new Zeroing();
  readonly #lost: LostWrites;

  /** Makes the methods; the caller still owns the files. */
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
    // The fast path would leave the metadata unchanged, which then belongs to another write.
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
   * Marks the metadata of a range as nothing to check, for zeroes and for new data without metadata:
   * beside the old data's metadata they would read as EILSEQ. This happens before the data changes,
   * so that the data stays readable if a later step fails or never runs. It uses a blocking call,
   * because the bytes are not in the request's memory, and the file is in the page cache.
   */
  #forgetMetadata({ offset, length }: RingRequest, file: MetadataFile): void {
    const { fd, bytesPerBlock, blockSize } = file;
    const start = offset / blockSize * bytesPerBlock;
    writeUnchecked(fd, start, start + length / blockSize * bytesPerBlock);
  }

  #account(request: RingRequest): RequestProgress {
    if (this.#free.length === 0) this.#free.push(this.#progress.push(new RequestProgress()) - 1);
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
      // A flush goes on: data in the other files must become durable too. A cancelled flush does
      // not, because the ring may no longer exist.
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

  /** Handles an operation's result. Returns 0, or the negative errno of the request. */
  #taken(request: RingRequest, progress: RequestProgress, result: number): number {
    if (result < 0) return this.#forgiven(progress, result);
    if (progress.phase === METADATA) return result === request.metadataLength ? 0 : -EIO;
    if (progress.phase !== TRANSFER) return 0;
    progress.done += result;
    if (!progress.careful) return 0;
    // The file has shrunk, and ends before the disk does.
    if (result === 0) return -EIO;
    // The file ends inside a block, from where direct I/O cannot continue.
    if (this.#direct && progress.done % 512 !== 0) return -EIO;
    progress.cursor = progress.done;
    return 0;
  }

  #forgiven(progress: RequestProgress, result: number): number {
    if (result === -EINTR && progress.phase === TRANSFER) {
      if (progress.careful) progress.cursor = progress.done;
      return 0;
    }
    const { phase, mode } = progress;
    return phase === FALLOCATE && this.#zeroing.forgives(mode, result) ? 0 : result;
  }

  /** Ends a phase. Returns the answer, or nothing if another phase follows. */
  #nextPhase(request: RingRequest, progress: RequestProgress, ring: RingOperations): number | void {
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

  #begin(
    request: RingRequest,
    progress: RequestProgress,
    phase: number,
    ring: RingOperations,
  ): void {
    progress.phase = phase;
    progress.cursor = 0;
    progress.done = 0;
    this.#queue(request, progress, ring);
  }

  /** Queues as many operations of the phase as may be in flight. */
  #queue(request: RingRequest, progress: RequestProgress, ring: RingOperations): void {
    const { phase } = progress;
    if (phase === TRANSFER) return this.#queueTransfers(request, progress, ring);
    if (phase !== METADATA) return this.#queuePerFile(request, progress, ring);
    if (progress.cursor > 0) return;
    this.#queueMetadata(request, ring);
    progress.cursor = 1;
    progress.pending++;
  }

  #queueTransfers(request: RingRequest, progress: RequestProgress, ring: RingOperations): void {
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

  #queuePerFile(request: RingRequest, progress: RequestProgress, ring: RingOperations): void {
    const layout = this.#layout;
    while (progress.pending < this.#width && progress.cursor < layout.files) {
      const file = progress.cursor++;
      const start = layout.bytesBefore(file, request.offset);
      const bytes = layout.bytesBefore(file, request.offset + request.length) - start;
      // A flush concerns every file; all other requests only files with a part of the range.
      if (bytes === 0 && request.op !== UBLK_IO_OP_FLUSH) continue;
      const fd = this.#fds[file];
      if (progress.phase === SYNC) ring.fsync(fd, true);
      else ring.fallocate(fd, progress.mode, start, bytes);
      progress.pending++;
    }
    // The metadata last. Without this sync, a loss of power left new data beside old metadata.
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

/** Whether a request changes data without bringing metadata for it. */
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

/** Whether a range's space may be freed. A discard always may. */
function mayUnmap(request: RingRequest): boolean {
  return request.op === UBLK_IO_OP_DISCARD || request.mayUnmap;
}
