/**
 * The loops of a serving thread. They differ in how the thread waits for completions.
 *
 * @module
 */

import { resetEventFd, signalEventFd } from "../uring/libc.ts";
import { PolledFd } from "../uring/poller.ts";
import { registerEventFd } from "../uring/register.ts";
import { CONTROL_PROGRESS, THREAD_IDLE, THREAD_IN_USER } from "./control_block.ts";
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
 * As {@linkcode serveBlocking}, but gives the event loop a turn several times a second. With Deno's
 * telemetry on, each export waits for every thread's event loop, and so does the end of the
 * process.
 */
export async function serveInTurns(server: QueueServer): Promise<void> {
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
/** Number of batches after which the event loop gets a turn even if more are ready. */
const BATCHES_PER_TURN = 16;

/**
 * Serves from within an event loop until the device is gone, so that Promises, timers and sockets
 * of the backend keep working. Each wait costs one hop through Deno's thread pool. Nothing wakes
 * this thread while no request is outstanding.
 *
 * @param eventfd A non-blocking eventfd for the ring to signal. The caller keeps ownership. It
 *   stays signalled as long as there are completions that this thread has not handled.
 */
export async function serveInEventLoop(
  server: QueueServer,
  eventfd: number,
  deadlineMs: number,
): Promise<void> {
  const ring = server.ring;
  const periodMs = Math.max(10, Math.min(1000, deadlineMs / CHECKS_PER_DEADLINE));
  let timer: ReturnType<typeof setInterval> | undefined;
  registerEventFd(ring, eventfd);
  await using completions = new PolledFd(eventfd);
  const tick = () => {
    // The tick proves that this thread is not stuck in a backend method.
    server.control[CONTROL_PROGRESS]++;
    server.guard(() => server.expire());
    // Wake the loop if a late answer has ended the service, or could not be submitted because the
    // kernel was short of memory.
    if (!server.running || ring.pending > 0) completions.wake();
    if (server.outstanding > 0 || ring.pending > 0) return;
    clearInterval(timer);
    timer = undefined;
    server.enterState(THREAD_IDLE);
  };
  try {
    while (server.running) {
      for (let batch = 0; batch < BATCHES_PER_TURN && server.running; batch++) {
        ring.enter(0);
        if (server.process() === 0 && ring.pending === 0) break;
      }
      if (!server.running) break;
      // Only after all were handled: if a method never returns, the watch sees the eventfd
      // signalled.
      resetEventFd(eventfd);
      if (server.outstanding > 0 || ring.pending > 0) timer ??= setInterval(tick, periodMs);
      // Completions that arrived meanwhile, or exceed one turn's share, get the next turn.
      if (ring.ready() > 0) signalEventFd(eventfd);
      else if (timer === undefined) server.enterState(THREAD_IDLE);
      await completions.wait();
      server.enterState(THREAD_IN_USER);
    }
    server.finish();
    server.check();
  } finally {
    clearInterval(timer);
  }
}
