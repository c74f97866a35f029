/**
 * The completions, as the shells themselves make suggestions with them. What there is to suggest is
 * taken from the help of the commands.
 */

import { assert, assertEquals } from "@std/assert";
import { type CommandName, PROGRAMS, runCommand } from "./_run_command.ts";
import { output, SHELLS } from "./_shells.ts";

async function help(name: CommandName, ...args: string[]): Promise<string> {
  const { code, stdout } = await runCommand(name, [...args, "--help"]);
  assertEquals(code, 0);
  return stdout;
}

/** The flags of a part of a help text: each line that begins with one explains it. */
function flagsIn(text: string): string[] {
  return [...text.matchAll(/^ {2}(?: {4}|(-\w), )(--[a-z-]+)/gm)].flatMap(([, short, long]) =>
    short === undefined ? [long] : [short, long]
  );
}

/** What the help of `ublk` and of `ublk add` names. */
async function named() {
  const commands = [...(await help("ublk")).matchAll(/^ {2}([a-z_-]+) {2,}/gm)];
  const [own, targets, wrappers] = (await help("ublk", "add"))
    .split(/^Targets, .*\n|^Wrappers, .*\n.*\n/m);
  // Each begins a line, which ends in what it is: "loop, file FILE [FILE]: a disk in …".
  const parts = (text: string) => text.matchAll(/^([a-z]\w*)[^\n:]*: .*\n((?: .*\n)*)/gm);
  return {
    commands: commands.map(([, name]) => name),
    targets: [...parts(targets)].map(([, name, text]) => ({ name, flags: flagsIn(text) })),
    wrappers: [...parts(wrappers)].map(([, name]) => name),
    addFlags: flagsIn(own),
  };
}

/** Lines that end where a flag begins, and the flags that the help has. */
async function flagLines(): Promise<[line: string, flags: string[]][]> {
  const { commands, targets, addFlags } = await named();
  const ofCommands = commands.map(async (name): Promise<[string, string[]]> => {
    const [own] = (await help("ublk", name)).split(/^Targets, /m);
    return [`ublk ${name} -`, flagsIn(own)];
  });
  const ofPrograms = PROGRAMS.map(async (name): Promise<[string, string[]]> => [
    `${name} -`,
    flagsIn(await help(name)),
  ]);
  const ofTargets = targets.map(({ name, flags }): [string, string[]] => [
    `ublk add -t ${name} -`,
    [...addFlags, ...flags],
  ]);
  return [...await Promise.all([...ofCommands, ...ofPrograms]), ...ofTargets];
}

/** Lines, and what is suggested in a folder with `disk.img`, of devices 0 and 7. */
const CASES: readonly [line: string, suggested: string][] = [
  ["ublk a", "add"],
  ["ublk add --qu", "--queues --quiet"],
  ["ublk add -t m", "mem module"],
  ["ublk add --type m", "mem module"],
  ["ublk add --type=m", "mem module"],
  ["ublk add -t di", "disk.img"],
  ["ublk add --wrap r", "rate readonly"],
  ["ublk add --wrap readonly --wrap co", "cow"],
  ["ublk add --data-path u", "user-copy"],
  ["ublk add -r re", "reissue"],
  ["ublk add --block-size=40", "4096"],
  ["ublk add -t mem --size ", ""],
  ["ublk add -n ", ""],
  ["ublk add --config di", "disk.img"],
  ["ublk add -t loop di", "disk.img"],
  ["ublk add di", "disk.img"],
  ["ublk add -t mem di", ""],
  ["ublk add -t memory --overc", "--overcommit"],
  ["ublk add --type=mem --overc", "--overcommit"],
  ["ublk add -tmem --overc", "--overcommit"],
  ["ublk add -t null --overc", ""],
  ["ublk add -t fault-inject --die-during-fetch ", "0 1"],
  ["ublk add -t fault_inject --die-during-fetch ", "0 1"],
  ["ublk add -t ./mine.ts --expor", "--export"],
  ["ublk add --module ./mine.ts --expor", "--export"],
  ["ublk add -t module --module di", "disk.img"],
  ["ublk recover -n ", "0 7"],
  ["ublk stop -n ", "0 7"],
  ["ublk stop --id 7", "7"],
  ["ublk del --id=", "0 7"],
  ["ublk get_params -n ", "0 7"],
  ["ublk get-params -n ", "0 7"],
  ["ublk update-size --si", "--size"],
  ["ublk init-backend di", "disk.img"],
  ["ublk set_affinity di", ""],
  ["ublk completions ", "bash fish zsh"],
  ["ublk list di", ""],
  ["ublk-file di", "disk.img"],
  ["ublk-file --block-size 4", "4096"],
  ["ublk-file --id ", ""],
  ["ublk-mem di", ""],
  ["ublk-mem --size ", ""],
];

for (const { name, suggest } of SHELLS) {
  Deno.test(`completions ${name}: the shell suggests what the help has, and values`, async () => {
    const cwd = await Deno.makeTempDir({ prefix: "ublk-completions-" });
    try {
      await Deno.writeTextFile(`${cwd}/disk.img`, "");
      for (const id of [0, 7]) await Deno.mkdir(`${cwd}/sys/ublkc${id}`, { recursive: true });
      const { code, stdout, stderr } = await runCommand("ublk", ["completions", name]);
      assertEquals([code, stderr], [0, ""]);
      const script = `${cwd}/completions`;
      assert(stdout.includes("/sys/class/ublk-char/"), "devices are found by their nodes");
      await Deno.writeTextFile(script, stdout.replaceAll("/sys/class/ublk-char/", `${cwd}/sys/`));

      const { commands, targets, wrappers } = await named();
      const files = ["completions", "disk.img", "sys"];
      const expected: [line: string, suggested: string[]][] = [
        ["ublk ", commands],
        ["ublk add -t ", [...targets.map(({ name }) => name), ...files]],
        ["ublk add --wrap ", wrappers],
        ...await flagLines(),
        ...CASES.map(([line, words]): [string, string[]] => [
          line,
          words.split(" ").filter((word) => word !== ""),
        ]),
      ];
      const suggested = await suggest(script, expected.map(([line]) => line), cwd);
      const wrong = expected.flatMap(([line, words], at) => {
        // zsh does not suggest what is on the line already.
        const given = line.includes(" -t ") ? ["-t", "--type"] : [];
        const known = new Set([...words, ...given]);
        const found = new Set([...suggested[at] ?? [], ...given]);
        const missing = [...known.difference(found)];
        const unknown = [...found.difference(known)];
        return missing.length + unknown.length === 0 ? [] : [{ line, missing, unknown }];
      });
      assertEquals(wrong, []);
    } finally {
      await Deno.remove(cwd, { recursive: true });
    }
  });
}

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
