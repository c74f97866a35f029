import { assertEquals } from "@std/assert";
import { beginStep, pacedMs } from "./pace.ts";

Deno.test("pacedMs grows with the steps under way, and shrinks as they end", () => {
  assertEquals(pacedMs(100), 100);
  const first = beginStep();
  assertEquals(pacedMs(100), 100);
  const second = beginStep();
  const third = beginStep();
  assertEquals(pacedMs(100), 300);
  second[Symbol.dispose]();
  second[Symbol.dispose]();
  assertEquals(pacedMs(100), 200);
  first[Symbol.dispose]();
  third[Symbol.dispose]();
  assertEquals(pacedMs(100), 100);
});
