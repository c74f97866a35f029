import { assert, assertEquals } from "@std/assert";
import { compareReleases } from "./kernels.ts";
import { cpio, shellQuote } from "./initramfs.ts";

Deno.test("compareReleases orders by numbers and not by letters", () => {
  const releases = ["7.2.13+deb14-amd64", "7.2.6+deb13-amd64", "7.2.9-amd64"];
  assertEquals(releases.toSorted(compareReleases), releases.toReversed().toSorted(compareReleases));
  assertEquals(releases.toSorted(compareReleases).at(-1), "7.2.13+deb14-amd64");
  assert(compareReleases("7.2.9+deb13-amd64", "7.2.13+deb14-amd64") < 0);
});

Deno.test("cpio pads headers and contents to four bytes", async () => {
  const data = new TextEncoder().encode("hello");
  const bytes = await cpio([{ path: "a", mode: 0o100644, data }]).bytes();
  assertEquals(bytes.length % 4, 0);
  const text = new TextDecoder().decode(bytes);
  assertEquals(text.slice(0, 6), "070701");
  assertEquals(text.indexOf("hello"), 112); // 110 of header, "a\0".
  assertEquals(text.indexOf("070701", 6), 120);
  assert(text.includes("TRAILER!!!"));
});

Deno.test("shellQuote survives quotes", () => {
  assertEquals(shellQuote("it's"), `'it'\\''s'`);
});
