import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { volumeFiles } from "./open_files.ts";

Deno.test("volumeFiles + sizes of journals + has room for each of their files", () => {
  assertEquals(volumeFiles(), 16 + 256 + 64);
  assertEquals(volumeFiles(2 ** 33), volumeFiles() + 112);
  assertEquals(volumeFiles(2 ** 36), 1024 + 256 + 64);
  assertThrows(() => volumeFiles(2 ** 37), UblkError, "is not possible");
});
