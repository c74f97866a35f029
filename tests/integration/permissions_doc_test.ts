/**
 * `docs/permissions.md` against Deno: the message of each permission that is missing. What comes
 * only once there is a disk is in `tests/e2e/permissions_test.ts`.
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { pageText } from "../snippets.ts";
import { commandLine, type CommandName, ROOT } from "./_run_command.ts";

/** Permission and what its lack says, as the page has them. */
const ROWS = pageText("docs/permissions.md").split("\n").filter((line) => line.startsWith("| `--"))
  .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));

/** The command that notices each first, even where there is no driver. */
const NOTICED: Readonly<Record<string, readonly [CommandName, ...string[]]>> = {
  "--allow-ffi": ["ublk-null"],
  "--allow-read": ["ublk-null"],
  "--allow-run=/bin/sh": ["ublk", "add", "-t", "null"],
  "--allow-sys=systemMemoryInfo": ["ublk-mem", "--size", "1M"],
};

Deno.test("docs/permissions.md + the permissions of the tasks + are those of the table", () => {
  const given = new Set(
    (["ublk", "ublk-file", "ublk-mem", "ublk-null"] as const)
      .flatMap((name) => commandLine(name, []).filter((word) => word.startsWith("--allow"))),
  );
  assertEquals(
    ROWS.map(([permission]) => permission.replaceAll("`", "")).sort(),
    [...given].sort(),
  );
});

for (const [permission, , without] of ROWS) {
  const flag = permission.replaceAll("`", "");
  const noticed = NOTICED[flag];
  if (noticed === undefined) continue;
  Deno.test(`docs/permissions.md + without ${flag} + says what the page says`, async () => {
    const [name, ...args] = noticed;
    const [program, ...words] = commandLine(name, args).filter((word) => word !== flag);
    const { code, stderr } = await new Deno.Command(program, {
      args: words,
      cwd: ROOT,
      stdin: "null",
    }).output();
    assertEquals(code, 1);
    const said = new TextDecoder().decode(stderr);
    assertStringIncludes(said, `${name}: error: `);
    assertStringIncludes(said, without.replaceAll("`", ""));
  });
}

Deno.test("docs/permissions.md + permissions that are not noticed first + are named as such", () => {
  const others = ROWS.filter(([permission]) => !(permission.replaceAll("`", "") in NOTICED));
  assert(others.every(([, , without]) => without.startsWith("it serves, without")));
});
