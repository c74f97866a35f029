/**
 * The handler for a backend that works on bytes, by `readAt`, `writeAt` and so on. The methods may
 * answer at once or by a Promise. It serves any backend, in a Worker or in the caller's thread.
 *
 * @module
 */

import { isLater } from "../disk/answers.ts";
import { AsyncRequests, type Settled } from "../disk/async_requests.ts";
import type { Backend } from "../disk/backend.ts";
import { dataless, refusePromise, resultOf, resultOfThrown, transfer } from "../disk/calls.ts";
import { bringsData, carriesData, fullResult, isZoneOperation } from "../disk/operations.ts";
import { EIO, ETIMEDOUT } from "../uapi/errno.ts";
import { thrownText } from "../uapi/error.ts";
import type { SlotBuffers } from "./buffers.ts";
import type { DataPath, Handler } from "./data_path.ts";
import { LOG_WARN } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import type { Metadata } from "./metadata.ts";
import type { SharedMemory } from "./shared_memory.ts";
import { SlotFaults } from "./slot_faults.ts";
import type { Slots } from "./slots.ts";
import type { Zones } from "./zones.ts";

/** The parts of a {@linkcode BytesHandler}. */
export interface BytesHandlerParts {
  /** The backend that answers. */
  readonly backend: Backend;
  /** The thread's slots. */
  readonly slots: Slots;
  /** The buffers with the data. The caller keeps ownership. */
  readonly buffers: SlotBuffers;
  /** Whether this thread runs an event loop while it serves, so that Promises can settle. */
  readonly mayAwait: boolean;
  /** The log channel. */
  readonly log: LogWriter;
  /** Called after a request was answered outside of `handle`, to submit the answer. */
  readonly answered: () => void;
  /** The integrity metadata of requests. */
  readonly metadata?: Metadata;
  /** The zones of the disk. */
  readonly zones?: Zones;
  /** Requests' data in memory that clients share. */
  readonly shared?: SharedMemory;
}

/** Calls the methods of a backend. */
export class BytesHandler implements Handler, Settled {
  /** The data path, which takes the answers. */
  path!: DataPath;
  readonly #backend: Backend;
  readonly #slots: Slots;
  readonly #buffers: SlotBuffers;
  readonly #metadata: Metadata | undefined;
  readonly #zones: Zones | undefined;
  readonly #shared: SharedMemory | undefined;
  /** The Promises of requests, if they may settle. */
  readonly promises: AsyncRequests | undefined;
  readonly #async: AsyncRequests;
  /** The result of a request that waits, should it succeed. */
  readonly #full: Uint32Array<ArrayBuffer>;
  readonly #log: LogWriter;
  readonly #faults: SlotFaults;
  readonly #mayAwait: boolean;
  readonly #answered: () => void;
  /** The lack of memory for another buffer has been logged. */
  #isShort = false;

  /** Takes over the parts. */
  constructor(parts: BytesHandlerParts) {
    this.#backend = parts.backend;
    this.#slots = parts.slots;
    this.#buffers = parts.buffers;
    this.#mayAwait = parts.mayAwait;
    this.#log = parts.log;
    this.#faults = new SlotFaults(parts.slots, parts.log);
    this.#answered = parts.answered;
    this.#metadata = parts.metadata;
    this.#zones = parts.zones;
    this.#shared = parts.shared;
    this.#async = new AsyncRequests(parts.slots.count, this);
    this.promises = parts.mayAwait ? this.#async : undefined;
    this.#full = new Uint32Array(parts.slots.count);
  }

  get outstanding(): number {
    return this.#async.outstanding;
  }

  handle(slot: number): void {
    const slots = this.#slots;
    const opFlags = slots.opFlags(slot);
    const op = opFlags & 0xff;
    const bytes = slots.bytes(slot);
    if (this.#buffers.quarantined >= slots.count) {
      // There are as many overdue requests as slots. The backend has stopped answering, and would
      // keep every further buffer as well.
      this.#log.text(LOG_WARN, "the backend has too many overdue requests; answering EIO");
      return this.path.finish(slot, -EIO);
    }
    let result: number;
    try {
      let value = carriesData(op)
        ? transfer(this.#backend, opFlags, this.#view(slot, bytes), slots.offset(slot))
        : this.#zones !== undefined && isZoneOperation(op)
        ? this.#zones.call(slot)
        : dataless(this.#backend, opFlags, slots.offset(slot), bytes);
      if (this.#metadata !== undefined) value = this.#metadata.transfer(this.#backend, slot, value);
      if (value === undefined) {
        result = fullResult(op, bytes);
      } else if (isLater(value)) {
        if (this.#mayAwait) return this.#await(slot, value, fullResult(op, bytes));
        // First handle the rejection, so that it is not uncaught if the next step lacks memory.
        result = refusePromise(value, this.#faults);
        // The backend's code may still use its buffer after the loop has ended.
        if (carriesData(op) || bringsData(op)) this.#quarantine(slot);
      } else {
        result = this.#resultOf(slot, value, fullResult(op, bytes));
      }
    } catch (thrown) {
      result = resultOfThrown(thrown, slot, this.#faults);
    }
    this.path.finish(slot, result);
  }

  #resultOf(slot: number, value: unknown, full: number): number {
    if (this.#zones === undefined || !isZoneOperation(this.#slots.opFlags(slot) & 0xff)) {
      return resultOf(value, full, slot, this.#faults);
    }
    try {
      return this.#zones.resultOf(slot, value);
    } catch (thrown) {
      // The zones of a report may have getters, which may throw.
      return resultOfThrown(thrown, slot, this.#faults);
    }
  }

  #view(slot: number, bytes: number): Uint8Array<ArrayBuffer> {
    const shared = this.#shared;
    if (shared !== undefined && shared.has(slot)) return shared.view(slot, bytes);
    return this.#buffers.view(slot, bytes);
  }

  /**
   * Quarantines the slot's buffers for data and metadata; throws and changes neither if memory is
   * short.
   */
  #quarantine(slot: number): () => void {
    this.#metadata?.reserve();
    const release = this.#buffers.quarantine(slot);
    const releaseMetadata = this.#metadata?.quarantine(slot);
    return () => {
      release();
      releaseMetadata?.();
    };
  }

  #await(slot: number, promise: PromiseLike<unknown>, full: number): void {
    const slots = this.#slots;
    if (!slots.timed) slots.beginInBatch(slot);
    this.#async.wait(slot, promise, slots.startedUs(slot));
    this.#full[slot] = full;
    slots.stats(slot).inFlight++;
  }

  /** A request's Promise was fulfilled. */
  fulfilled(slot: number, value: unknown): void {
    this.#finish(slot, this.#resultOf(slot, value, this.#full[slot]));
  }

  /** A request's Promise was rejected. */
  rejected(slot: number, reason: unknown): void {
    this.#finish(slot, resultOfThrown(reason, slot, this.#faults));
  }

  #finish(slot: number, result: number): void {
    this.#slots.stats(slot).inFlight--;
    this.path.finish(slot, result);
    this.#answered();
  }

  expire(nowUs: number, deadlineUs: number, givenUpUs?: number): number {
    const overdue = this.#async.overdue(nowUs, deadlineUs, givenUpUs);
    let count = 0;
    for (const slot of overdue) {
      const slots = this.#slots;
      // The late Promise may still write to the buffer, so the slot gets another one. Do this
      // first: if there is no memory for it, the request waits for the next check.
      const release = this.#quarantineIfPossible(slot);
      if (release === undefined) continue;
      count++;
      this.#async.abandon(slot, release);
      this.#log.text(
        LOG_WARN,
        `queue ${slots.queue(slot)} tag ${slots.tag(slot)}: no answer from the backend in ` +
          `${Math.round((nowUs - slots.startedUs(slot)) / 1e3)} ms; answering ETIMEDOUT`,
      );
      slots.stats(slot).timeout();
      slots.stats(slot).inFlight--;
      this.path.finish(slot, -ETIMEDOUT);
    }
    if (count > 0) this.#answered();
    return count;
  }

  /**
   * As `#quarantine`, but returns undefined if memory is short. An exception here once ended
   * the service, together with every request that was not overdue.
   */
  #quarantineIfPossible(slot: number): (() => void) | undefined {
    try {
      const release = this.#quarantine(slot);
      this.#isShort = false;
      return release;
    } catch (error) {
      // Log it once, not at every check.
      if (!this.#isShort) {
        const words = `no memory to answer overdue requests, which wait on: ${thrownText(error)}`;
        this.#log.text(LOG_WARN, words);
      }
      this.#isShort = true;
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#async.close();
  }
}
