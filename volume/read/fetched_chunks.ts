/**
 * Chunks of a store that has no files on this machine: they are fetched whole, and kept in memory as
 * long as they are among those that were read last (`chunk_files.ts`).
 *
 * @module
 */

import { isTransient, retried } from "../../store/retry.ts";
import type { Store } from "../../store/store.ts";
import { isUblkError, thrownText, UblkError } from "../../uapi/error.ts";
import { chunkInMemory } from "../attach.ts";
import type { ObjectNames } from "../names.ts";
import type { OpenChunk } from "./chunk_files.ts";

/** How long a chunk that cannot be fetched is tried again before its reads fail, in milliseconds. */
const PATIENCE_MS = 10_000;

/** The parts of {@linkcode FetchedChunks}. */
export interface FetchedChunksParts {
  /** The store. */
  readonly store: Store;
  /** The names of the volume's objects. */
  readonly names: ObjectNames;
  /** The volume's UUID. */
  readonly volume: string;
  /** Chunks have come: the engine may go on. */
  readonly came: () => void;
}

/** Fetches chunks. */
export class FetchedChunks {
  readonly #parts: FetchedChunksParts;
  /** Chunks that have come, or why they have not, until they are taken. */
  readonly #here = new Map<number, Uint8Array<ArrayBuffer> | UblkError>();
  readonly #underWay = new Map<number, Promise<void>>();
  /** Nobody waits for chunks any more. */
  #isOver = false;

  /** Takes over the parts. */
  constructor(parts: FetchedChunksParts) {
    this.#parts = parts;
  }

  /** Takes a chunk that has come, or begins to fetch it. */
  readonly open: OpenChunk = (chunk) => {
    const { names, volume } = this.#parts;
    const found = this.#here.get(chunk);
    if (found === undefined) {
      if (!this.#underWay.has(chunk)) this.#underWay.set(chunk, this.#fetch(chunk));
      return undefined;
    }
    this.#here.delete(chunk);
    if (isUblkError(found)) throw found;
    return chunkInMemory(found, names.chunk(chunk), volume, chunk);
  };

  /** Tries nothing again any more, and resolves once nothing is under way. */
  async idle(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#underWay.values());
  }

  async #fetch(chunk: number): Promise<void> {
    // The engine is at work: it goes on later, whatever happens.
    await undefined;
    const { names, store, came } = this.#parts;
    const name = names.chunk(chunk);
    try {
      const found = await retried(() => store.get(name), {
        withinMs: PATIENCE_MS,
        mayPass: (error) => !this.#isOver && isTransient(error),
      });
      this.#here.set(
        chunk,
        found?.bytes ?? failed(name, "VOLUME_DAMAGED", "it is missing, and the map names it"),
      );
    } catch (error) {
      this.#here.set(chunk, failed(name, "VOLUME_STORE", thrownText(error), error));
    }
    this.#underWay.delete(chunk);
    came();
  }
}

function failed(
  operation: string,
  code: "VOLUME_DAMAGED" | "VOLUME_STORE",
  reason: string,
  cause?: unknown,
): UblkError {
  return new UblkError(code, { operation, reason, cause });
}
