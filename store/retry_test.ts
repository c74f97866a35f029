import { assert, assertEquals, assertRejects } from "@std/assert";
import { Backoff, isTransient, mayPass, retried } from "./retry.ts";
import { StoreError, type StoreFault } from "./store.ts";

/** A clock that only pauses move. */
class Clock {
  ms = 0;
  readonly pauses: number[] = [];
  readonly terms = {
    now: () => this.ms,
    pause: (ms: number) => {
      this.pauses.push(ms);
      this.ms += ms;
      return Promise.resolve();
    },
  };
}

/** Fails with these faults, and then succeeds. */
function failing(...faults: StoreFault[]): () => Promise<string> {
  return () => {
    const fault = faults.shift();
    if (fault === undefined) return Promise.resolve("done");
    return Promise.reject(new StoreError(fault, fault));
  };
}

Deno.test("mayPass, isTransient + each fault, and no other error", () => {
  const rows = (["unavailable", "full", "refused", "corrupt"] as const).map((fault) => {
    const error = new StoreError(fault, fault);
    return [fault, isTransient(error), mayPass(error)];
  });
  assertEquals(rows, [
    ["unavailable", true, true],
    ["full", false, true],
    ["refused", false, true],
    ["corrupt", false, false],
  ]);
  assertEquals([isTransient(new Error("unavailable")), mayPass(new Error())], [false, false]);
});

Deno.test("Backoff + pauses double up to 10 s, and half of each is random", () => {
  const pauses = (random: number) => {
    const backoff = new Backoff(() => random);
    return Array.from({ length: 9 }, () => backoff.next());
  };
  const least = [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000];
  assertEquals(pauses(0), least);
  assertEquals(pauses(0.5), least.map((ms) => ms * 1.5));
  const backoff = new Backoff(() => 0);
  backoff.next();
  backoff.next();
  assertEquals(backoff.failures, 2);
  backoff.succeeded();
  assertEquals([backoff.failures, backoff.next()], [0, 50]);
});

Deno.test("retried + transient failures are tried again, others are not", async () => {
  const clock = new Clock();
  const terms = { ...clock.terms, withinMs: 5000 };
  assertEquals(await retried(failing("unavailable", "unavailable"), terms), "done");
  assertEquals(clock.pauses.length, 2);
  for (const fault of ["full", "refused", "corrupt"] as const) {
    await assertRejects(() => retried(failing(fault), terms), StoreError, fault);
  }
  assertEquals(clock.pauses.length, 2);
  assertEquals(await retried(failing("full"), { ...terms, mayPass }), "done");
});

Deno.test("retried + no attempt begins after the time is over", async () => {
  const clock = new Clock();
  let last = 0;
  const attempt = () => {
    last = clock.ms;
    return Promise.reject(new StoreError("unavailable", "away"));
  };
  await assertRejects(() => retried(attempt, { ...clock.terms, withinMs: 5000 }), StoreError);
  assert(last > 1000 && last <= 5000, `${last} ms`);
});
