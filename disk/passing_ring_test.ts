import { assertEquals } from "@std/assert";
import type { RingMethods, RingOperations, RingRequest } from "./backend.ts";
import { FilledRequest, PassingRing } from "./passing_ring.ts";

const ring = {} as RingOperations;

Deno.test("PassingRing + requests and completions + reach what is inside, and its answers come back", () => {
  const calls: unknown[][] = [];
  const inner: RingMethods = {
    prepare: (...given: unknown[]) => void calls.push(given),
    complete: (...given: [RingRequest, number, RingOperations]) => {
      calls.push(given);
      return given[1];
    },
  };
  const passing = new PassingRing(inner);
  const request = new FilledRequest();
  assertEquals([passing.prepare(request, ring), passing.complete(request, -5, ring)], [
    undefined,
    -5,
  ]);
  assertEquals(calls, [[request, ring], [request, -5, ring]]);
});

// A wrapper would not hear of the requests to the descriptor.
Deno.test("PassingRing + what is inside + has the same traits, but for the descriptor", () => {
  const traits = { operations: 7, metadata: true, forZeroCopyOnly: true, preferZeroCopy: true };
  const inner = { ...traits, plainFd: 3, prepare() {}, complete() {} };
  const { operations, metadata, forZeroCopyOnly, preferZeroCopy, plainFd } = new PassingRing(inner);
  assertEquals({ operations, metadata, forZeroCopyOnly, preferZeroCopy }, traits);
  assertEquals(plainFd, undefined);
});
