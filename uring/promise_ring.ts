/**
 * A ring whose operations are Promises of their results, for threads that run an event loop.
 *
 * A completion signals an eventfd, for which the thread's poller waits together with those of all
 * other rings (`poller.ts`); and only while operations are outstanding, so that an idle ring keeps
 * no process alive. What is submitted in one turn goes to the kernel in one system call at the end
 * of it, and what is done by then has its result without any wait.
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
 * The setup flags of such a ring: without DEFER_TASKRUN, so that completions are posted whether or not
 * this thread enters the kernel. With it one `io_uring_enter` runs some twenty of the waiting
 * completions, and the eventfd stays silent until all of them have run: more wait than that, and
 * nobody wakes for the rest.
 */
export const PROMISE_RING_SETUP: number = IORING_SETUP_SUBMIT_ALL;

/** How long a cancelled operation is still waited for, before nobody waits any more. */
const GRACE_MS = 1000;

/** When what the kernel had no memory to take is offered to it again. */
const RETRY_MS = 10;

// Kinds of user data, to tell an operation's completion from that of an attempt to cancel it.
const KIND_OPERATION = 1;
const KIND_CANCEL = 2;

/** An operation that has no result yet. */
interface Entry {
  readonly id: number;
  readonly operation: RingOperation;
  readonly terms: Terms;
  readonly resolve: (res: number) => void;
  readonly reject: (reason: unknown) => void;
  readonly onAbort: () => void;
  /** When something is to be done about it if nothing has happened, by `performance.now()`. */
  deadline: number;
  /**
   * `unsent`: the queue has no room for it yet. `live`: the kernel has it. `cancelled`: the kernel
   * was asked to let go of it, and its completion is waited for until the deadline. `forgotten`: it
   * is not waited for any more, but its memory is kept. `done`: it is in the table no longer.
   */
  state: "unsent" | "live" | "cancelled" | "forgotten" | "done";
}

/** A ring of Promises. It belongs to the thread that made it. */
export class PromiseRing implements AsyncDisposable, Disposable {
  readonly #ring: Ring;
  readonly #eventFd: number;
  /** The eventfd, once something was not answered at once. */
  #completions?: PolledFd;
  readonly #inFlight = new InFlight<Entry>();
  readonly #unsent = new Set<Entry>();
  /** A microtask will hand what was submitted to the kernel. */
  #collectsSoon = false;
  #pump: Promise<void> | undefined;
  /** When the pump looks again at the latest, by `performance.now()`, while it waits. */
  #pumpUntil = -Infinity;
  #closing = false;
  #closed = false;
  /** Why the ring itself failed, after which nothing can be submitted. */
  #broken: unknown;

  /** Takes over a ring, which is closed if this throws. See {@linkcode PROMISE_RING_SETUP}. */
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

  /** Operations that have no result yet, given up or not. */
  get outstanding(): number {
    return this.#inFlight.size;
  }

  /**
   * Prepares for waiting. Otherwise the first wait does, and where no descriptor is left for it, all
   * that is outstanding fails.
   *
   * @throws {UblkError} `SYSCALL_FAILED`.
   */
  listen(): void {
    this.#completions ??= new PolledFd(this.#eventFd);
  }

  /**
   * Submits an operation. However many there are: those for which the queue has no room wait for
   * their turn.
   *
   * @returns The completion's result: a negative errno is a result like any other. The Promise
   *   rejects with the operation's or its patience's errors, or with that of a ring that failed.
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

  /** Hands over what is pending, and settles what has completed, without a wait. */
  collect(): void {
    this.#collectsSoon = false;
    if (this.#closed || this.#broken !== undefined) return;
    let isMoving: boolean;
    do {
      let taken: number;
      try {
        // It submits, and has the kernel post what found the CQ full.
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
   * Gives up what is outstanding, waits a moment for the kernel to let go of it, and closes. It
   * never takes longer than that moment, a second.
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

  /** Closes at once; what is outstanding is given up. Idempotent. */
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

  /** Fills SQEs for what has not been sent, as far as there are any. */
  #fill(): void {
    for (const entry of this.#unsent) {
      if (entry.operation.prepare(this.#ring, entry.id, KIND_OPERATION) < 0) return;
      this.#unsent.delete(entry);
      entry.state = "live";
    }
  }

  /** Settles what has completed. */
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
    // A running operation that is cancelled says EINTR.
    const isCancelled = res === -ECANCELED || res === -EINTR;
    // Of one that was given up the Promise is rejected already, and these do nothing.
    if (res < 0 && signal?.aborted) entry.reject(operation.aborted(signal.reason));
    else if (this.#closing && isCancelled) entry.reject(operation.closed());
    else entry.resolve(res);
  }

  /** The ring is of no use any more. Memory is kept, since the kernel may still write to it. */
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

  /** There is nothing to be done about it any more. */
  #settle(entry: Entry): void {
    entry.deadline = Infinity;
    entry.terms.signal?.removeEventListener("abort", entry.onAbort);
  }

  /** Takes out an operation that the kernel never got. */
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

  /** Does what is due; the ring was looked at just before, so that no answer is overlooked. */
  #expire(): void {
    const nowMs = performance.now();
    if (this.#nextDeadline() > nowMs) return;
    for (const entry of this.#inFlight.all()) {
      if (entry.deadline > nowMs) continue;
      const { operation, terms: { patience, signal } } = entry;
      if (entry.state === "cancelled") {
        // Nobody waits for it any longer, or the process could not end.
        entry.state = "forgotten";
        entry.deadline = Infinity;
        continue;
      }
      entry.deadline = patience!.until(nowMs);
      if (entry.deadline > nowMs) continue;
      this.#giveUp(entry, signal?.aborted ? operation.aborted(signal.reason) : patience!.error());
    }
  }

  /** Has the kernel let go of it, and rejects its Promise if that may be. */
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
   * A worker of io_uring that sleeps interruptibly is woken by this and answers -EINTR; one that
   * cannot be interrupted answers whenever it does.
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

  /** Has the pump look again at `deadline` at the latest. */
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
      // No descriptor is left to wait with, for instance.
      this.#fail(error);
    }
    this.#pump = undefined;
  }
}
