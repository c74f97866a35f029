import { assertEquals, assertThrows } from "@std/assert";
import { AssertionError } from "../uapi/error.ts";
import {
  claimRelease,
  createControlBlock,
  orderResize,
  OWNER_MANAGER,
  OWNER_NONE,
  OWNER_THREAD,
  reportResize,
  resizeBytes,
  resizeResult,
} from "./control_block.ts";

Deno.test("claimRelease + two who claim + the first alone succeeds", () => {
  const control = new Int32Array(createControlBlock(1000));
  assertEquals(claimRelease(control, OWNER_THREAD), true);
  assertEquals(claimRelease(control, OWNER_MANAGER), false);
  assertThrows(() => claimRelease(control, OWNER_NONE), AssertionError, "somebody releases it");
});

Deno.test("orderResize + a size beyond 32 bits + arrives, and its report goes back", () => {
  const control = new Int32Array(createControlBlock(1000));
  const order = orderResize(control, 5 * 2 ** 40 + 512);
  assertEquals([resizeBytes(control), resizeResult(control, order)], [
    5 * 2 ** 40 + 512,
    undefined,
  ]);
  reportResize(control, order, 0);
  assertEquals(resizeResult(control, order), 0);
});

Deno.test("reportResize + what was not ordered + an assertion fails", () => {
  const control = new Int32Array(createControlBlock(1000));
  assertThrows(() => reportResize(control, 1, 0), AssertionError, "what is reported was ordered");
  const order = orderResize(control, 512);
  assertThrows(() => reportResize(control, order, -5), AssertionError, "an errno is positive");
  assertThrows(() => orderResize(control, 0.5), AssertionError, "a size is exact");
});
