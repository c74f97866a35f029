import { assertRejects } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { KeyValueError } from "./key_value.ts";
import { NatsKeyValue, type NatsKeyValueParts } from "./nats_key_value.ts";

// Regression: it was no error of a bucket, which nobody waited for, and claims were renewed without a pause.
Deno.test("NatsKeyValue + gone, and too few servers to be made again + an error of a bucket", async () => {
  const gone = () => Promise.reject(Object.assign(new Error("stream not found"), { code: 10059 }));
  const made: NatsKeyValueParts["makeAgain"] = () =>
    Promise.reject(
      new UblkError("INVALID_ARGUMENT", {
        ...{ operation: "make a bucket with 3 replicas", reason: "no suitable peers", hint: "" },
      }),
    );
  const kv = { get: gone, update: gone } as unknown as NatsKeyValueParts["kv"];
  const bucket = new NatsKeyValue({
    ...{ kv, ttlMs: 45_000, bucket: "B", makeAgain: made },
    mark: () => Promise.resolve(1),
    purge: () => Promise.resolve(),
  });
  for (let round = 0; round < 2; round++) {
    const asked = [() => bucket.get("k"), () => bucket.update("k", new Uint8Array(1), 1)];
    for (const ask of asked) await assertRejects(ask, KeyValueError, "no suitable peers");
  }
});
