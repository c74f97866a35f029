/**
 * The completions, as the shells themselves make suggestions with them: each asks the programs. What
 * there is to suggest on every line is in `cmd/completion/suggest_test.ts`.
 */

import { assert, assertEquals } from "@std/assert";
import { PROGRAMS as NAMED } from "../../cmd/completion/completions.ts";
import {
  commandLine,
  type CommandName,
  PROGRAMS,
  ROOT,
  runCommand,
  withPrivateDev,
} from "./_run_command.ts";
import { output, SHELLS } from "./_shells.ts";

/** Lines, and what is suggested in a folder with `disk.img`. */
const CASES: readonly [line: string, suggested: string][] = [
  ["ublk a", "add"],
  ["ublk completions ", "bash fish zsh"],
  ["ublk add --qu", "--queues --quiet"],
  ["ublk add --type=m", "mem module"],
  ["ublk add -t di", "disk.img"],
  ["ublk add --wrap delay:r", "delay:read"],
  ["ublk add --config=di", "disk.img"],
  ["ublk add loop di", "disk.img"],
  ["ublk add mem di", ""],
  ["ublk list -o ID,FI", "ID,FILE"],
  ["ublk-mem --block-size 4", "4096"],
  ["ublk-zip di", "disk.img"],
];

/** Puts the programs into a folder, as `deno task compile` would. */
async function install(folder: string): Promise<void> {
  const cache = Deno.env.get("DENO_DIR") ??
    `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`}/deno`;
  await Deno.mkdir(folder);
  for (const name of PROGRAMS) {
    const line = commandLine(name, []).map((word) =>
      word.startsWith("cmd/") ? `${ROOT}${word}` : word
    );
    const script = `#!/bin/sh\nexport DENO_DIR='${cache}'\nexec '${line.join("' '")}' "$@"\n`;
    await Deno.writeTextFile(`${folder}/${name}`, script, { mode: 0o755 });
  }
}

for (const { name, suggest } of SHELLS) {
  Deno.test(`completions ${name}: the shell suggests what the programs answer`, async () => {
    const cwd = await Deno.makeTempDir({ prefix: "ublk-completions-" });
    try {
      await Deno.writeTextFile(`${cwd}/disk.img`, "");
      await install(`${cwd}/bin`);
      const { code, stdout, stderr } = await runCommand("ublk", ["completions", name]);
      assertEquals([code, stderr], [0, ""]);
      const script = `${cwd}/completions`;
      await Deno.writeTextFile(script, stdout);
      assert(stdout.split("\n").length < 25, "it is short: the programs know the rest");
      const suggested = await suggest(script, CASES.map(([line]) => line), cwd);
      const wrong = CASES.flatMap(([line, words], at) => {
        const found = (suggested[at] ?? []).join(" ");
        // bash completes what stands behind the colon.
        const expected = name === "bash" ? words.replace("delay:", "") : words;
        return found === expected ? [] : [{ line, expected, found }];
      });
      assertEquals(wrong, []);
    } finally {
      await Deno.remove(cwd, { recursive: true });
    }
  });
}

Deno.test("completions: the script names every program that there is", () => {
  assertEquals([...NAMED], [...PROGRAMS]);
});

Deno.test("completions zsh: the script can be sourced too", async () => {
  const script = await Deno.makeTempFile({ prefix: "ublk-completions-" });
  try {
    await Deno.writeTextFile(script, (await runCommand("ublk", ["completions", "zsh"])).stdout);
    const words = PROGRAMS.map((name) => `$_comps[${name}]`).join(" ");
    const program = `autoload -Uz compinit && compinit -u -D; source ${script}; echo ${words}`;
    const printed = await output("zsh", ["-f", "-c", program]);
    assertEquals(printed, `${PROGRAMS.map(() => "_ublk").join(" ")}\n`);
  } finally {
    await Deno.remove(script);
  }
});

Deno.test({
  name: "__complete + a command that takes a device + asks which there are",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    const wrap = withPrivateDev("touch $D/ublkc0 $D/ublkc7");
    const ran = await runCommand("ublk", ["__complete", "bash", "info", "/dev/"], { wrap });
    assertEquals([ran.code, ran.stdout], [0, "/dev/ublkb0\n/dev/ublkb7\n:\n"]);
  },
});

Deno.test("__complete + whatever stands on the line + status 0 and no error", async () => {
  const lines: readonly [CommandName, string[]][] = [
    ["ublk", ["bash"]],
    ["ublk", ["zsh", "add", "-t", "nonsense", "--offset", "3", ""]],
    ["ublk", ["fish", "recover", "x", "--config", ""]],
    ["ublk-mem", ["zsh", "--size"]],
  ];
  for (const [name, args] of lines) {
    const { code, stderr } = await runCommand(name, ["__complete", ...args]);
    assertEquals([code, stderr], [0, ""], args.join(" "));
  }
});
