import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import { DISK_FLAGS } from "./line/add_line.ts";
import { COMMANDS } from "./line/commands.ts";
import { EBS_COMMANDS } from "./line/ebs_commands.ts";
import { PROGRAMS } from "./line/program.ts";

const root = new URL("..", import.meta.url);

async function run(name: string, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    // No permissions: help and version must work without any.
    args: ["run", "--no-prompt", "--quiet", `cmd/${name}.ts`, ...args],
    cwd: root,
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** The page that documents the flags shared by all programs. */
const UBLK_PAGE = Deno.readTextFileSync(new URL("docs/ublk.md", root));

/** Each program, and the commands that it has. */
const HELPS: Record<string, readonly string[][]> = {
  ublk: [[], ...COMMANDS.map(({ name }) => [name])],
  ...Object.fromEntries(PROGRAMS.map(({ name }) => [name, [[]]])),
  "ublk-ebs": EBS_COMMANDS.map(({ name }) => [name]),
  "ublk-nbd": [[]],
};

/** Each line about a help, and the same in other words. */
const SAME_HELP: readonly [string, string][] = [
  ["help", "--help"],
  ["help help", "--help"],
  ["help add", "add --help"],
  ["help add loop", "add loop --help"],
  ["help add -t loop", "add -t loop --help"],
  ["help -t loop", "add -t loop --help"],
  ["help add --help=all", "add --help=all"],
  ["help recover", "recover --help"],
  ["help list", "list --help"],
  ["kublk add --help", "add --help"],
  ["kublk add loop --help", "add loop --help"],
  ["kublk --help", "help kublk"],
  ["kublk help list", "list --help"],
];

for (const [line, same] of SAME_HELP) {
  Deno.test(`ublk ${line} + prints what ublk ${same} does`, async () => {
    const ran = await run("ublk", ...line.split(" "));
    assertEquals([ran.code, ran.stderr], [0, ""]);
    assertEquals(ran.stdout, (await run("ublk", ...same.split(" "))).stdout);
  });
}

for (const [name, subcommands] of Object.entries(HELPS)) {
  Deno.test(`docs/${name}.md explains each flag of \`${name} --help\``, async () => {
    const page = await Deno.readTextFile(new URL(`docs/${name}.md`, root));
    for (const heading of ["SYNOPSIS", "OPTIONS", "EXIT STATUS", "EXAMPLES", "NOTES"]) {
      assertStringIncludes(page, `## ${heading}\n`);
    }
    for (const subcommand of subcommands) {
      const { code, stdout, stderr } = await run(name, ...subcommand, "--help");
      assertEquals([code, stderr], [0, ""]);
      const flags = [...stdout.matchAll(/^(?: {2}-\w, | {6})(--[a-z-]+)/gm)].map(([, flag]) =>
        flag
      );
      assert(flags.includes("--help"), "the help lists its flags");
      const isProgram = subcommand.length === 0 && name !== "ublk";
      if (isProgram) assertStringIncludes(page, "](ublk.md#options)");
      for (const flag of flags) {
        const isCommon = isProgram && DISK_FLAGS.some((one) => `--${one.name}` === flag);
        assertStringIncludes(isCommon ? UBLK_PAGE : page, flag);
      }
      if (subcommand.length > 0) assertStringIncludes(page, `**${subcommand[0]}**`);
    }
  });

  Deno.test(`${name} --version prints the package's version`, async () => {
    const ran = await run(name, "--version");
    assertEquals(ran, { code: 0, stdout: `${name} ${config.version}\n`, stderr: "" });
  });

  Deno.test(`deno.json has a task and an export for ${name}`, () => {
    const exports: Record<string, string> = config.exports;
    const tasks: Record<string, unknown> = config.tasks;
    assertEquals(exports[`./${name}`], `./cmd/${name}.ts`);
    assert(name in tasks);
  });
}
