import { assertEquals } from "@std/assert";
import { fitting } from "./dialect.ts";

Deno.test("fitting + bodies + as many as there is room for, and one at least", () => {
  const entries = ["a", "b", "c"].map((id) => ({ id, body: { text: "x".repeat(989) } }));
  const of = (mostBytes: number, next = "") => {
    const page = fitting(entries, next, mostBytes);
    return [page.bodies.length, page.next];
  };
  assertEquals(of(1024 + 3003, "c"), [3, "c"]);
  assertEquals(of(1024 + 3002, "c"), [2, "b"]);
  assertEquals([of(0), of(1 << 20)], [[1, "a"], [3, ""]]);
  assertEquals(fitting([], "", 0), { bodies: [], next: "" });
});
