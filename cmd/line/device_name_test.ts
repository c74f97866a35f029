import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { deviceNumber } from "./device_name.ts";

Deno.test("deviceNumber() + a number, a node, the server's node + is the number", () => {
  for (const text of ["12", "ublkb12", "ublkc12", "/dev/ublkb12", "/dev/ublkc12"]) {
    assertEquals(deviceNumber(text), "12");
  }
  // The flag checks the range.
  assertEquals(deviceNumber("-1"), "-1");
});

Deno.test("deviceNumber() + a partition or another file + says what to type", () => {
  const cases: [string, string][] = [
    ["/dev/ublkb3p1", "/dev/ublkb3p1: it is a partition; give the disk: /dev/ublkb3"],
    ["ublkb3p12", "ublkb3p12: it is a partition; give the disk: /dev/ublkb3"],
    ["/dev/sda", "/dev/sda: it is no device of ublk; give its number, or /dev/ublkbN"],
    ["one", "one: it is no device of ublk; give its number, or /dev/ublkbN"],
    ["ublkb", "ublkb: it is no device of ublk; give its number, or /dev/ublkbN"],
  ];
  for (const [text, message] of cases) {
    assertEquals(assertThrows(() => deviceNumber(text), UblkError).message, message);
  }
});
