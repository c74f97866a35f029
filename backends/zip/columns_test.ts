import { assertEquals } from "@std/assert";
import { TextStore } from "./columns.ts";

Deno.test("TextStore returns its texts, including those that span chunks", () => {
  const store = new TextStore(0);
  const texts = Array.from({ length: 4000 }, (_, index) => "äx😀".repeat(index % 97));
  // Longer than several chunks.
  texts.splice(100, 0, "", "日".repeat(65_535), "end");
  for (const text of texts) store.add(text);
  store.trim();
  for (const [index, text] of texts.entries()) assertEquals(store.at(index), text, `${index}`);
});
