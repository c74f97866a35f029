/**
 * An engine that only reads: what a store has, and what a journal has beyond that.
 *
 * @module
 */

import type { Engine, EngineHost } from "../disk/engine.ts";
import { EROFS } from "../uapi/errno.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ } from "../uapi/ublk_io.ts";
import type { JournalSeals } from "./journal/seals.ts";
import { Requests } from "./journal/requests.ts";
import type { Maps } from "./maps.ts";
import type { ChunkReads } from "./read/chunk_reads.ts";
import { MAX_PIECES, Reader } from "./read/reader.ts";
import { AT, type VolumeCounters } from "./counters.ts";
import { kindOf, nthOfToken, READ } from "./tokens.ts";

/** The parts of a {@linkcode ReadOnlyEngine}. */
export interface ReadOnlyParts {
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Bytes of the journal's segments; any number without a journal. */
  readonly segmentSize: number;
  /** Descriptors of the journal's files; none without a journal. */
  readonly fds: readonly number[];
  /** Of each file of the journal, the sums of its blocks. */
  readonly sums: readonly Uint32Array<ArrayBuffer>[];
  /** What opens these blocks; undefined for a volume that is not encrypted. */
  readonly seals?: JournalSeals;
  /** The journal in words, for errors; any without a journal. */
  readonly words: string;
  /** Where everything is. */
  readonly maps: Maps;
  /** Reads what is in chunks. */
  readonly chunks: ChunkReads;
  /** The volume's counters. */
  readonly counters: VolumeCounters;
  /**
   * The eventfd that tells that something has come for {@linkcode chunks}.
   *
   * @default None: they need no other thread
   */
  readonly wakeFd?: number;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
}

/** Reads, and refuses everything that changes something. */
export class ReadOnlyEngine implements Engine {
  readonly operations: number;
  readonly wakeFd: number | undefined;
  readonly #parts: ReadOnlyParts;
  #host!: EngineHost;
  #requests!: Requests;
  #reader!: Reader;

  /** Takes over the parts. */
  constructor(parts: ReadOnlyParts) {
    this.#parts = parts;
    this.wakeFd = parts.wakeFd;
    this.operations = MAX_PIECES + parts.chunks.operations;
  }

  start(host: EngineHost): void {
    this.#host = host;
    this.#requests = new Requests(host);
    this.#reader = new Reader({
      ...{ ...this.#parts, batches: [], requests: this.#requests },
      pieces: MAX_PIECES,
      onDamage: this.#parts.report,
    });
    this.#reader.start(host);
  }

  request(request: number): void {
    const op = this.#host.op(request);
    this.#requests.begin(request, false);
    if (op === UBLK_IO_OP_READ) this.#reader.read(request);
    else this.#requests.answer(request, op === UBLK_IO_OP_FLUSH ? 0 : -EROFS);
  }

  done(token: number, result: number): void {
    if (kindOf(token) === READ) this.#reader.came(nthOfToken(token), result);
    else this.#parts.chunks.done?.(token, result);
  }

  batchEnd(): void {
    const { chunks, counters } = this.#parts;
    chunks.batchEnd?.();
    counters.set(AT.openChunks, chunks.open ?? 0);
  }

  woken(): void {
    this.#parts.chunks.woken?.();
  }

  giveUp(isOverdue?: (request: number) => boolean): void {
    this.#parts.chunks.giveUp?.(isOverdue);
  }

  /** Closes the chunks that are open. */
  close(): void {
    this.#parts.chunks[Symbol.dispose]();
  }
}
