import { assert, assertEquals, assertRejects } from "@std/assert";
import { Control } from "../ctrl/control.ts";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { asUblkError } from "./boundary.ts";
import { Device } from "./device.ts";
import { Holdings } from "./holdings.ts";
import { recover, serve } from "./serve.ts";

// Opened for good, and before a test, whose sanitizer would call it a leak.
openAllOfLibc();

Deno.test("asUblkError keeps what is one, and anything else as its cause in one line", () => {
  const known = new UblkError("ABORTED", { operation: "serve" });
  assert(asUblkError(known, "stop") === known);
  const cause = new Deno.errors.BadResource("Bad resource ID");
  const error = asUblkError(cause, "stop", 3);
  assertEquals([error.code, error.cause, error.device], ["UNEXPECTED", cause, 3]);
  assert(error.message.startsWith("stop (device 3): BadResource: Bad resource ID; "));
  assert(!asUblkError("two\nlines", "stop").message.includes("\n"));
  const denied = asUblkError(
    new Deno.errors.NotCapable('Requires run access to "/bin/sh", run again with --allow-run'),
    "start",
  );
  assertEquals(
    [denied.code, denied.message],
    ["PERMISSION_DENIED", 'start: Requires run access to "/bin/sh"; run again with --allow-run'],
  );
});

/** What goes wrong beneath the library, in its own words. */
const BELOW = new Deno.errors.BadResource("Bad resource ID");

/** The control device fails in a way that nobody foresaw. */
function brokenControl(): Disposable {
  const { open } = Control;
  Control.open = () => Promise.reject(BELOW);
  return { [Symbol.dispose]: () => void (Control.open = open) };
}

const backend = () => ({ size: 1 << 20, readAt() {}, writeAt() {} });

// serve() failed with a bare "Bad resource ID".
Deno.test("serve, recover and every step of a Device throw nothing but a UblkError", async () => {
  using _ = brokenControl();
  const device = new Device({ backend: backend() });
  const calls: Record<string, () => Promise<unknown>> = {
    serve: () => serve({ backend: backend() }),
    recover: () => recover(3, { backend: backend() }),
    "serve without options": () => serve(undefined as never),
    "serve without a backend": () => serve({} as never),
    create: () => device.create(),
    "a second create": () => new Device({ backend: backend() }).create(),
    start: () => device.start(),
    stop: () => new Device({ backend: backend() }).stop(),
    resize: () => new Device({ backend: backend() }).resize(4096),
    "a signal that is none": () =>
      serve({ backend: backend(), signal: { aborted: false } as never }),
    "close that throws": async () => {
      const failing = new Device({
        backend: {
          ...backend(),
          close() {
            throw new RangeError("closed on purpose");
          },
        },
      });
      await failing.create().catch(() => {});
      await failing.delete();
      throw (await failing.closed).error;
    },
  };
  for (const [name, call] of Object.entries(calls)) {
    const error = await assertRejects(call, Error, undefined, name);
    assert(error instanceof UblkError, `${name}: ${error}`);
    assert(!error.message.includes("\n"), name);
  }
  const { release } = Holdings.prototype;
  Holdings.prototype.release = () => Promise.reject(BELOW);
  const removing = new Device({ backend: backend() });
  const thrown = await assertRejects(() => removing.delete(), UblkError).finally(() =>
    Holdings.prototype.release = release
  );
  assertEquals([thrown.cause, (await removing.closed).error?.cause], [BELOW, BELOW]);
  const error = await assertRejects(calls.serve, UblkError, "BadResource: Bad resource ID");
  assertEquals([error.code, error.cause], ["UNEXPECTED", BELOW]);
  const { reason, error: closedBy } = await device.closed;
  assertEquals([reason, closedBy?.code], ["failed", "UNEXPECTED"]);
});
