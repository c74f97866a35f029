/**
 * A program whose devices end at signals, for `device/end_signals_test.ts`: it says on stdout what
 * happens. Its arguments say how its devices end and what else it does.
 *
 * @module
 */

import { chosenSignals, endOnSignals } from "../device/end_signals.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Something that ends at signals, or by itself when `close` is called. */
function device(name: string, takesMs: number): { close(): void } {
  const { promise: ended, resolve: close } = Promise.withResolvers<void>();
  endOnSignals(chosenSignals(true), {
    ended,
    async end(signal) {
      console.log(`${signal} ends ${name}`);
      await pause(takesMs);
      console.log(`${name} ended`);
      close();
    },
  });
  return { close };
}

const slow = Deno.args.includes("slow");
const devices = [device("first", 0), device("second", slow ? 60_000 : 20)];
if (Deno.args.includes("own")) Deno.addSignalListener("SIGINT", () => console.log("own listener"));
if (Deno.args.includes("closed")) { for (const { close } of devices) close(); }
await pause(0);
console.log("ready");
await pause(Deno.args.includes("short") ? 3_000 : 60_000);
console.log("over");
