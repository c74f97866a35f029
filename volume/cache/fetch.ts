/**
 * Fetches what an engine asks for on a board. A store that is away is tried again, less and less
 * often, for a while. Then those who still wait ask again, with one fetch for all of them.
 *
 * @module
 */

import { Backoff, isTransient } from "../../store/retry.ts";
import { type Store, type StoredObject, StoreError } from "../../store/store.ts";
import { thrownText } from "../../uapi/error.ts";
import type { Owner } from "../owners.ts";
import {
  AWAY,
  CAME,
  CORRUPT,
  FAILED,
  type FetchBoard,
  type FetchOrder,
  MISSING,
} from "./fetch_board.ts";

/**
 * How long a fetch is tried, in milliseconds. Then whoever still waits asks again; if nobody does, the
 * store is left alone.
 */
const TRY_MS = 20_000;
/**
 * How long nothing may come, in milliseconds. Once a whole call had that long: on a line that was slow or
 * busy its bytes were dropped and fetched again, until reads failed.
 */
const SILENCE_MS = 8_000;
/** Shorter pauses than the drain makes: a reader waits. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

/** Time, as a fetch needs it. */
export interface FetchTime {
  /** A monotonic clock in milliseconds. */
  clock(): number;
  /** A number from 0 to 1. */
  random(): number;
  /** Sleeps for so many milliseconds, or until the signal. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** The machine's time. */
export const MACHINE_TIME: FetchTime = {
  clock: () => performance.now(),
  random: Math.random,
  sleep(ms, signal) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", done);
    });
  },
};

/** The parts of {@linkcode Fetches}. */
export interface FetchesParts {
  /** The board. */
  readonly board: FetchBoard;
  /** The memory in which lines lie. */
  readonly memory: Uint8Array<ArrayBuffer>;
  /** Bytes of a line. */
  readonly line: number;
  /** The store. */
  readonly store: Pick<Store, "get">;
  /** The owner of a chunk. */
  readonly ownerOf: (chunk: number) => Owner;
  /** Time. */
  readonly time: FetchTime;
  /**
   * How long nothing may come, in milliseconds.
   *
   * @default 8_000
   */
  readonly silenceMs?: number;
  /** Something has ended, or is to be logged: the engine shall look. */
  readonly signal: () => void;
}

/** Fetches. */
export class Fetches {
  readonly #parts: FetchesParts;
  readonly #stop = new AbortController();
  #hasTold = false;

  /** Takes over the parts. */
  constructor(parts: FetchesParts) {
    this.#parts = parts;
  }

  /** Begins all that was asked for. */
  begin(): void {
    const { board } = this.#parts;
    for (let fetch = board.take(); fetch >= 0; fetch = board.take()) void this.#run(fetch);
  }

  /**
   * Ends what is under way: from now on neither board nor memory is touched, and nobody is signalled,
   * even if a call of the store never ends.
   */
  stop(): void {
    this.#stop.abort();
  }

  async #run(fetch: number): Promise<void> {
    const { board, signal } = this.#parts;
    const order = board.order(fetch);
    try {
      await this.#fetch(fetch, order);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      // A mistake of ours, which must not leave a reader without an answer.
      board.end(fetch, FAILED, 0, thrownText(error));
    }
    signal();
  }

  async #fetch(fetch: number, order: FetchOrder): Promise<void> {
    const { board, ownerOf, time } = this.#parts;
    const name = ownerOf(order.chunk).names.chunk(order.chunk);
    const end = time.clock() + TRY_MS;
    const backoff = new Backoff(time.random, FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
    for (;;) {
      try {
        const found = await this.#get(name, order);
        this.#hasTold = false;
        if (found === undefined) {
          return board.end(fetch, MISSING, 0, `${name} is missing, and the map names it`);
        }
        const right = order.mayEnd ? Math.min(order.bytes, found.size - order.offset) : order.bytes;
        const { length } = found.bytes;
        if (length !== right) {
          return board.end(fetch, CORRUPT, 0, `${name}: ${length} bytes came, and not ${right}`);
        }
        this.#place(order, found.bytes);
        return board.end(fetch, CAME, length);
      } catch (error) {
        if (this.#stop.signal.aborted || !(error instanceof StoreError)) throw error;
        if (error.fault === "corrupt") return board.end(fetch, CORRUPT, 0, error.message);
        const pause = backoff.next();
        const mayPass = isTransient(error);
        if (!mayPass || time.clock() + pause >= end) {
          return board.end(fetch, mayPass ? AWAY : FAILED, 0, error.message);
        }
        this.#tell(error.message);
        await time.sleep(pause, this.#stop.signal);
      }
    }
  }

  async #get(name: string, order: FetchOrder): Promise<StoredObject | undefined> {
    const { store, silenceMs = SILENCE_MS } = this.#parts;
    const { offset, bytes: length, mayEnd } = order;
    const { signal } = this.#stop;
    const range = { offset, length, mayEnd };
    const found = await store.get(name, { range, signal, silenceMs });
    // A store may end a call late, or not by the signal.
    signal.throwIfAborted();
    return found;
  }

  #place({ places, lengths }: FetchOrder, bytes: Uint8Array<ArrayBuffer>): void {
    const { memory, line } = this.#parts;
    for (let at = 0, nth = 0; at < bytes.length; at += lengths[nth++]) {
      memory.set(bytes.subarray(at, at + lengths[nth]), places[nth] * line);
    }
  }

  /** Tells once that the store is away, until it has answered. */
  #tell(words: string): void {
    if (this.#hasTold) return;
    this.#hasTold = true;
    const { board, signal } = this.#parts;
    board.report(`the store failed, and is tried again: ${words}`);
    signal();
  }
}
