import { checkKeyValueConformance } from "./conformance.ts";
import { MemoryKeyValue } from "./memory_key_value.ts";

Deno.test("MemoryKeyValue conforms", async () => {
  const clock = { now: 0 };
  const bucket = new MemoryKeyValue(2000, () => clock.now);
  const pause = (ms: number) => {
    clock.now += ms;
    return Promise.resolve();
  };
  await checkKeyValueConformance({ bucket, other: bucket, pause });
});
