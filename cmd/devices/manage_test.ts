import { assertEquals } from "@std/assert";
import { workerThreads } from "./manage.ts";

Deno.test("workerThreads finds Deno's Workers in the order in which they were made", () => {
  const text = "10 deno\n12 worker-10\n11 tokio-runtime-w\n13 worker-2\n14 iou-wrk-10\n";
  assertEquals(workerThreads(text), [13, 12]);
});
