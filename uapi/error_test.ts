import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import {
  assert as assertInvariant,
  AssertionError,
  fail,
  isUblkError,
  thrownText,
  UblkError,
} from "./error.ts";
import { ENOSPC } from "./errno.ts";

Deno.test("UblkError's message is one line: operation, place, cause, remedy", () => {
  const message = (init: Partial<ConstructorParameters<typeof UblkError>[1]>) =>
    new UblkError("CONTROL_FAILED", { operation: "START_DEV", ...init }).message;
  assertEquals(message({}), "START_DEV: failed");
  assertEquals(message({ reason: "no room" }), "START_DEV: no room");
  assertEquals(message({ errno: ENOSPC }), "START_DEV: ENOSPC");
  assertEquals(message({ reason: "no room", errno: ENOSPC }), "START_DEV: no room (ENOSPC)");
  assertEquals(
    message({ reason: "failed with ENOSPC", errno: ENOSPC }),
    "START_DEV: failed with ENOSPC",
    "the errno is not said twice",
  );
  assertEquals(message({ device: 0 }), "START_DEV (device 0): failed");
  assertEquals(
    message({ device: 2, queue: 0, errno: 999, hint: "try again" }),
    "START_DEV (device 2, queue 0): errno 999; try again",
  );
});

Deno.test("UblkError keeps its parts and its cause", () => {
  const cause = new Error("below");
  const parts = { operation: "x", reason: "r", hint: "h", device: 1, queue: 2, errno: ENOSPC };
  const error = new UblkError("DEVICE_BUSY", { ...parts, cause });
  assertInstanceOf(error, Error);
  const { operation, reason, hint, device, queue, errno } = error;
  assertEquals({ operation, reason, hint, device, queue, errno }, parts);
  assertEquals([error.code, error.name, error.cause], ["DEVICE_BUSY", "UblkError", cause]);
  assertEquals("cause" in new UblkError("DEVICE_BUSY", parts), false);
});

Deno.test("thrownText describes any thrown value", () => {
  assertEquals(thrownText(new TypeError("odd")), "TypeError: odd");
  assertEquals(["text", 5, null, Symbol("x")].map(thrownText), ["text", "5", "null", "Symbol(x)"]);
  const unprintable = [
    Object.create(null),
    Object.assign(new Error(), { message: Symbol("x") }),
    new Proxy({}, {
      getPrototypeOf() {
        throw new Error("no");
      },
    }),
  ];
  for (const value of unprintable) {
    assertEquals(thrownText(value), "an unprintable value was thrown");
  }
});

Deno.test("assert throws an Error that is no UblkError and names the condition", () => {
  assertInvariant(1, "nothing");
  const error = assertThrows(() => assertInvariant(0, "it holds"), AssertionError);
  assertEquals([error.name, error.message], ["AssertionError", "assertion failed: it holds"]);
  assertThrows(() => fail("nobody comes here"), AssertionError, "failed: nobody comes here");
  assert(!(error instanceof UblkError));
});

Deno.test("UblkError of another copy of the module is one, and what looks like one is not", async () => {
  const copy: typeof import("./error.ts") = await import(
    `${import.meta.resolve("./error.ts")}?copy`
  );
  const other = new copy.UblkError("DEVICE_BUSY", { operation: "open" });
  assert(copy.UblkError !== UblkError);
  assert(other instanceof UblkError && isUblkError(other));
  const alike = Object.assign(new Error(), { name: "UblkError", code: "DEVICE_BUSY" });
  assert(!(alike instanceof UblkError) && !isUblkError(alike));
  for (const value of [undefined, null, "", 1, {}]) assert(!isUblkError(value));
});
