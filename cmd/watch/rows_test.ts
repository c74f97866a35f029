import { assert, assertEquals } from "@std/assert";
import { columns } from "../devices/devices.ts";
import { countText, tableLines, timeText } from "./rows.ts";

Deno.test("countText stays within six characters", () => {
  const texts: [number, string][] = [
    [0, "0"],
    [0.04, "0.0"],
    [0.34, "0.3"],
    [7, "7"],
    [12.34, "12.3"],
    [99.96, "100"],
    [812.4, "812"],
    [9999, "9999"],
    [9999.6, "10.0k"],
    [12_345, "12.3k"],
    [99_960, "100k"],
    [999_600, "1.0M"],
    [123_456_789, "123M"],
    [7.2e9, "7.2G"],
    [3e15, "3e+15"],
  ];
  for (const [value, text] of texts) assertEquals(countText(value), text, `${value}`);
  for (let value = 0.01; value < 1e16; value *= 1.37) assert(countText(value).length <= 6);
});

Deno.test("timeText chooses the unit", () => {
  const texts: [number, string][] = [
    [1, "1µs"],
    [1.25, "1.3µs"],
    [80, "80µs"],
    [999.6, "1ms"],
    [1234, "1.2ms"],
    [56_000, "56ms"],
    [999_700, "1s"],
    [3.4e6, "3.4s"],
    [67e6, "67s"],
  ];
  for (const [us, text] of texts) assertEquals(timeText(us, 1), text, `${us}`);
  assertEquals(timeText(0, 0), "-");
});

Deno.test("tableLines keeps its columns, with texts across them", () => {
  const columns = [
    { heading: "NAME", width: 6, left: true },
    { heading: "N", width: 3 },
    { heading: "LONG", width: 1 },
  ] as const;
  assertEquals(tableLines(columns, [["a", "1", "x"], { device: "b", text: "a long text" }]), [
    "NAME      N  LONG",
    "a         1     x",
    "b       a long text",
  ]);
});

Deno.test("tables + cells with control characters + each row stays one, and in its columns", () => {
  const evil = "a\n\x1b[2J";
  const lines = tableLines([{ heading: "A", width: 1, left: true }, { heading: "B", width: 1 }], [
    [evil, "1"],
    ["b", "22"],
    { device: "c", text: evil },
  ]);
  assertEquals(lines, [
    "A            B",
    "a\\n\\x1b[2J   1",
    "b           22",
    "c           a\\n\\x1b[2J",
  ]);
  assertEquals(columns([["A", "B"], [evil, "1"], ["b", "2"]]), [
    "A           B",
    "a\\n\\x1b[2J  1",
    "b           2",
  ]);
});
