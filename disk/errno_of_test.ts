import { assert, assertEquals } from "@std/assert";
import { BLK_ERRORS, isBlkErrno } from "../uapi/blk_errors.ts";
import { EDQUOT, EIO, ENODATA, ENOSPC, ETIMEDOUT } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { Dice } from "../uapi/dice.ts";
import { claimedErrno, errnoOf } from "./errno_of.ts";

Deno.test("errnoOf passes on every errno that the block layer passes on, by number or name", () => {
  for (const { errno, name, answerable } of BLK_ERRORS) {
    // EAGAIN would make the client wait for ever, so it becomes EIO like all others.
    const want = answerable ? errno : EIO;
    assertEquals(errnoOf({ errno }), want, name);
    assertEquals(errnoOf({ errno: -errno }), want, `${name}, negative as Node has it`);
    assertEquals(errnoOf(Object.assign(new Error(), { code: name })), want, name);
    assertEquals(errnoOf(new UblkError("SYSCALL_FAILED", { operation: "x", errno })), want, name);
  }
});

Deno.test("errnoOf turns what the block layer would not pass on into EIO", () => {
  const { errors } = Deno;
  const others = [
    ...[{ errno: 2 }, { errno: 0 }, { errno: 4095 }, { errno: 28.5 }, { errno: NaN }],
    ...[{ errno: Infinity }, { errno: "28" }, { errno: 28n }, { code: "ENOENT" }, { code: "" }],
    ...[{ code: "toString" }, { code: 28 }, {}, [], new Error("ENOSPC"), new errors.NotFound()],
    new UblkError("CONTROL_TIMEOUT", { operation: "x" }),
  ];
  for (const thrown of others) assertEquals(errnoOf(thrown), EIO, Deno.inspect(thrown));
});

Deno.test("errnoOf has a client of a server that is over its quota find the disk full", () => {
  for (const thrown of [{ errno: EDQUOT }, { errno: -EDQUOT }, { code: "EDQUOT" }]) {
    assertEquals(errnoOf(thrown), ENOSPC);
  }
});

Deno.test("claimedErrno is what a value says of itself, also where no client would get that", () => {
  assertEquals(claimedErrno({ code: "ENOENT" }), 2);
  assertEquals(claimedErrno({ errno: -4095 }), 4095);
  const odd = Object.defineProperty({}, "errno", { get: thrower });
  for (const thrown of ["ENOENT", {}, null, odd]) assertEquals(claimedErrno(thrown), undefined);
});

Deno.test("errnoOf knows the time-outs of Deno and of the web", async () => {
  assertEquals(errnoOf(new DOMException("", "TimeoutError")), ETIMEDOUT);
  assertEquals(errnoOf(new Deno.errors.TimedOut()), ETIMEDOUT);
  assertEquals(errnoOf(new DOMException("", "AbortError")), EIO);
  const signal = AbortSignal.timeout(0);
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  assertEquals(errnoOf(signal.reason), ETIMEDOUT);
});

Deno.test("errnoOf knows what Deno throws on a full disk", async () => {
  const file = await Deno.open("/dev/full", { write: true });
  try {
    await file.write(new Uint8Array(1));
    throw new Error("/dev/full took a byte");
  } catch (error) {
    assertEquals(errnoOf(error), ENOSPC, Deno.inspect(error));
  } finally {
    file.close();
  }
});

function thrower(): never {
  throw new Error("even this throws");
}

const revoked = Proxy.revocable({}, {});
revoked.revoke();
const ODD: unknown[] = [
  ...[null, undefined, 0, -0, NaN, 28, -28, 28n, "", "ENOSPC", true, Symbol("x"), thrower],
  ...[Object.create(null), Object.freeze({ errno: ENODATA }), revoked.proxy, new WeakMap()],
  ...["errno", "code", "name"].map((key) => Object.defineProperty({}, key, { get: thrower })),
  // This value once made errnoOf itself throw, in the hot loop, where nothing catches errors.
  new Proxy(new Error(), { get: thrower }),
  new Proxy({}, { getPrototypeOf: thrower, has: thrower }),
  new Proxy(new UblkError("ABORTED", { operation: "x", errno: ENOSPC }), { get: thrower }),
  class extends Error {},
];

Deno.test("errnoOf never throws, whatever was thrown", () => {
  for (const thrown of ODD) {
    const errno = errnoOf(thrown);
    assert(isBlkErrno(errno), `${typeof thrown}: ${errno}`);
  }
  assertEquals(errnoOf(ODD[14]), ENODATA);
});

Deno.test("errnoOf never throws for objects put together at random", () => {
  const dice = new Dice(7);
  const pick = <T>(values: readonly T[]) => values[dice.draw(values.length)];
  for (let round = 0; round < 20_000; round++) {
    let thrown: object = pick([{}, new Error(), () => {}, [], Object.create(null)]);
    for (const key of ["errno", "code", "name", "message", "then"]) {
      const value = pick([...ODD, undefined, 5, -110, 61, "EIO", "TimeoutError"]);
      if (dice.draw(2) === 0) Object.defineProperty(thrown, key, { value, configurable: true });
      else if (dice.draw(9) === 0) {
        Object.defineProperty(thrown, key, { get: thrower, configurable: true });
      }
    }
    if (dice.draw(5) === 0) thrown = new Proxy(thrown, pick([{}, { get: thrower }]));
    assert(isBlkErrno(errnoOf(thrown)));
  }
});
