import { assert, assertEquals } from "@std/assert";
import { allSteps, GROUPS } from "./steps.ts";

Deno.test("allSteps + every group + has its steps, of different names", async () => {
  const steps = await allSteps();
  assertEquals(new Set(steps.map(({ group }) => group)), new Set(GROUPS));
  assertEquals(new Set(steps.map(({ name }) => name)).size, steps.length);
});

Deno.test("allSteps + a machine without packages and kernels + begins with what needs neither", async () => {
  const steps = await allSteps();
  const needing = steps.findIndex(({ needsNothing }) => !needsNothing);
  assert(steps.slice(0, needing).some(({ group }) => group === "unit"));
  assert(steps.slice(needing).every(({ needsNothing }) => !needsNothing));
  // One lane has work while the other one's guest waits for its kernel.
  assertEquals(steps.slice(needing, needing + 2).map(({ group }) => group), ["unit", "e2e"]);
});
