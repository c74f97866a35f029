import { assertEquals, assertRejects } from "@std/assert";
import type { Closed } from "../../device/info.ts";
import type { ServedDevice } from "../../device/serve.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { StderrLog } from "./log.ts";
import { recordPath, removeRecord } from "../devices/records.ts";
import { serveUntilEnd, type Serving } from "./serving.ts";

// It stays open for the process's lifetime, so the first test to open it does not leak it.
openAllOfLibc();

/** A number that no device has, nor another suite or run on this machine. */
const ID = 1_010_000 + Deno.pid % 10_000;

/** Serves a fake device until the `fault` makes it fail; returns the calls made on the device. */
async function serveFailing(fault: Partial<Serving>): Promise<string[]> {
  const calls: string[] = [];
  const { promise: closed, resolve } = Promise.withResolvers<Closed>();
  const device = {
    id: ID,
    path: `/dev/ublkb${ID}`,
    closed,
    stop() {
      calls.push("stop");
      resolve({ reason: "deleted", recoverable: false } as Closed);
      return Promise.resolve();
    },
  } as unknown as ServedDevice;
  const log = new StderrLog("tool", { sink: { write: ({ length }) => Promise.resolve(length) } });
  const serving = {
    program: "ublk",
    target: "null",
    request: { process: {} },
    log,
    foreground: true,
    start: () => Promise.resolve(device),
    announce: () => Promise.resolve(),
    ...fault,
  } as unknown as Serving;
  try {
    await assertRejects(() => serveUntilEnd(serving), Error, "the fault");
  } finally {
    removeRecord(ID);
  }
  return [...calls, `serves: ${log.serves}`];
}

function fault(): never {
  throw new Error("the fault");
}

// Once, a failure while the record was written left the device without a server.
Deno.test("serveUntilEnd stops its device whatever fails once that is there", async () => {
  const stopped = ["stop", "serves: false"];
  assertEquals(await serveFailing({ nameLog: fault }), stopped, "the record");
  assertEquals(await serveFailing({ announce: fault }), stopped, "the announcement");
  await assertRejects(() => Deno.stat(recordPath(ID)), Deno.errors.NotFound);
});
