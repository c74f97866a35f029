/** `docs/kernel-features.md` against the driver at hand: its columns of 6.12 and 7.2. */

import { assert, assertEquals } from "@std/assert";
import { runCommand } from "../integration/_run_command.ts";
import { pageText } from "../snippets.ts";

/** The table's columns of kernels, by their index among its cells. */
const COLUMNS: Readonly<Record<string, number>> = { "6.12": 3, "7.2": 4 };

Deno.test("docs/kernel-features.md + this kernel + offers what the table says", async () => {
  const kernel = Deno.osRelease().split(".").slice(0, 2).join(".");
  assert(kernel in COLUMNS, `${kernel} is not in the table: give it a column`);
  const rows = pageText("docs/kernel-features.md").split("\n").filter((line) => /^\| \d/.test(line))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  const expected = rows.filter((cells) => cells[COLUMNS[kernel]] === "yes")
    .reduce((flags, [bit]) => flags + 2 ** Number(bit), 0);
  const { stdout, stderr } = await runCommand("ublk", ["features", "--json"]);
  assertEquals(JSON.parse(stdout || "{}").flags, `0x${expected.toString(16)}`, stderr);
});
