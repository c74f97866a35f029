import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { parseCpus, workerThreads } from "./_manage.ts";

Deno.test("parseCpus reads lists as the kernel writes them", () => {
  assertEquals(parseCpus("0"), [0]);
  assertEquals(parseCpus("0-3,8,2"), [0, 1, 2, 3, 8]);
});

for (const text of ["", "a", "3-1", "1,", "-1", "0-5000", "1-2-3"]) {
  Deno.test(`parseCpus refuses ${JSON.stringify(text)}`, () => {
    const error = assertThrows(() => parseCpus(text), UblkError);
    assertEquals(
      error.message,
      `${text}: it is not a list of CPUs; write one such as 0-3,8, up to 1023`,
    );
  });
}

Deno.test("workerThreads finds Deno's Workers in the order in which they were made", () => {
  const text = "10 deno\n12 worker-10\n11 tokio-runtime-w\n13 worker-2\n14 iou-wrk-10\n";
  assertEquals(workerThreads(text), [13, 12]);
});
