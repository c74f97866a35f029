/**
 * An engine that only reads: what a store has, and what a journal has beyond that.
 *
 * @module
 */

import type { Engine, EngineHost } from "../disk/engine.ts";
import { EROFS } from "../uapi/errno.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ } from "../uapi/ublk_io.ts";
import { Requests } from "./journal/requests.ts";
import type { Maps } from "./maps.ts";
import { ChunkFiles, type OpenChunk } from "./read/chunk_files.ts";
import { MAX_PIECES, Reader } from "./read/reader.ts";
import { AT, type VolumeCounters } from "./counters.ts";
import { KIND_BITS } from "./tokens.ts";

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
  /** Where everything is. */
  readonly maps: Maps;
  /** Opens a chunk for reading. */
  readonly openChunk: OpenChunk;
  /** Most open chunks. */
  readonly openChunks: number;
  /** What the volume counts. */
  readonly counters: VolumeCounters;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
}

/** Reads, and refuses everything that changes something. */
export class ReadOnlyEngine implements Engine {
  readonly operations: number = MAX_PIECES;
  readonly #parts: ReadOnlyParts;
  readonly #chunks: ChunkFiles;
  #host!: EngineHost;
  #requests!: Requests;
  #reader!: Reader;

  /** Takes over the parts. */
  constructor(parts: ReadOnlyParts) {
    this.#parts = parts;
    this.#chunks = new ChunkFiles(parts.openChunk, parts.openChunks);
  }

  start(host: EngineHost): void {
    this.#host = host;
    this.#requests = new Requests(host);
    this.#reader = new Reader({
      ...{ ...this.#parts, batches: [], chunks: this.#chunks, requests: this.#requests },
      pieces: MAX_PIECES,
      onDamage: (words) => {
        this.#parts.counters.add(AT.damagedReads, 1);
        this.#parts.report(words);
      },
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
    // All operations are reads.
    this.#reader.came(token >>> KIND_BITS, result);
  }

  batchEnd(): void {
    this.#parts.counters.set(AT.openChunks, this.#chunks.size);
  }

  /** Goes on with reads that wait for chunks: some have come. */
  chunksCame(): void {
    this.#reader.chunksCame();
  }

  giveUp(): void {
    this.#reader.giveUp();
  }

  /** Closes the chunks that are open. */
  close(): void {
    this.#chunks[Symbol.dispose]();
  }
}
