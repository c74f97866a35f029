import { assertEquals } from "@std/assert";
import { UNPRIVILEGED_DEADLINE_MS } from "../device/option_rules.ts";
import { optionOf } from "../device/option_table.ts";
import { lookUsOf, waitUsOf } from "./sizes.ts";

Deno.test("waitUsOf + any deadline + the wait and a look end before it, and within 25 s", () => {
  const default_ = optionOf("deadlineMs").default as number;
  for (const deadlineMs of [100, UNPRIVILEGED_DEADLINE_MS, default_, 60_000]) {
    const waitUs = waitUsOf(deadlineMs);
    const end = waitUs + lookUsOf(waitUs, 500_000);
    assertEquals([end < deadlineMs * 1000, waitUs <= 25e6], [true, true], `${deadlineMs} ms`);
  }
  assertEquals([waitUsOf(12_000), waitUsOf(20_000)], [9.6e6, 16e6]);
  assertEquals(waitUsOf(undefined), 25e6);
});
