import { assert, assertEquals } from "@std/assert";
import { FEATURES } from "../uapi/features.ts";

const PAGE = await Deno.readTextFile(new URL("../docs/kernel-features.md", import.meta.url));

/** The cells of the table's rows. */
const ROWS = PAGE.split("\n").filter((line) => /^\| \d/.test(line)).map((line) =>
  line.split("|").slice(1, -1).map((cell) => cell.trim())
);

/** Whether a kernel is at least as new as another, both as "major.minor". */
function isSince(kernel: string, first: string): boolean {
  const [major, minor] = kernel.split(".").map(Number);
  const [firstMajor, firstMinor] = first.split(".").map(Number);
  return major > firstMajor || major === firstMajor && minor >= firstMinor;
}

Deno.test("docs/kernel-features.md + its table + agrees with uapi/features.ts", () => {
  const yes = (there: boolean) => there ? "yes" : "no";
  assertEquals(
    ROWS.map((cells) => cells.slice(0, 6)),
    FEATURES.map(({ bit, name, kernel, meaning }) => [
      `${bit}`,
      `\`${name.slice("UBLK_F_".length)}\``,
      kernel,
      yes(isSince("6.12", kernel)),
      yes(isSince("7.2", kernel)),
      meaning,
    ]),
  );
});

Deno.test("docs/kernel-features.md + each used feature + names the test that proves it", async () => {
  for (const [bit, , , , , , here, proof] of ROWS) {
    const isUsed = !here.startsWith("never asked for") && here !== "not in this version";
    assertEquals(proof !== "", isUsed, `bit ${bit}: name the test, or say that it is not used`);
    if (!isUsed) continue;
    const path = /^`(tests\/\S+_test\.ts)`$/.exec(proof)?.[1];
    assert(path !== undefined, `bit ${bit}: ${proof} is no test file`);
    await Deno.stat(new URL(`../${path}`, import.meta.url));
  }
});
