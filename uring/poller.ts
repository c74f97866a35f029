/**
 * Waits for eventfds from an event loop. However many eventfds there are, one thread of Deno's pool
 * waits in `epoll_wait`; no thread does while nobody waits.
 *
 * Each isolate has a pool of its own, of 32 threads, for this and for all file I/O. Each device and each control
 * ring used to block one of them in a `read` of its eventfd for its whole life. The 33rd `serve()`
 * of a thread never returned, nor did `Deno.readTextFile`.
 *
 * A wait costs one hop through the pool, shared by all eventfds signalled in the meantime. It keeps
 * the event loop alive, as a timer does. Timeouts use `epoll_wait` and not the event loop, because
 * Deno loads a large part of Node for a program's first `setTimeout`.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";
import { closeFd, errno, eventFd, libc, signalEventFd, syscallError } from "./libc.ts";

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
/** Edge-triggered: each signal is reported once, so no counter has to be read. */
const EPOLLET = 2 ** 31;

/**
 * Words of `struct epoll_event { u32 events; u64 data; }`, which is packed only on x86-64. The data
 * is its last two words.
 */
const EVENT_WORDS = Deno.build.arch === "x86_64" ? 3 : 4;
const DATA_WORD = EVENT_WORDS - 2;
/** Maximum number of events per call. The next call returns the rest. */
const MAX_EVENTS = 64;
/** The id of the eventfd that ends a wait early. */
const KICK = 0;
const MAX_TIMEOUT_MS = 0x7fff_ffff;

/** An eventfd that an event loop can wait for. It belongs to the thread that made it. */
export class PolledFd implements Disposable, AsyncDisposable {
  readonly #poller: Poller;
  readonly #fd: number;
  readonly #id: number;
  /** A signal came while nobody waited. */
  #signalled = false;
  #disposed = false;
  #waiting?: PromiseWithResolvers<void>;

  /**
   * Registers an eventfd. Signals count from now on, including one that is already pending. The
   * caller keeps the descriptor, and must dispose of this object before closing it.
   *
   * @throws {UblkError} `SYSCALL_FAILED`.
   */
  constructor(fd: number) {
    this.#fd = fd;
    this.#poller = poller ??= new Poller();
    this.#id = this.#poller.add(fd, this);
  }

  /**
   * Waits for a signal. Resolves with the next signal or one since the last wait, after the
   * timeout, or on disposal; the caller must check what happened. Only one wait at a time is
   * allowed.
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

  /** Ends the current or next wait, as a signal does, but without a system call. */
  wake(): void {
    if (this.#waiting === undefined) {
      this.#signalled = true;
      return;
    }
    this.#poller.end(this);
    this.#waiting.resolve();
    this.#waiting = undefined;
  }

  /** Makes the current wait fail. For the poller. */
  fail(error: unknown): void {
    this.#poller.end(this);
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  /** Unregisters the eventfd. A current wait resolves. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.wake();
    this.#poller.remove(this.#fd, this.#id);
  }

  /**
   * Like the synchronous disposal, but resolves once no thread of the pool waits for this any more.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]();
    await this.#poller.rest();
  }
}

/**
 * Resolves once no pool thread waits on behalf of this thread: soon after all eventfds are
 * disposed.
 */
export async function poolAtRest(): Promise<void> {
  await lastRun;
}

let lastRun: Promise<void> | undefined;

/** This thread's poller, while it has eventfds registered. */
let poller: Poller | undefined;

/** An epoll descriptor and the pool thread that waits for it. */
class Poller {
  readonly #libc = libc();
  readonly #epoll: number;
  /** Eventfd that ends a call whose timeout has become too long, or that nobody needs any more. */
  readonly #kick: number;
  readonly #events = new Uint32Array(MAX_EVENTS * EVENT_WORDS);
  // Keyed by ids that are never reused: an event fetched before its descriptor was closed must not
  // be attributed to the next file with the same number.
  readonly #sources = new Map<number, PolledFd>();
  #lastId = KICK;
  readonly #waiting = new Set<PolledFd>();
  /** End of each wait that has a timeout, by `performance.now()`. */
  readonly #deadlines = new Map<PolledFd, number>();
  /** End of the pool thread's current wait; undefined while none waits. */
  #asleepUntilMs: number | undefined;
  #running?: Promise<void>;

  constructor() {
    // Open the symbols for `errno` before the first call that may fail.
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

  /** Registers a descriptor. Returns the id of its events. */
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

  /** Unregisters a descriptor. The poller closes with the last one. */
  remove(fd: number, id: number): void {
    this.#sources.delete(id);
    // This fails if the descriptor was neutralised by force, which has also removed it from the
    // epoll.
    this.#control(EPOLL_CTL_DEL, fd, id);
    this.#closeUnused();
  }

  /** A source starts to wait. */
  begin(source: PolledFd, untilMs: number): void {
    this.#waiting.add(source);
    if (untilMs < Infinity) this.#deadlines.set(source, untilMs);
    if (this.#running === undefined) this.#running = lastRun = this.#run();
    else if (this.#asleepUntilMs !== undefined && untilMs < this.#asleepUntilMs) this.#wakeUp();
  }

  /** A source no longer waits. */
  end(source: PolledFd): void {
    this.#waiting.delete(source);
    this.#deadlines.delete(source);
    // Otherwise the pool's thread would keep the event loop alive.
    if (this.#waiting.size === 0 && this.#asleepUntilMs !== undefined) this.#wakeUp();
  }

  /** Resolves once the pool's thread is free, or at once if somebody waits. */
  async rest(): Promise<void> {
    while (this.#running !== undefined && this.#waiting.size === 0) await this.#running;
  }

  #wakeUp(): void {
    // One wake-up is enough until the next wait.
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
      // Let the woken callers run first and wait again. The next call then includes their deadlines
      // and need not be interrupted for them.
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
   * Repeats a failed call in this thread, because its errno is in the pool's thread. Without a
   * timeout it cannot be interrupted, so an interrupted call succeeds now. A permanent error fails
   * again, and ends all waits: otherwise the call would be repeated for ever.
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
    // If the pool's thread still waits, `#run` closes the poller later.
    if (this.#running !== undefined) return;
    closeFd(this.#kick);
    closeFd(this.#epoll);
  }
}
