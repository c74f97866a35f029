import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { parseCpuLists, parseCpus } from "./cpus.ts";

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

Deno.test("parseCpuLists reads a list for each thread, with colons between", () => {
  assertEquals(parseCpuLists("0-1"), [[0, 1]]);
  assertEquals(parseCpuLists("0-1:3"), [[0, 1], [3]]);
  assertEquals(parseCpuLists(":3:"), [[], [3], []]);
  assertThrows(() => parseCpuLists("0:x"), UblkError, "x: it is not a list of CPUs");
});
