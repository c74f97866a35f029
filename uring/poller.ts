/**
 * Waiting for eventfds from an event loop: however many are waited for, one thread of Deno's pool
 * waits in `epoll_wait`, and none while nobody waits.
 *
 * The pool has 32 threads per runtime, for this and for all file I/O. Once each device and each
 * control ring held one of them in a `read` of its eventfd for as long as it lived: the 33rd
 * `serve()` of a process never returned, nor did `Deno.readTextFile`.
 *
 * A wait costs one hop through the pool, which all that are signalled meanwhile share. It keeps the
 * event loop alive, as a timer does. Timeouts are those of `epoll_wait`, not of the event loop,
 * because Deno loads a good part of Node for the first `setTimeout` of a program.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";
import { closeFd, errno, eventFd, libc, signalEventFd, syscallError } from "./libc.ts";

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
/** Edge-triggered: each signal is reported once, so that no counter has to be read. */
const EPOLLET = 2 ** 31;

/**
 * Words of `struct epoll_event { u32 events; u64 data; }`, which is packed on x86-64 alone. The data
 * are its last two words.
 */
const EVENT_WORDS = Deno.build.arch === "x86_64" ? 3 : 4;
const DATA_WORD = EVENT_WORDS - 2;
/** Events per call; there may be more, and the next call has them. */
const MAX_EVENTS = 64;
/** The data of the eventfd that ends a wait early. */
const KICK = 0;
const MAX_TIMEOUT_MS = 0x7fff_ffff;

/** An eventfd that an event loop waits for. It belongs to the thread that made it. */
export class PolledFd implements Disposable, AsyncDisposable {
  readonly #poller: Poller;
  readonly #fd: number;
  readonly #id: number;
  /** Signalled while nobody waited. */
  #signalled = false;
  #disposed = false;
  #waiting?: PromiseWithResolvers<void>;

  /**
   * Signals count from now on, and one that the eventfd has already. The descriptor stays its
   * owner's, who disposes of this before closing it.
   *
   * @throws {UblkError} `SYSCALL_FAILED`.
   */
  constructor(fd: number) {
    this.#fd = fd;
    this.#poller = poller ??= new Poller();
    this.#id = this.#poller.add(fd, this);
  }

  /**
   * Resolves with the next signal, with one that came since the last wait, when the time is over,
   * or when this is disposed of: the caller looks what there is. There is one wait at a time.
   */
  wait(timeoutMs = Infinity): Promise<void> {
    if (this.#signalled || this.#disposed) {
      this.#signalled = false;
      return Promise.resolve();
    }
    assert(this.#waiting === undefined, "one wait at a time");
    const waiting = this.#waiting = Promise.withResolvers<void>();
    this.#poller.begin(this, performance.now() + timeoutMs);
    return waiting.promise;
  }

  /** Ends the wait, or the next one, as a signal does; without a system call. */
  wake(): void {
    if (this.#waiting === undefined) {
      this.#signalled = true;
      return;
    }
    this.#poller.end(this);
    this.#waiting.resolve();
    this.#waiting = undefined;
  }

  /** Makes the wait fail: for the poller. */
  fail(error: unknown): void {
    this.#poller.end(this);
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  /** Waits no more. A wait that is under way resolves. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.wake();
    this.#poller.remove(this.#fd, this.#id);
  }

  /** As the other, and resolves once no thread of the pool waits on behalf of this any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]();
    await this.#poller.rest();
  }
}

/** Resolves once no thread of the pool waits on behalf of this one; with all disposed of, soon. */
export async function poolAtRest(): Promise<void> {
  await lastRun;
}

let lastRun: Promise<void> | undefined;

/** The one of this thread, while it has anything to wait for. */
let poller: Poller | undefined;

/** One epoll descriptor and the pool thread in front of it. */
class Poller {
  readonly #libc = libc();
  readonly #epoll: number;
  /** Ends a wait whose timeout has become too long, or for which nobody waits any more. */
  readonly #kick: number;
  readonly #events = new Uint32Array(MAX_EVENTS * EVENT_WORDS);
  // By an id that never comes again: an event that was fetched before its descriptor was closed
  // must not be taken for one of the next file with the same number.
  readonly #sources = new Map<number, PolledFd>();
  #lastId = KICK;
  readonly #waiting = new Set<PolledFd>();
  /** Until when those wait that do not wait for ever, by `performance.now()`. */
  readonly #deadlines = new Map<PolledFd, number>();
  /** Until when the pool's thread waits; undefined while none does. */
  #asleepUntilMs: number | undefined;
  #running?: Promise<void>;

  constructor() {
    // What `errno` needs must be at hand before the first call that may fail.
    errno();
    this.#epoll = this.#libc.epoll_create1(EPOLL_CLOEXEC);
    if (this.#epoll < 0) throw syscallError("epoll_create1");
    try {
      this.#kick = eventFd();
      if (this.#control(EPOLL_CTL_ADD, this.#kick, KICK) < 0) throw syscallError("epoll_ctl");
    } catch (error) {
      closeFd(this.#epoll);
      throw error;
    }
  }

  /** Registers a descriptor; returns the id by which its events are known. */
  add(fd: number, source: PolledFd): number {
    const id = this.#lastId + 1;
    if (this.#control(EPOLL_CTL_ADD, fd, id) < 0) {
      const error = syscallError(`epoll_ctl of descriptor ${fd}`);
      this.#closeUnused();
      throw error;
    }
    this.#lastId = id;
    this.#sources.set(id, source);
    return id;
  }

  /** Forgets a descriptor. The last one takes the poller with it. */
  remove(fd: number, id: number): void {
    this.#sources.delete(id);
    // It fails where the descriptor was taken away by force, which has taken it out of here too.
    this.#control(EPOLL_CTL_DEL, fd, id);
    this.#closeUnused();
  }

  /** Somebody waits from now on. */
  begin(source: PolledFd, untilMs: number): void {
    this.#waiting.add(source);
    if (untilMs < Infinity) this.#deadlines.set(source, untilMs);
    if (this.#running === undefined) this.#running = lastRun = this.#run();
    else if (this.#asleepUntilMs !== undefined && untilMs < this.#asleepUntilMs) this.#wakeUp();
  }

  /** He does so no more. */
  end(source: PolledFd): void {
    this.#waiting.delete(source);
    this.#deadlines.delete(source);
    // The pool's thread would keep the event loop alive.
    if (this.#waiting.size === 0 && this.#asleepUntilMs !== undefined) this.#wakeUp();
  }

  /** Resolves once the pool's thread is free, unless somebody waits. */
  async rest(): Promise<void> {
    while (this.#running !== undefined && this.#waiting.size === 0) await this.#running;
  }

  #wakeUp(): void {
    // Once is enough until it has slept again.
    this.#asleepUntilMs = undefined;
    signalEventFd(this.#kick);
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0) {
      let untilMs = Infinity;
      for (const deadlineMs of this.#deadlines.values()) untilMs = Math.min(untilMs, deadlineMs);
      const leftMs = Math.max(0, Math.ceil(untilMs - performance.now()));
      const timeoutMs = untilMs === Infinity ? -1 : Math.min(leftMs, MAX_TIMEOUT_MS);
      this.#asleepUntilMs = untilMs;
      const count = await this.#libc.epollWait(this.#epoll, this.#events, MAX_EVENTS, timeoutMs);
      this.#asleepUntilMs = undefined;
      if (count < 0) this.#checkFailure();
      else this.#tell(count);
      if (untilMs <= performance.now()) this.#expire();
      // Those that this woke run first, and wait again: the next call then knows their deadlines,
      // instead of being kicked for them.
      await null;
    }
    this.#running = undefined;
    this.#closeUnused();
  }

  #tell(count: number): void {
    for (let at = DATA_WORD; at < count * EVENT_WORDS; at += EVENT_WORDS) {
      this.#sources.get(this.#events[at] + this.#events[at + 1] * 2 ** 32)?.wake();
    }
  }

  #expire(): void {
    const nowMs = performance.now();
    for (const [source, untilMs] of [...this.#deadlines]) if (untilMs <= nowMs) source.wake();
  }

  /**
   * A call that failed in the pool has left its errno there. One that was interrupted is made again,
   * without a wait, which nothing interrupts; what fails for good fails here too, and would be called
   * without end.
   */
  #checkFailure(): void {
    const count = this.#libc.epoll_wait(this.#epoll, this.#events, MAX_EVENTS, 0);
    if (count >= 0) return this.#tell(count);
    const error = syscallError("epoll_wait");
    for (const source of [...this.#waiting]) source.fail(error);
  }

  #control(operation: number, fd: number, id: number): number {
    const event = new Uint32Array(EVENT_WORDS);
    event[0] = EPOLLIN + EPOLLET;
    event[DATA_WORD] = id;
    event[DATA_WORD + 1] = Math.floor(id / 2 ** 32);
    return this.#libc.epoll_ctl(this.#epoll, operation, fd, event);
  }

  #closeUnused(): void {
    if (this.#sources.size > 0) return;
    if (poller === this) poller = undefined;
    // It closes when the pool's thread is back.
    if (this.#running !== undefined) return;
    closeFd(this.#kick);
    closeFd(this.#epoll);
  }
}
