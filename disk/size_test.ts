import { assertEquals, assertThrows } from "@std/assert";
import { formatSize, parseSize } from "./size.ts";

Deno.test("parseSize reads bytes and every unit in any case", () => {
  const expected: [string, number][] = [
    ["1", 1],
    ["4096", 4096],
    ["4096B", 4096],
    ["+8b", 8],
    ["1k", 1024],
    ["1K", 1024],
    ["1KiB", 1024],
    ["1kb", 1000],
    ["64M", 64 * 1024 ** 2],
    ["512MB", 512_000_000],
    ["1g", 1024 ** 3],
    ["1GiB", 1024 ** 3],
    ["2T", 2 * 1024 ** 4],
    ["2TB", 2e12],
    ["7P", 7 * 1024 ** 5],
    ["9PB", 9e15],
    [" 64 MiB ", 64 * 1024 ** 2],
    ["00010", 10],
  ];
  for (const [text, bytes] of expected) assertEquals(parseSize(text), bytes, text);
});

Deno.test("parseSize takes fractions that come to whole bytes", () => {
  assertEquals(parseSize("1.5G"), 1.5 * 1024 ** 3);
  assertEquals(parseSize("0.1KB"), 100);
  assertEquals(parseSize("2.000B"), 2);
  // Floating point makes this 1_109_999_999_999.9999.
  assertEquals(parseSize("1.11TB"), 1_110_000_000_000);
});

Deno.test("parseSize refuses fractions of a byte", () => {
  for (const text of ["0.5", "1.5B", "0.1K", "1.0001KB"]) {
    assertThrows(() => parseSize(text), RangeError, "not a whole number of bytes");
  }
});

Deno.test("parseSize refuses zero, negative and unrepresentable sizes", () => {
  assertThrows(() => parseSize("0"), RangeError, "at least 1 byte");
  assertThrows(() => parseSize("0.0G"), RangeError, "at least 1 byte");
  assertThrows(() => parseSize("-0"), RangeError, "at least 1 byte");
  assertThrows(() => parseSize("-64M"), RangeError, "negative");
  assertEquals(parseSize("9007199254740991"), Number.MAX_SAFE_INTEGER);
  assertThrows(() => parseSize("9007199254740992"), RangeError, "too large");
  assertThrows(() => parseSize("8P"), RangeError, "too large");
});

Deno.test("parseSize refuses what is not a number with a known unit", () => {
  const bad = [
    "",
    " ",
    "M",
    "ten",
    "1e9",
    "0x10",
    "1,5G",
    "1_000",
    ".5G",
    "1.G",
    "1 2",
    "NaN",
    "∞",
  ];
  for (const text of bad) assertThrows(() => parseSize(text), TypeError, "is not a size", text);
  for (const text of ["1E", "1iB", "1Bi", "1KK", "1Kib2"]) {
    assertThrows(() => parseSize(text), TypeError, "is not a size", text);
  }
});

Deno.test("parseSize's messages are one line that names cause and remedy", () => {
  const error = assertThrows(() => parseSize("12\nfoo"), TypeError);
  assertEquals(
    error.message,
    '"12\\nfoo" is not a size, there is no unit "foo": write a number of bytes or a number with ' +
      "a unit, such as 4096, 64M, 1.5GiB or 500GB",
  );
});

Deno.test("formatSize uses the largest unit and two decimals", () => {
  const expected: [number, string][] = [
    [0, "0 B"],
    [1, "1 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [1_000_000, "976.56 KiB"],
    [1024 ** 2 - 1, "1 MiB"],
    [64 * 1024 ** 2, "64 MiB"],
    [1.5 * 1024 ** 3, "1.5 GiB"],
    [Number.MAX_SAFE_INTEGER, "8 PiB"],
  ];
  for (const [bytes, text] of expected) assertEquals(formatSize(bytes), text);
});

Deno.test("formatSize of a round size is read back by parseSize", () => {
  for (const bytes of [1, 512, 4096, 1536, 64 * 1024 ** 2, 2.25 * 1024 ** 4]) {
    assertEquals(parseSize(formatSize(bytes)), bytes);
  }
});

Deno.test("formatSize refuses what is no number of bytes", () => {
  for (const bytes of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
    assertThrows(() => formatSize(bytes), RangeError, "not a number of bytes");
  }
});
