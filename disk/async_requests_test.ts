import { assert, assertEquals, assertThrows } from "@std/assert";
import { AsyncRequests } from "./async_requests.ts";

const never = () => assert(false, "released");

/** Requests whose outcomes are noted in a list. */
function noting(count: number) {
  const outcomes: unknown[] = [];
  const requests = new AsyncRequests(count, {
    fulfilled: (id, value) => outcomes.push(["fulfilled", id, value]),
    rejected: (id, reason) => outcomes.push(["rejected", id, reason]),
  });
  return { requests, outcomes };
}

/** Lets everything settle that can. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await undefined;
}

Deno.test("AsyncRequests.wait tells each outcome once, by the request's number", async () => {
  const { requests, outcomes } = noting(3);
  requests.wait(1, Promise.resolve(7), 0);
  requests.wait(2, Promise.reject("no"), 0);
  assertEquals([requests.outstanding, outcomes], [2, []]);
  await settled();
  assertEquals(outcomes, [["fulfilled", 1, 7], ["rejected", 2, "no"]]);
  assertEquals(requests.outstanding, 0);
  requests.wait(1, Promise.resolve(8), 0);
  await settled();
  assertEquals(outcomes.at(-1), ["fulfilled", 1, 8]);
});

Deno.test("AsyncRequests.wait guards against a thenable that settles twice", async () => {
  const { requests, outcomes } = noting(1);
  const twice = (resolve: (value: number) => void) => {
    resolve(1);
    resolve(2);
  };
  const thenables = [
    { then: twice },
    Object.assign(Promise.resolve(3), { then: twice }),
    new (class extends Promise<number> {
      override then = twice as Promise<number>["then"];
    })(() => {}),
  ];
  for (const thenable of thenables) {
    requests.wait(0, thenable as PromiseLike<number>, 0);
    await settled();
    assertEquals(outcomes.splice(0), [["fulfilled", 0, 1]]);
  }
});

Deno.test("AsyncRequests.wait waits for nothing whose properties cannot be read", () => {
  const { requests } = noting(1);
  const promise = Object.defineProperty(Promise.resolve(), "constructor", {
    get() {
      throw new Error("no");
    },
  });
  assertThrows(() => requests.wait(0, promise, 0), Error, "no");
  assertEquals(requests.outstanding, 0);
});

Deno.test("AsyncRequests.abandon releases when the Promise settles, and answers nothing", async () => {
  const { requests, outcomes } = noting(1);
  const released: number[] = [];
  const settle: (() => void)[] = [];
  for (const index of [0, 1, 2]) {
    requests.wait(0, new Promise<void>((resolve) => settle.push(resolve)), 0);
    requests.abandon(0, () => released.push(index));
  }
  requests.wait(0, new Promise<void>((resolve) => settle.push(resolve)), 0);
  for (const index of [1, 2, 0]) {
    settle[index]();
    await settled();
  }
  assertEquals([released, requests.outstanding, outcomes], [[1, 2, 0], 1, []]);
  settle[3]();
  await settled();
  assertEquals([released, outcomes], [[1, 2, 0], [["fulfilled", 0, undefined]]]);
});

Deno.test("AsyncRequests.overdue names the requests that have waited longer than the deadline", async () => {
  const { requests } = noting(4);
  const pending = new Promise(() => {});
  assertEquals(requests.overdue(1e9, 0), []);
  requests.wait(0, pending, 100);
  requests.wait(2, pending, 200);
  requests.wait(3, Promise.resolve(), 0);
  await settled();
  assertEquals(requests.overdue(300, 200), []);
  assertEquals(requests.overdue(301, 200), [0]);
  assertEquals(requests.overdue(1000, 200), [0, 2]);
  assertEquals(requests.overdue(300, 1000, 150), [0]);
  requests.abandon(0, never);
  assertEquals(requests.overdue(1000, 200), [2]);
});

Deno.test("AsyncRequests.close makes every Promise late and releases nothing", async () => {
  const { requests, outcomes } = noting(2);
  requests.wait(0, Promise.resolve(), 0);
  requests.wait(1, Promise.resolve(), 0);
  requests.abandon(1, never);
  requests.close();
  await settled();
  assertEquals(outcomes, []);
});

Deno.test("AsyncRequests.holds + two Promises + one is held, the other listened to", async () => {
  const { requests, outcomes } = noting(2);
  requests.holds = true;
  const first = Promise.resolve(1);
  requests.wait(0, first, 0);
  requests.wait(1, Promise.reject("no"), 0);
  await settled();
  assertEquals(requests.held, first);
  assertEquals([outcomes.splice(0), requests.outstanding], [[["rejected", 1, "no"]], 1]);
  requests.settleHeld(await first, false);
  assertEquals([outcomes.splice(0), requests.outstanding], [[["fulfilled", 0, 1]], 0]);
  assertEquals(requests.held, undefined);
  requests.wait(0, first, 0);
  assertEquals(requests.held, first);
  requests.settleHeld("no", true);
  assertEquals(outcomes, [["rejected", 0, "no"]]);
});

Deno.test("AsyncRequests.listen has a Promise that was held settle like the others", async () => {
  const { requests, outcomes } = noting(1);
  requests.holds = true;
  const late = Promise.withResolvers<number>();
  requests.wait(0, late.promise, 0);
  assertThrows(() => requests.abandon(0, never), Error, "listened");
  requests.listen();
  assertEquals(requests.held, undefined);
  const released: string[] = [];
  requests.abandon(0, () => released.push("late"));
  requests.wait(0, Promise.resolve(2), 0);
  requests.listen();
  late.resolve(1);
  await settled();
  assertEquals([outcomes.splice(0), released], [[["fulfilled", 0, 2]], ["late"]]);
  const broken = Object.defineProperty(Promise.resolve(), "constructor", {
    get() {
      throw "no";
    },
  });
  requests.wait(0, broken, 0);
  requests.listen();
  assertEquals([outcomes, requests.outstanding], [[["rejected", 0, "no"]], 0]);
});
