import { assertEquals, assertStrictEquals } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { closest, misspelt, withSuggestion } from "./misspelt.ts";

const FLAGS = ["depth", "queues", "quiet", "max-io", "overcommit", "recovery", "recovery-reissue"];

Deno.test("closest() + words a slip or two away, or begun + are found, and no others", async () => {
  const cases: [word: string, meant: string | undefined][] = [
    ["dept", "depth"],
    ["detph", "depth"],
    ["DEPTH", "depth"],
    ["queue", "queues"],
    ["max_io", "max-io"],
    ["max-oi", "max-io"],
    ["over", "overcommit"],
    ["recovry", "recovery"],
    // Two words start like this.
    ["recov", undefined],
    ["colour", undefined],
    ["oath", undefined],
    ["q", undefined],
    ["", undefined],
    ["x".repeat(100_000), undefined],
  ];
  for (const [word, meant] of cases) assertEquals(await closest(word, FLAGS), meant, word);
  assertEquals(await closest("depth", []), undefined);
});

Deno.test("withSuggestion() + an error of a word + has the word that was meant for its remedy", async () => {
  const error = () =>
    new UblkError("INVALID_ARGUMENT", { operation: "--x", reason: "r", hint: "h" });
  const suggested = await withSuggestion(
    misspelt(error(), "dept", FLAGS, (word) => `use --${word}`),
  );
  assertEquals((suggested as UblkError).message, "--x: r; use --depth");
  assertEquals((suggested as UblkError).code, "INVALID_ARGUMENT");
  const far = misspelt(error(), "colour", FLAGS);
  assertStrictEquals(await withSuggestion(far), far);
  const other = new Error("x");
  assertStrictEquals(await withSuggestion(other), other);
});
