/** How wide a help is: as `COLUMNS` says, as the terminal is, and 80 characters elsewhere. */

import { assert, assertEquals } from "@std/assert";
import { commandLine, ROOT, runCommand } from "./_run_command.ts";

/** The longest line, but for examples and words that have a line of their own. */
function widest(text: string): number {
  const lines = text.replaceAll("\r", "").split("\n").filter((line) => !/^ {2}ublk /.test(line));
  return Math.max(...lines.map((line) => line.length));
}

const HELP = ["add", "--help=all"];

/** Without stderr, on which Deno itself may have something to say. */
async function onTerminal(columns: number): Promise<string> {
  const words = commandLine("ublk", HELP).map((word) => `'${word}'`).join(" ");
  const { stdout } = await new Deno.Command("script", {
    args: ["-qec", `stty cols ${columns}; ${words} 2>/dev/null`, "/dev/null"],
    cwd: ROOT,
    env: { COLUMNS: "0", TERM: "dumb", NO_COLOR: "1" },
    stdin: "null",
  }).output();
  return new TextDecoder().decode(stdout);
}

Deno.test("ublk add --help=all + a pipe, COLUMNS, a terminal + is as wide, and not wider", async () => {
  const piped = async (...wrap: string[]) => {
    const { code, stdout } = await runCommand("ublk", HELP, { wrap });
    assertEquals(code, 0);
    return widest(stdout);
  };
  const seen = {
    pipe: await piped("env", "-u", "COLUMNS"),
    narrow: await piped("env", "COLUMNS=60"),
    wide: await piped("env", "COLUMNS=300"),
    nonsense: await piped("env", "COLUMNS=wide"),
    terminal: widest(await onTerminal(70)),
  };
  const limits = { pipe: 80, narrow: 60, wide: 100, nonsense: 80, terminal: 70 };
  for (const [where, limit] of Object.entries(limits)) {
    const width = seen[where as keyof typeof seen];
    assert(width <= limit && width > limit - 8, `${where}: ${width}, not about ${limit}`);
  }
});
