/** The man pages that `deno task man` makes: `mandoc` has nothing to say against them. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { manPage } from "../../cmd/_roff.ts";
import { PROGRAMS, ROOT } from "./_run_command.ts";
import { Scratch } from "../scratch.ts";

/** Runs a program, which must be installed. */
async function output(program: string, ...args: string[]): Promise<string> {
  try {
    const { stdout, stderr } = await new Deno.Command(program, {
      args,
      cwd: ROOT,
      env: { SOURCE_DATE_EPOCH: "1764374400", LC_ALL: "C.UTF-8", NO_COLOR: "1" },
    }).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`there is no ${program}: run \`sudo apt-get install ${program}\``);
  }
}

Deno.test("deno task man + every command + is a page without a warning, with its sections", async () => {
  using scratch = new Scratch();
  const said = await output(Deno.execPath(), "run", "-A", "cmd/_man.ts", "--out", scratch.path);
  for (const name of PROGRAMS) {
    const path = `${scratch.path}/${name}.1`;
    assertStringIncludes(said, path);
    assertEquals(await output("mandoc", "-T", "lint", "-W", "warning", path), "");
    const shown = await output("mandoc", "-T", "utf8", "-O", "width=200", path);
    // As on a terminal: a bold character is one over itself.
    // deno-lint-ignore no-control-regex
    const text = shown.replaceAll(/.\x08/g, "");
    for (const heading of ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "NOTES"]) {
      assertMatch(text, new RegExp(`^${heading}$`, "m"), name);
    }
    assertMatch(text, new RegExp(`^NAME\\n +${name} [-–] .+\n`, "m"));
    assertStringIncludes(text, "2025-11-29");
    assertEquals(/\*\*|\]\(|deno task ublk|<!--/.test(text), false, `${name}: Markdown is left`);
  }
});

Deno.test("manPage() + each kind of block + is roff", () => {
  const page = [
    "# ublk-x",
    "",
    "Makes `a-b`.",
    "",
    "More & < more.",
    "",
    "## SYNOPSIS",
    "",
    "```",
    "deno task ublk-x --a",
    ".b 'c' \\d",
    "```",
    "",
    "## OPTIONS",
    "",
    "<!-- before: nothing -->",
    "",
    "- **--size SIZE**, **-s SIZE** — the *size*, see [ublk](ublk.md#x) and",
    "  [other](other.md).",
    "- a point — with a dash",
    "",
    "| status | when |",
    "| ------ | ---- |",
    "| 0      | done |",
  ].join("\n");
  assertEquals(manPage(page, { version: "1", date: "2026-01-01", pages: ["ublk"] }).split("\n"), [
    '.TH "UBLK-X" "1" "2026-01-01" "ublk-x 1"',
    ".SH NAME",
    "ublk\\-x \\- makes \\fBa\\-b\\fR",
    '.SH "SYNOPSIS"',
    ".RS 4",
    ".nf",
    "ublk\\-x \\-\\-a",
    "\\&.b 'c' \\ed",
    ".fi",
    ".RE",
    '.SH "DESCRIPTION"',
    "More & < more.",
    '.SH "OPTIONS"',
    ".TP",
    "\\fB\\-\\-size SIZE\\fR, \\fB\\-s SIZE\\fR",
    "the \\fIsize\\fR, see \\fBublk\\fR(1) and",
    "other.",
    ".IP \\(bu 2",
    "a point \\[u2014] with a dash",
    ".TP",
    "0",
    "done",
    "",
  ]);
  assert(manPage("# x\n\nY.\n", { version: "1", date: "", pages: [] }).endsWith("x \\- y\n"));
});
