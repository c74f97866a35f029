import { assertEquals } from "@std/assert";
import { type EndSignal, watchSignals } from "./_signals.ts";

function arrival(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve());
  return promise;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("watchSignals takes a Ctrl-C that arrives twice for one, and a later one for force", async () => {
  const forced: EndSignal[] = [];
  using watch = watchSignals((name) => forced.push(name));
  const arrived = arrival(watch.signal);
  Deno.kill(Deno.pid, "SIGHUP");
  await arrived;
  assertEquals(watch.signal.reason, "SIGHUP");
  Deno.kill(Deno.pid, "SIGINT");
  await sleep(1100);
  assertEquals(forced, []);
  Deno.kill(Deno.pid, "SIGTERM");
  while (forced.length === 0) await sleep(10);
  assertEquals(forced, ["SIGTERM"]);
});
