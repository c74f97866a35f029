/**
 * The module of a serving Worker: it opens a backend, serves its queues until the device is gone,
 * and closes the backend. It is exported so that `deno compile` and bundlers can find it; programs
 * do not import it.
 *
 * @module
 */

import { OpenedDisk } from "../disk/opened.ts";
import { traitsOf } from "../disk/traits.ts";
import { isUblkError } from "../uapi/error.ts";
import { setAffinity } from "../uring/libc.ts";
import { logSink, redirectConsole } from "./console.ts";
import { LOG_DEBUG, LOG_WARN } from "./log_events.ts";
import { LogWriter } from "./log_ring.ts";
import { type FromThread, packError, stackText, type ToThread, uncaughtError } from "./messages.ts";
import { prepareServing } from "./serving.ts";

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<ToThread>) => void) | null;
  postMessage(message: FromThread): void;
};

let disk: OpenedDisk | undefined;
let log: LogWriter | undefined;

async function handle(message: ToThread): Promise<void> {
  switch (message.type) {
    case "open": {
      log = new LogWriter(message.log);
      if (message.takesConsole) takeOutput(log);
      disk = await OpenedDisk.open(message.spec, message);
      const { sharing, shared } = disk;
      const traits = traitsOf(disk.backend);
      return scope.postMessage({ type: "opened", traits, sharing, shared });
    }
    case "serve": {
      pin(message.cpus, log!);
      const serving = prepareServing(disk!.backend, message.order, log!);
      // From here on this thread may block: what it has to say must be said before.
      scope.postMessage({ type: "ready", resources: serving.resources });
      const lostErrno = await serving.run();
      return scope.postMessage({ type: "stopped", lostErrno });
    }
    case "close":
      await disk?.close(message.unshare);
      return scope.postMessage({ type: "closed" });
  }
}

/** Keeps the thread near the CPUs whose requests it serves. Only speed depends on it. */
function pin(cpus: readonly number[], log: LogWriter): void {
  if (cpus.length === 0) return;
  try {
    setAffinity(cpus);
  } catch (error) {
    // A cpuset may forbid these CPUs.
    log.text(LOG_WARN, `not pinned: ${(error as Error).message}`);
  }
}

/**
 * Sends to the log what would otherwise be printed: the console, and what nobody catches. Deno prints
 * that in several lines, as it is, and ends the thread; here the manager is told, which ends it in
 * an orderly way.
 */
function takeOutput(log: LogWriter): void {
  redirectConsole(logSink(log));
  const caught = (event: Event, thrown: unknown) => {
    event.preventDefault();
    logPlace(thrown, log);
    scope.postMessage({ type: "failed", error: packError(uncaughtError(self.name, thrown)) });
  };
  addEventListener("unhandledrejection", (event) => caught(event, event.reason));
  addEventListener("error", (event) => caught(event, event.error));
}

/** Where a mistake was made is for the log: the error that its manager throws is one line. */
function logPlace(error: unknown, log: LogWriter): void {
  const sink = logSink(log);
  for (const line of stackText(error).split("\n")) sink(LOG_DEBUG, line);
}

// One after the other: a "close" that comes while the backend still opens is to close it.
let last = Promise.resolve();
scope.onmessage = (event) => {
  last = last.then(() => handle(event.data)).catch((error) => {
    if (log !== undefined && !isUblkError(error)) logPlace(error, log);
    scope.postMessage({ type: "failed", error: packError(error) });
  });
};
