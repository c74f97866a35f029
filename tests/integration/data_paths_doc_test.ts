import { assertEquals } from "@std/assert";
import { tables } from "../e2e/_table.ts";

const PAGE = new URL("../../docs/data-paths.md", import.meta.url);

Deno.test("docs/data-paths.md has the tables of the cells that the tests prove", async () => {
  const text = await Deno.readTextFile(PAGE);
  const [, between] = text.split(/<!-- tables[^>]*-->/);
  assertEquals(between.trim(), tables().trim());
});
