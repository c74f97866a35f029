/** The end of a server whose connection does not answer any more. */

import type { NatsConnection, Subscription } from "@nats-io/transport-node";
import { Bed } from "../../tests/ebs/bed.ts";
import { EbsServer } from "./server.ts";

// Regression: no volume was left in order, for its end waited for the server of NATS.
Deno.test("EbsServer + a server of NATS that does not answer + its end comes all the same", async () => {
  await using bed = await Bed.inMemory();
  const subscription: Partial<Subscription> = {
    isClosed: () => false,
    drain: () => new Promise<void>(() => {}),
  };
  const connection: Partial<NatsConnection> = {
    subscribe: () => subscription as Subscription,
    flush: () => Promise.resolve(),
    isClosed: () => false,
  };
  const server = await EbsServer.start({
    ...{ connection: connection as NatsConnection, service: bed.node(), version: "1" },
    ...{ zone: undefined, access: "unix", report: () => {}, answerMs: 10 },
  });
  await server[Symbol.asyncDispose]();
});
