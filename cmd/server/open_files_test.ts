import { assertEquals } from "@std/assert";
import { openAllOfLibc } from "../../uring/libc.ts";
import { checkOpenFiles, openFilesLimit } from "./open_files.ts";

// Opened once, before any test, because the sanitizer would report a leak.
openAllOfLibc();

Deno.test("openFilesLimit + /proc/PID/limits + is the soft limit", () => {
  const head = "Limit                     Soft Limit           Hard Limit           Units     \n";
  const limits = (soft: string) =>
    `${head}Max open files            ${soft}    1048576    files \n`;
  assertEquals(openFilesLimit(limits("24")), 24);
  assertEquals(openFilesLimit(limits("unlimited")), Infinity);
  assertEquals(openFilesLimit(""), Infinity);
});

Deno.test("checkOpenFiles + an ordinary limit + is content", () => {
  checkOpenFiles();
});
