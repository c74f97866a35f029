import { assertEquals } from "@std/assert";
import { frameText } from "./screen.ts";

Deno.test("frameText fits into the window", () => {
  const lines = ["µs 1234", "b", "c", "d"];
  assertEquals(
    frameText(lines, { columns: 4, rows: 4 }),
    "\x1b[Hµs 1\x1b[K\r\nb\x1b[K\r\nc\x1b[K\r\nd\x1b[K\x1b[J",
  );
  assertEquals(
    frameText(lines, { columns: 80, rows: 3 }),
    "\x1b[Hµs 1234\x1b[K\r\nb\x1b[K\r\n… 2 more lines; make the window larger\x1b[K\x1b[J",
  );
});

Deno.test("frameText + lines with control characters + shows their escapes", () => {
  assertEquals(
    frameText(["a\x1b[2J\nb"], { columns: 80, rows: 2 }),
    "\x1b[Ha\\x1b[2J\\nb\x1b[K\x1b[J",
  );
});
