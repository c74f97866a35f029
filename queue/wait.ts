/**
 * The loops of a serving thread. They differ in how the thread waits for completions.
 *
 * @module
 */

import type { HeldPromise } from "../disk/async_requests.ts";
import { resetEventFd, turnOfEventLoop } from "../uring/libc.ts";
import { PolledFd } from "../uring/poller.ts";
import { registerEventFd } from "../uring/register.ts";
import { CONTROL_PROGRESS, THREAD_IDLE } from "./control_block.ts";
import type { QueueServer } from "./server.ts";

/**
 * Serves until the device is gone, and blocks the thread in the kernel. One system call submits the
 * answers of a batch and waits for the next batch. For backends that are `synchronous`.
 */
export function serveBlocking(server: QueueServer): void {
  const ring = server.ring;
  while (server.running) {
    server.sleep();
    if (server.draining) ring.enterTimeout(1, DRAIN_CHECK_US);
    else ring.enter(1);
    server.awake();
    if (server.draining) server.expire();
    server.process();
  }
  server.finish();
}

/**
 * As {@linkcode serveBlocking}, but gives the event loop a turn several times a second, for Deno's
 * telemetry: each export waits for every thread's event loop, and so does the end of the process.
 */
export async function serveWithTelemetry(server: QueueServer): Promise<void> {
  const ring = server.ring;
  let turnMs = performance.now();
  while (server.running) {
    server.sleep();
    ring.enterTimeout(1, DRAIN_CHECK_US);
    server.awake();
    if (server.draining) server.expire();
    server.process();
    if (performance.now() - turnMs < DRAIN_CHECK_US / 1000) continue;
    await new Promise((resolve) => setTimeout(resolve));
    turnMs = performance.now();
  }
  server.finish();
}

/** Interval at which a draining thread checks whether its time is up, in microseconds. */
const DRAIN_CHECK_US = 100_000;

/** Number of checks for overdue requests per deadline. */
const CHECKS_PER_DEADLINE = 8;
/**
 * Turns of the microtask queue after a batch. A Promise that is settled by then, such as that of an
 * `async` method which waits for nothing, costs no turn of the event loop. Wrappers add some turns.
 */
const SETTLING_TURNS = 16;

/** Number of loops that serve from this thread's event loop. */
let loops = 0;

/**
 * Serves until the device is gone, from a thread that has an event loop, so that Promises, timers
 * and sockets of the backend keep working.
 *
 * As long as requests come and their Promises settle at once, the thread blocks in the kernel
 * between batches, as {@linkcode serveBlocking} does. A timer of the ring, the tick, ends that wait
 * every 4 ms, and the event loop gets a turn: timers and sockets of the backend are served within
 * some 10 ms. If Promises are outstanding, or no request has come between two ticks, the thread
 * sleeps in the event loop, and the ring's eventfd wakes it. Nothing wakes it while it has nothing
 * to do. If the thread serves several devices, none of them may block it.
 *
 * @param eventfd A non-blocking eventfd for the ring to signal. The caller keeps ownership. It
 *   stays signalled as long as there are completions that a sleeping thread has not handled.
 */
export async function serveInEventLoop(
  server: QueueServer,
  eventfd: number,
  deadlineMs: number,
): Promise<void> {
  const { ring } = server;
  registerEventFd(ring, eventfd);
  await using completions = new PolledFd(eventfd);
  using loop = new EventLoop(server, eventfd, completions, deadlineMs);
  using _loop = countLoop();
  ring.signals(false);
  await loop.serve();
  server.finish();
  server.check();
}

/** The loop of {@linkcode serveInEventLoop}. */
class EventLoop implements Disposable {
  readonly #server: QueueServer;
  readonly #eventfd: number;
  readonly #promises: HeldPromise | undefined;
  readonly #sleeper: Sleeper;
  readonly #over = Promise.withResolvers<void>();
  /** Number of the run that serves. One that waits for a request's Promise is left behind. */
  #run = 0;
  /** The run that serves waits for the Promise that is held. */
  #isWaiting = false;
  /** Promises of the last batch settled at once, so those of the next are awaited one by one. */
  #arePrompt = true;
  /** Runs in the next turn of the event loop, if there is one. */
  #guard: ReturnType<typeof setImmediate> | undefined;

  constructor(server: QueueServer, eventfd: number, completions: PolledFd, deadlineMs: number) {
    this.#server = server;
    this.#eventfd = eventfd;
    this.#promises = server.promises;
    this.#sleeper = new Sleeper(server, completions, deadlineMs, this.#takeOver);
  }

  /** Serves until the device is gone. */
  serve(): Promise<void> {
    this.#start();
    return this.#over.promise;
  }

  #start(): void {
    this.#serve(++this.#run).catch(this.#over.reject);
  }

  async #serve(run: number): Promise<void> {
    const server = this.#server;
    const promises = this.#promises;
    const { ring } = server;
    // Completions since the event loop had its last turn.
    let count = 0;
    while (server.running) {
      server.flush();
      const blocks = server.outstanding === 0 && loops === 1;
      if (blocks) {
        server.startTick();
        server.sleep();
        ring.enter(1);
        server.awake();
      } else ring.enter(0);
      if (promises !== undefined) promises.holds = this.#arePrompt;
      let done = server.process();
      if (promises !== undefined) {
        for (let held = promises.held; held !== undefined; held = promises.held) {
          let value: unknown;
          let isRejection = false;
          this.#isWaiting = true;
          this.#guard ??= setImmediate(this.#guarded);
          try {
            value = await held;
          } catch (reason) {
            value = reason;
            isRejection = true;
          }
          if (run !== this.#run) return;
          this.#isWaiting = false;
          promises.settleHeld(value, isRejection);
          done = server.proceed();
        }
      }
      let { ticked } = server;
      count += done;
      if (server.outstanding > 0) {
        for (let turn = 0; turn < SETTLING_TURNS && server.outstanding > 0; turn++) await undefined;
        this.#arePrompt = server.outstanding === 0;
      }
      if (!ticked && (done > 0 || blocks)) {
        server.startTick();
        continue;
      }
      // From here on completions signal, also to the watch, should this thread get stuck in code of
      // its event loop. Those posted before have not.
      ring.signals(true);
      if (promises !== undefined) promises.holds = false;
      server.flush();
      ring.enter(0);
      const late = server.process();
      ticked ||= server.ticked;
      if (!server.running) break;
      await (late > 0 || ticked && count > 0 ? this.#sleeper.turn() : this.#sleeper.sleep());
      ring.signals(false);
      resetEventFd(this.#eventfd);
      count = 0;
    }
    this.#over.resolve();
  }

  readonly #guarded = (): void => {
    this.#guard = undefined;
    this.#takeOver();
  };

  /**
   * Serves on if the loop waits for a Promise. All microtasks have run, so the Promise is really
   * outstanding. A new run of the loop leaves the waiting one behind.
   */
  readonly #takeOver = (): void => {
    if (!this.#isWaiting) return;
    this.#isWaiting = false;
    this.#arePrompt = false;
    try {
      this.#promises!.holds = false;
      this.#promises!.listen();
      this.#server.proceed();
    } catch (error) {
      this.#run++;
      return this.#over.reject(error);
    }
    this.#start();
  };

  [Symbol.dispose](): void {
    this.#run++;
    clearImmediate(this.#guard);
    this.#sleeper[Symbol.dispose]();
  }
}

function countLoop(): Disposable {
  loops++;
  return { [Symbol.dispose]: () => void loops-- };
}

/** Leaves the thread to its event loop, for a turn or until there is something to do. */
class Sleeper implements Disposable {
  readonly #server: QueueServer;
  readonly #completions: PolledFd;
  readonly #periodMs: number;
  /** Runs while anything is outstanding. */
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Somebody waits for the eventfd. One wait serves many sleeps, because each costs a thread. */
  #listens = false;
  #asleep: PromiseWithResolvers<void> | undefined;
  /** Has the loop serve on, should it wait for a Promise. */
  readonly #takeOver: () => void;

  constructor(
    server: QueueServer,
    completions: PolledFd,
    deadlineMs: number,
    takeOver: () => void,
  ) {
    this.#server = server;
    this.#completions = completions;
    this.#takeOver = takeOver;
    this.#periodMs = Math.max(10, Math.min(1000, deadlineMs / CHECKS_PER_DEADLINE));
  }

  /** Sleeps until there is a completion, an answer or an end. */
  async sleep(): Promise<void> {
    const server = this.#server;
    const asleep = this.#asleep = Promise.withResolvers<void>();
    server.onAnswer = this.#wake;
    if (!this.#listens) {
      this.#listens = true;
      this.#completions.wait().then(this.#signalled, this.#failed);
    }
    this.#leave();
    await asleep.promise;
    server.onAnswer = undefined;
    server.awake();
  }

  /** Lets timers, sockets and the like have their turn. */
  async turn(): Promise<void> {
    this.#leave();
    await turnOfEventLoop();
    this.#server.awake();
  }

  #leave(): void {
    const server = this.#server;
    if (server.outstanding > 0 || server.ring.pending > 0) {
      this.#timer ??= setInterval(this.#tick, this.#periodMs);
    }
    if (this.#timer === undefined) server.enterState(THREAD_IDLE);
  }

  readonly #wake = (): void => {
    this.#asleep?.resolve();
    this.#asleep = undefined;
  };

  readonly #signalled = (): void => {
    this.#listens = false;
    this.#wake();
  };

  readonly #failed = (error: unknown): void => {
    this.#listens = false;
    this.#asleep?.reject(error);
  };

  readonly #tick = (): void => {
    const server = this.#server;
    // The tick proves that this thread is not stuck in a backend method.
    server.control[CONTROL_PROGRESS]++;
    this.#takeOver();
    server.guard(() => server.expire());
    // Wake the loop if a late answer has ended the service, or could not be submitted because the
    // kernel was short of memory.
    if (!server.running || server.ring.pending > 0) this.#wake();
    if (server.outstanding > 0 || server.ring.pending > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#asleep !== undefined) server.enterState(THREAD_IDLE);
  };

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#server.onAnswer = undefined;
  }
}
