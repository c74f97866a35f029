/**
 * The module of a serving Worker. It opens a backend, serves its queues until the device is gone,
 * and closes the backend. It is exported so that `deno compile` and bundlers can find it. Programs
 * do not import it.
 *
 * @module
 */

import { OpenedDisk } from "../disk/opened.ts";
import { traitsOf } from "../disk/traits.ts";
import { isUblkError, stackText } from "../uapi/error.ts";
import { setAffinity } from "../uring/libc.ts";
import { logSink, redirectConsole } from "./console.ts";
import { LOG_DEBUG, LOG_WARN } from "./log_events.ts";
import { LogWriter } from "./log_ring.ts";
import { packError } from "../uapi/packed_error.ts";
import { type FromThread, type ToThread, uncaughtError } from "./messages.ts";
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
      const { sharing, shared, backend } = disk;
      const { counters, warnings = [] } = backend;
      const traits = traitsOf(backend);
      return scope.postMessage({ type: "opened", traits, sharing, shared, counters, warnings });
    }
    case "serve": {
      pin(message.cpus, log!);
      const serving = prepareServing(disk!.backend, message.order, log!);
      // The thread may block from here on, so send the message first.
      scope.postMessage({ type: "ready", resources: serving.resources });
      const lostErrno = await serving.run();
      return scope.postMessage({ type: "stopped", lostErrno });
    }
    case "close":
      await disk?.close(message.unshare);
      return scope.postMessage({ type: "closed" });
  }
}

/** Pins the thread to the CPUs whose requests it serves. This only affects speed. */
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
 * Sends the console's output and uncaught errors to the log. By default Deno prints an uncaught
 * error raw, on several lines, and ends the thread. Here the manager gets a message, and ends the
 * thread in an orderly way.
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

/** Logs an error's stack. The error that the manager throws has only one line. */
function logPlace(error: unknown, log: LogWriter): void {
  const sink = logSink(log);
  for (const line of stackText(error).split("\n")) sink(LOG_DEBUG, line);
}

// Handle messages one at a time: a "close" during the opening of a backend must close it.
let last = Promise.resolve();
scope.onmessage = (event) => {
  last = last.then(() => handle(event.data)).catch((error) => {
    if (log !== undefined && !isUblkError(error)) logPlace(error, log);
    scope.postMessage({ type: "failed", error: packError(error) });
  });
};
