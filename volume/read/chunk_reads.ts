/**
 * The interface through which a reader gets what is in chunks. It is implemented by chunks that are
 * files of this machine, which are read in place (`file_chunks.ts`), and by those that are fetched
 * from a store that is elsewhere (`cached_chunks.ts`).
 *
 * @module
 */

import type { EngineHost } from "../../disk/engine.ts";
import type { Maps } from "../maps.ts";
import type { Pieces } from "./pieces.ts";

/** The reader, as those who read for it see it. */
export interface PieceOwner {
  /** The pieces. */
  readonly pieces: Pieces;
  /** The serving thread. */
  readonly host: EngineHost;
  /** Where the newest data of blocks is. */
  readonly maps: Maps;
  /** Reads what has not come of a piece from its descriptor. {@linkcode ChunkReads.came} follows. */
  send(piece: number): void;
  /** Notes that a piece cannot be had, and tells why; without words that was told. */
  fail(piece: number, words?: string): void;
  /** A piece is over. Not to be called within {@linkcode ChunkReads.read} or `came`. */
  ended(piece: number): void;
}

/** Reads from chunks. All methods but `start` are for the engine's thread in the midst of its work. */
export interface ChunkReads extends Disposable {
  /** Most operations under way at once, besides one for each piece. */
  readonly operations: number;
  /** Chunks that are open. */
  readonly open?: number;
  /** Called once, before anything else. */
  start(owner: PieceOwner): void;
  /** Most blocks from a chunk's nth on that one piece may have. */
  most(nth: number): number;
  /** Begins to read a piece. @returns Whether it is over already. */
  read(piece: number): boolean;
  /** A piece that was sent has come; not whole if there was an error. @returns Whether it is over. */
  came(piece: number, result: number): boolean;
  /** A request reads blocks of the disk: those after them may be next. */
  saw?(block: number, count: number): void;
  /** An operation of its own has completed. */
  done?(token: number, result: number): void;
  /** The batch has ended. */
  batchEnd?(): void;
  /** Another thread has signalled. */
  woken?(): void;
  /**
   * Ends pieces that wait for another thread.
   *
   * @param isOverdue Whether those of a request are to end. @default All are
   */
  giveUp?(isOverdue?: (request: number) => boolean): void;
}
