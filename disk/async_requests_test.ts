import { assert, assertEquals } from "@std/assert";
import { AsyncRequests } from "./async_requests.ts";

const never = () => assert(false, "released");

Deno.test("AsyncRequests.settle answers a request once", () => {
  const requests = new AsyncRequests(2);
  const generation = requests.begin(1, 0);
  assertEquals(requests.outstanding, 1);
  assertEquals(requests.settle(1, generation), true);
  assertEquals([requests.settle(1, generation), requests.outstanding], [false, 0]);
});

Deno.test("AsyncRequests.settle tells the Promise of an earlier request from the present one", () => {
  const requests = new AsyncRequests(1);
  const first = requests.begin(0, 0);
  let released = 0;
  requests.abandon(0, () => released++);
  const second = requests.begin(0, 0);
  assertEquals([requests.settle(0, first), released], [false, 1]);
  // Settle and release each happen only once.
  assertEquals([requests.settle(0, first), released], [false, 1]);
  assertEquals([requests.outstanding, requests.settle(0, second)], [1, true]);
});

Deno.test("AsyncRequests.abandon keeps apart the Promises of one number that were given up", () => {
  const requests = new AsyncRequests(1);
  const released: number[] = [];
  const generations = [0, 1, 2].map((index) => {
    const generation = requests.begin(0, 0);
    requests.abandon(0, () => released.push(index));
    return generation;
  });
  for (const index of [1, 2, 0]) requests.settle(0, generations[index]);
  assertEquals([released, requests.outstanding], [[1, 2, 0], 0]);
});

Deno.test("AsyncRequests.overdue names the requests that have waited longer than the deadline", () => {
  const requests = new AsyncRequests(4);
  assertEquals(requests.overdue(1e9, 0), []);
  requests.begin(0, 100);
  requests.begin(2, 200);
  const answered = requests.begin(3, 0);
  requests.settle(3, answered);
  assertEquals(requests.overdue(300, 200), []);
  assertEquals(requests.overdue(301, 200), [0]);
  assertEquals(requests.overdue(1000, 200), [0, 2]);
  requests.abandon(0, never);
  assertEquals(requests.overdue(1000, 200), [2]);
});

Deno.test("AsyncRequests.close makes every Promise late and releases nothing", () => {
  const requests = new AsyncRequests(2);
  const first = requests.begin(0, 0);
  const second = requests.begin(1, 0);
  requests.abandon(1, never);
  requests.close();
  assertEquals([requests.settle(0, first), requests.settle(1, second)], [false, false]);
});
