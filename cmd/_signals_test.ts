import { assertEquals } from "@std/assert";
import { type EndSignal, watchSignals } from "./_signals.ts";

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("watchSignals takes a Ctrl-C that arrives twice for one, and a later one for force", async () => {
  const forced: EndSignal[] = [];
  using watch = watchSignals((name) => forced.push(name));
  Deno.kill(Deno.pid, "SIGHUP");
  // Waiting by a timer: a signal listener alone does not keep the event loop alive.
  // SIGHUP for all of them: `deno test` itself ends on the others.
  while (!watch.signal.aborted) await sleep(5);
  assertEquals(watch.signal.reason, "SIGHUP");
  Deno.kill(Deno.pid, "SIGHUP");
  await sleep(1100);
  assertEquals(forced, []);
  Deno.kill(Deno.pid, "SIGHUP");
  while (forced.length === 0) await sleep(10);
  assertEquals(forced, ["SIGHUP"]);
});
