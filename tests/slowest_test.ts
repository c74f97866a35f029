import { assertEquals } from "@std/assert";
import { formatSlowest } from "./slowest.ts";

Deno.test("formatSlowest adds files up and sorts both lists", () => {
  const times = [
    { file: "a_test.ts", name: "one", seconds: 2 },
    { file: "b_test.ts", name: "two", seconds: 12.34 },
    { file: "a_test.ts", name: "three", seconds: 0.75 },
  ];
  assertEquals(formatSlowest(times), [
    "    12.3 s  b_test.ts",
    "     2.8 s  a_test.ts",
    "    12.3 s  b_test.ts: two",
    "     2.0 s  a_test.ts: one",
  ]);
});

Deno.test("formatSlowest says nothing of what was quick", () => {
  assertEquals(formatSlowest([{ file: "a_test.ts", name: "one", seconds: 0.1 }]), []);
});
