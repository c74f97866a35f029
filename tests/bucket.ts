/**
 * A bucket in a process of its own, which prints the URL of a store in it: for tests and benchmarks.
 *
 * @module
 */

import { FakeS3 } from "../store/s3/fake_bucket.ts";

console.log(new FakeS3().url);
