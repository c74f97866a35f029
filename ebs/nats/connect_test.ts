import { assertEquals } from "@std/assert";
import { distinctServers, longestUnused } from "./connect.ts";

const server = (src: string, lastConnect: number, gossiped = false) => ({
  ...{ src, lastConnect, gossiped },
});

Deno.test("longestUnused + a server that is named by its address too + another name is dialled first", () => {
  const lost = server("nats-1:4222", 100);
  const its = server("10.0.0.1:4222", 0, true);
  const other = server("nats-2:4222", 0);
  for (const pool of [[lost, its, other], [other, its, lost], [its, lost, other]]) {
    assertEquals(longestUnused(pool), other);
  }
  // Once all names were dialled, what the servers have told is.
  assertEquals(longestUnused([lost, its, server("nats-2:4222", 50)]), its);
  const [old, young] = [server("nats-1:4222", 100), server("10.0.0.2:4222", 200, true)];
  assertEquals([longestUnused([old, young]), longestUnused([young, old])], [old, old]);
});

// Regression: the second of the two was never dialled, and chosen each time.
Deno.test("distinctServers + servers that are named twice + are there once, in their order", () => {
  assertEquals(
    distinctServers([
      ...["nats://One", "nats://two:4222", "nats://one:4222", "tls://two"],
      ...["nats://two:4223", "nats://[::1]", "nats://[::1]:4222"],
    ]),
    ["nats://One", "nats://two:4222", "nats://two:4223", "nats://[::1]"],
  );
});
