/**
 * A program whose devices end at signals, for `device/end_signals_test.ts`. It reports events on
 * stdout. Its arguments select how its devices end, and other behaviour.
 *
 * @module
 */

import { afterSignal, chosenSignals, endOnSignals } from "../device/end_signals.ts";
import { guardLocalThread } from "../device/watchdog.ts";
import {
  CONTROL_OWNER,
  CONTROL_STATE,
  createControlBlock,
  OWNER_MANAGER,
  THREAD_IN_USER,
} from "../queue/control_block.ts";
import { eventFd } from "../uring/libc.ts";
import { SIGNAL_NUMBERS } from "../uring/signals.ts";
import { moduleUrl } from "./backend_modules.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const asked = (what: string) => Deno.args.includes(what);

/** Requests that the first device has answered. The second device lies on it, and writes to it. */
let answered = 0;

const control = createControlBlock(1_000);

/**
 * Starts a watchdog that finds this thread stuck a second later. Returns a function that ends the
 * watch, as the thread does when it continues.
 */
function guard(): () => void {
  new Int32Array(control)[CONTROL_STATE] = THREAD_IN_USER;
  return guardLocalThread({
    control,
    completionsFd: -1,
    device: 0,
    charFd: eventFd(),
    resources: { fds: [], mappings: [] },
    keepDevice: true,
    message: "the thread is stuck",
  });
}

/** Resolves once the watchdog has found this thread stuck and has acted. */
async function foundStuck(): Promise<void> {
  const words = new Int32Array(control);
  while (Atomics.load(words, CONTROL_OWNER) !== OWNER_MANAGER) await pause(20);
  await untilCaught(false);
}

/** Resolves once the process catches SIGINT, or once SIGINT would end it at once. */
async function untilCaught(isCaught: boolean): Promise<void> {
  const endMs = performance.now() + 10_000;
  for (;;) {
    const status = Deno.readTextFileSync("/proc/self/status");
    const mask = BigInt(`0x${/^SigCgt:\s*([0-9a-f]+)$/m.exec(status)![1]}`);
    if ((mask >> BigInt(SIGNAL_NUMBERS.SIGINT - 1) & 1n) === (isCaught ? 1n : 0n)) return;
    if (performance.now() > endMs) throw new Error(`SIGINT is ${isCaught ? "not " : ""}caught`);
    await pause(20);
  }
}

/** Creates a device that ends at signals, or when `close` is called. */
function device(name: string, takesMs: number): { close(): void } {
  const { promise: ended, resolve: close } = Promise.withResolvers<void>();
  endOnSignals(chosenSignals(true), {
    ended,
    interrupt() {},
    answered: () => answered,
    async end(signal) {
      console.log(`${signal} ends ${name}`);
      await pause(takesMs);
      console.log(`${name} ended`);
      close();
    },
  });
  ended.then(serveAgain);
  return { close };
}

async function serveAgain(): Promise<void> {
  if (!asked("again")) return;
  const { serve } = await import("../mod.ts");
  // It is refused before it needs the driver, and before the first device ends.
  const backend = { module: moduleUrl(`export function open() { throw new Error("no") }`) };
  await serve({ backend }).catch(() => console.log("serves again"));
}

const takesMs = asked("slow") ? 60_000 : asked("stacked") ? 5_000 : asked("again") ? 1_000 : 20;
// Before the thread listens for signals, as for a device that no signal ends.
const unguard = asked("stuck") ? guard() : undefined;
const devices = [device("first", asked("again") ? 1_000 : 0), device("second", takesMs)];
if (asked("stacked")) setInterval(() => answered++, 500);
if (asked("own")) {
  Deno.addSignalListener(asked("itself") ? "SIGTERM" : "SIGINT", async () => {
    console.log("own listener");
    await afterSignal();
    console.log("signal handled");
  });
}
if (asked("closed")) { for (const { close } of devices) close(); }
await (asked("stuck") ? foundStuck() : pause(0));
if (asked("unstuck")) {
  unguard?.();
  await untilCaught(true);
}
console.log("ready");
if (asked("itself")) Deno.kill(Deno.pid, "SIGTERM");
await pause(asked("short") ? 3_000 : 60_000);
console.log("over");
