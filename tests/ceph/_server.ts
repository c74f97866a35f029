/**
 * A bucket in Ceph, in a process of its own, which prints the URL of a store in it and keeps it until
 * it is sent SIGTERM: for benchmarks. The keys are `KEYS_IN_ENVIRONMENT`'s.
 *
 * @module
 */

import { Ceph } from "../../vm/ceph.ts";
import { Bucket } from "./_bucket.ts";

const ended = Promise.withResolvers<void>();
Deno.addSignalListener("SIGTERM", ended.resolve);
await using ceph = await Ceph.start();
const bucket = await Bucket.make(ceph, "bucket");
console.log(bucket.url());
await ended.promise;
