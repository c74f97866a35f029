/**
 * A ring whose operations are Promises, for threads that run an event loop.
 *
 * Completions signal an eventfd. The thread's poller waits for the eventfds of all rings together
 * (`poller.ts`), but only while operations are outstanding, so an idle ring does not keep the
 * process alive. Operations submitted in one turn of the event loop go to the kernel in one system
 * call at its end. Those that have completed by then get their results without a wait.
 *
 * @module
 */

import { ECANCELED, EINTR } from "../uapi/errno.ts";
import { IORING_SETUP_SUBMIT_ALL } from "../uapi/io_uring.ts";
import { InFlight } from "./in_flight.ts";
import { closeFd, eventFd } from "./libc.ts";
import { PolledFd } from "./poller.ts";
import { registerEventFd } from "./register.ts";
import type { Ring } from "./ring.ts";
import type { RingOperation, Terms } from "./ring_operation.ts";
import { prepCancel } from "./sqe.ts";

/**
 * The setup flags for such a ring. They lack DEFER_TASKRUN, so that completions are posted even if
 * this thread does not enter the kernel. With DEFER_TASKRUN, one `io_uring_enter` runs about twenty
 * of the waiting completions, and the eventfd stays silent until all of them have run. If more are
 * waiting, nothing would wake the thread for the rest.
 */
export const PROMISE_RING_SETUP: number = IORING_SETUP_SUBMIT_ALL;

/** Time to wait for a cancelled operation before it is forgotten, in milliseconds. */
const GRACE_MS = 1000;

/** Pause before SQEs are submitted again that the kernel had no memory to take, in milliseconds. */
const RETRY_MS = 10;

// Kinds of user data, to distinguish the completion of an operation from that of its cancellation.
const KIND_OPERATION = 1;
const KIND_CANCEL = 2;

/** An operation without a result. */
interface Entry {
  readonly id: number;
  readonly operation: RingOperation;
  readonly terms: Terms;
  readonly resolve: (res: number) => void;
  readonly reject: (reason: unknown) => void;
  readonly onAbort: () => void;
  /** Time of the next action if nothing happens before, by `performance.now()`. */
  deadline: number;
  /**
   * `unsent`: the queue has no room for it yet. `live`: the kernel has it. `cancelled`: the kernel
   * was asked to cancel it, and we wait for its completion until the deadline. `forgotten`: we no
   * longer wait, but keep its memory. `done`: it is no longer in the table.
   */
  state: "unsent" | "live" | "cancelled" | "forgotten" | "done";
}

/** A ring of Promises. It belongs to the thread that made it. */
export class PromiseRing implements AsyncDisposable, Disposable {
  readonly #ring: Ring;
  readonly #eventFd: number;
  /** The eventfd, once an operation has not completed at once. */
  #completions?: PolledFd;
  readonly #inFlight = new InFlight<Entry>();
  readonly #unsent = new Set<Entry>();
  /** A microtask is queued that will submit the pending SQEs. */
  #collectsSoon = false;
  #pump: Promise<void> | undefined;
  /** While the pump waits: the end of its wait, by `performance.now()`. */
  #pumpUntil = -Infinity;
  #closing = false;
  #closed = false;
  /** The error with which the ring itself failed. Nothing can be submitted after that. */
  #broken: unknown;

  /** Takes over a ring, and closes it if this throws. See {@linkcode PROMISE_RING_SETUP}. */
  constructor(ring: Ring) {
    let eventfd = -1;
    try {
      eventfd = eventFd();
      registerEventFd(ring, eventfd);
    } catch (error) {
      if (eventfd >= 0) closeFd(eventfd);
      ring[Symbol.dispose]();
      throw error;
    }
    this.#ring = ring;
    this.#eventFd = eventfd;
  }

  /** Number of operations without a result, given up or not. */
  get outstanding(): number {
    return this.#inFlight.size;
  }

  /**
   * Prepares for waiting. Otherwise the first wait does so, and if no descriptor is left then, all
   * outstanding operations fail.
   *
   * @throws {UblkError} `SYSCALL_FAILED`.
   */
  listen(): void {
    this.#completions ??= new PolledFd(this.#eventFd);
  }

  /**
   * Submits an operation. There is no limit on their number: if the queue is full, an operation
   * waits for its turn.
   *
   * @returns The result of the completion. A negative errno is a result like any other. The Promise
   *   rejects with an error of the operation or of its patience, or with that of a failed ring.
   */
  submit(operation: RingOperation, terms: Terms = {}): Promise<number> {
    const { signal, patience } = terms;
    if (this.#closing) return Promise.reject(operation.closed());
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    if (signal?.aborted) return Promise.reject(operation.aborted(signal.reason));
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const entry: Entry = {
      ...{ operation, terms, resolve, reject },
      id: this.#inFlight.freeId(),
      onAbort: () => this.#abort(entry),
      deadline: patience === undefined ? Infinity : performance.now() + patience.firstMs,
      state: "unsent",
    };
    this.#inFlight.add(entry);
    this.#unsent.add(entry);
    signal?.addEventListener("abort", entry.onAbort, { once: true });
    this.#fill();
    if (!this.#collectsSoon) {
      this.#collectsSoon = true;
      queueMicrotask(() => this.#collectsSoon && this.collect());
    }
    return promise;
  }

  /** Submits pending SQEs and settles completed operations, without waiting. */
  collect(): void {
    this.#collectsSoon = false;
    if (this.#closed || this.#broken !== undefined) return;
    let isMoving: boolean;
    do {
      let taken: number;
      try {
        // This submits, and makes the kernel post completions that overflowed the CQ.
        taken = this.#ring.enter(0);
      } catch (error) {
        return this.#fail(error);
      }
      this.#read();
      this.#fill();
      isMoving = taken > 0 && this.#ring.pending > 0 || this.#ring.overflowed;
    } while (isMoving);
    const isShort = this.#ring.pending > 0;
    this.#arm(isShort ? performance.now() + RETRY_MS : this.#nextDeadline());
  }

  /**
   * Gives up all outstanding operations, waits up to a second for the kernel to cancel them, and
   * closes the ring.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    if (!this.#closed) {
      this.#giveUpAll();
      await this.#pump;
    }
    this[Symbol.dispose]();
    await this.#pump;
    await this.#completions?.[Symbol.asyncDispose]();
  }

  /** Gives up all outstanding operations and closes the ring at once. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closing = true;
    this.#giveUpAll();
    this.#closed = true;
    this.#inFlight.orphan();
    this.#ring[Symbol.dispose]();
    this.#completions?.[Symbol.dispose]();
    closeFd(this.#eventFd);
  }

  /** Fills SQEs for unsent operations, as long as SQEs are free. */
  #fill(): void {
    for (const entry of this.#unsent) {
      if (entry.operation.prepare(this.#ring, entry.id, KIND_OPERATION) < 0) return;
      this.#unsent.delete(entry);
      entry.state = "live";
    }
  }

  /** Settles completed operations. */
  #read(): void {
    for (let at = this.#ring.peek(); at >= 0; at = this.#ring.peek()) {
      const { cqes } = this.#ring;
      const [id, kind, res] = [cqes[at], cqes[at + 1], cqes[at + 2]];
      this.#ring.seen();
      if (kind === KIND_OPERATION) this.#complete(id, res);
    }
  }

  #complete(id: number, res: number): void {
    const entry = this.#inFlight.take(id);
    this.#settle(entry);
    entry.state = "done";
    const { operation, terms: { signal } } = entry;
    // A running operation that is cancelled returns EINTR.
    const isCancelled = res === -ECANCELED || res === -EINTR;
    // The Promise of an operation that was given up is already rejected; these calls do nothing
    // then.
    if (res < 0 && signal?.aborted) entry.reject(operation.aborted(signal.reason));
    else if (this.#closing && isCancelled) entry.reject(operation.closed());
    else entry.resolve(res);
  }

  /** Marks the ring as unusable. Memory is kept, because the kernel may still write to it. */
  #fail(error: unknown): void {
    this.#broken = error;
    for (const entry of this.#inFlight.all()) {
      const isSent = entry.state !== "unsent";
      this.#settle(entry);
      if (isSent) entry.state = "forgotten";
      else this.#withdraw(entry);
      if (!isSent || entry.terms.givesUp !== "never") entry.reject(error);
    }
    this.#completions?.wake();
  }

  /** Removes the operation's deadline and abort listener. */
  #settle(entry: Entry): void {
    entry.deadline = Infinity;
    entry.terms.signal?.removeEventListener("abort", entry.onAbort);
  }

  /** Removes an operation that was never submitted. */
  #withdraw(entry: Entry): void {
    this.#unsent.delete(entry);
    this.#inFlight.take(entry.id);
    entry.state = "done";
  }

  #abort(entry: Entry): void {
    const { operation, terms: { signal, givesUp } } = entry;
    const isWaited = givesUp !== undefined && givesUp !== "at-once" && entry.state !== "unsent";
    if (!isWaited) return this.#giveUp(entry, operation.aborted(signal!.reason));
    this.#cancel(entry);
    this.collect();
  }

  /**
   * Handles deadlines that have passed. Call it right after {@linkcode collect}, to miss no result.
   */
  #expire(): void {
    const nowMs = performance.now();
    if (this.#nextDeadline() > nowMs) return;
    for (const entry of this.#inFlight.all()) {
      if (entry.deadline > nowMs) continue;
      const { operation, terms: { patience, signal } } = entry;
      if (entry.state === "cancelled") {
        // Stop waiting for it, or the process could not end.
        entry.state = "forgotten";
        entry.deadline = Infinity;
        continue;
      }
      entry.deadline = patience!.until(nowMs);
      if (entry.deadline > nowMs) continue;
      this.#giveUp(entry, signal?.aborted ? operation.aborted(signal.reason) : patience!.error());
    }
  }

  /** Cancels an operation, and rejects its Promise if its terms allow that. */
  #giveUp(entry: Entry, error: Error): void {
    if (entry.state === "unsent") {
      this.#settle(entry);
      this.#withdraw(entry);
      entry.reject(error);
    } else if (entry.state === "live") {
      this.#settle(entry);
      entry.state = "cancelled";
      if (entry.terms.givesUp !== "never") entry.reject(error);
      entry.deadline = performance.now() + GRACE_MS;
      this.#cancel(entry);
      this.collect();
    }
  }

  /**
   * Asks the kernel to cancel an operation. An io_uring worker in an interruptible sleep wakes up
   * and answers -EINTR. A worker that cannot be interrupted answers whenever it is done.
   */
  #cancel(entry: Entry): void {
    for (let tries = 0; tries < 2; tries++) {
      if (prepCancel(this.#ring, entry.id, KIND_OPERATION, 0, KIND_CANCEL) >= 0) return;
      this.collect();
    }
  }

  #giveUpAll(): void {
    for (const entry of this.#inFlight.all()) this.#giveUp(entry, entry.operation.closed());
  }

  #awaited(): boolean {
    return !this.#closed && this.#inFlight.some(({ state }) => state !== "forgotten");
  }

  #nextDeadline(): number {
    return this.#inFlight.least(({ deadline }) => deadline);
  }

  /** Makes the pump look again no later than `deadline`. */
  #arm(deadline: number): void {
    if (!this.#awaited()) return;
    if (this.#pump === undefined) this.#pump = this.#run();
    else if (deadline < this.#pumpUntil) this.#completions?.wake();
  }

  async #run(): Promise<void> {
    try {
      this.listen();
      while (this.#awaited()) {
        const nowMs = performance.now();
        const retryMs = this.#ring.pending > 0 ? nowMs + RETRY_MS : Infinity;
        this.#pumpUntil = Math.min(this.#nextDeadline(), retryMs);
        await this.#completions!.wait(this.#pumpUntil - nowMs);
        this.#pumpUntil = -Infinity;
        if (this.#closed) break;
        this.collect();
        this.#expire();
      }
    } catch (error) {
      // For example, no descriptor is left for waiting.
      this.#fail(error);
    }
    this.#pump = undefined;
  }
}
