/**
 * Whatever others wrote (names, modules, exceptions, files) and whatever is wrong with the machine:
 * a command that fails says why in one line, which neither steers a terminal nor has a stack in it.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { commandLine, type CommandName, type Ran, ROOT } from "./_run_command.ts";
import { Scratch } from "../scratch.ts";
import { Dice } from "../../uapi/dice.ts";

const EVIL = "\x1b[2J\r\nublk: error: forged\x9b31m\u202e";
const SHOWN = "\\x1b[2J\\r\\nublk: error: forged\\x9b31m\\u202e";
const quoted = JSON.stringify(EVIL);

/** Runs a command line by a shell, in which `$@` is the command's own. */
async function inShell(
  script: string,
  name: CommandName,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Ran> {
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", script, "sh", ...commandLine(name, args)],
    cwd: ROOT,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    signal: AbortSignal.timeout(180_000),
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Status 1 or 2, one line without a control character, and no stack. */
function assertHarmless({ code, stdout, stderr }: Ran, what: string): void {
  assert(code === 1 || code === 2, `${what}: status ${code}: ${stderr}`);
  assertEquals(stdout, "", what);
  // deno-lint-ignore no-control-regex
  assertMatch(stderr, /^[^\x00-\x1f\x7f-\x9f\u202e]+\n$/, what);
  assertEquals(/\bat file:|^error: Uncaught/.test(stderr), false, `${what}: ${stderr}`);
}

/** Modules, by what is wrong with them, and what is said of each. */
const MODULES: Readonly<Record<string, [source: string, said: string]>> = {
  throws: [`throw new Error(${quoted});`, "\\x1b[2J\\r; "],
  throws_text: [`throw ${quoted};`, "\\x1b[2J\\r; "],
  throws_object: [`throw { toString() { throw 1; } };`, "an unprintable value was thrown"],
  throws_getter: [
    `throw Object.defineProperty(new Error(), "message", { get() { throw 1; } });`,
    "unprintable",
  ],
  throws_proxy: [`throw new Proxy({}, { getPrototypeOf() { throw 1; } });`, "error: "],
  throws_much: [`throw new Error("x".repeat(1e7));`, "xxx…"],
  throws_nothing: [`throw undefined;`, "undefined"],
  rejects_later: [
    `Promise.reject(new Error("first\\nsecond")); await new Promise((ok) => setTimeout(ok, 2000));`,
    "uncaught: first; UBLK_DEBUG=1 shows where",
  ],
  throws_later: [
    `setTimeout(() => { throw new TypeError("first\\nsecond"); });
     await new Promise((ok) => setTimeout(ok, 2000));`,
    "uncaught: TypeError: first; UBLK_DEBUG=1 shows where",
  ],
  recurses: [`const f = () => f() + 1; f();`, "Maximum call stack size exceeded"],
  parses_not: [`export function open( { ${EVIL}`, "error: "],
  named: [
    `export const target = { name: ${quoted}, summary: ${quoted}, options: [] };
     export function open() {}`,
    `${SHOWN} has --module`,
  ],
};

Deno.test("ublk add + modules of every kind of malice + one harmless line each", async () => {
  using scratch = new Scratch();
  const folder = scratch.path;
  await Promise.all(
    Object.entries(MODULES).map(async ([name, [source, said]]) => {
      const path = `${folder}/${name}.ts`;
      await Deno.writeTextFile(path, source);
      const args = ["add", ...name === "throws" ? [] : ["--foreground"], "-t", path, "--nope"];
      const ran = await inShell('exec "$@"', "ublk", args);
      assertHarmless(ran, name);
      assertStringIncludes(ran.stderr, said);
    }),
  );
});

Deno.test("ublk add + a module that prints while it is loaded + is a log, and not on stdout", async () => {
  using scratch = new Scratch();
  const folder = scratch.path;
  const path = `${folder}/prints.ts`;
  await Deno.writeTextFile(
    path,
    `console.log(${quoted}, { a: 1 }); console.error("error: it is lost");
       console.assert(false, "never"); export function open() {}`,
  );
  const ran = await inShell('exec "$@"', "ublk", ["add", "--foreground", "-t", path, "--nope"]);
  assertEquals([ran.code, ran.stdout], [2, ""]);
  const lines = ran.stderr.trimEnd().split("\n").map((line) => line.replace(/^\S+Z /, "TIME "));
  assertEquals(lines.slice(0, -1), [
    "TIME ublk: \\x1b[2J\\r",
    "TIME ublk: ublk: error: forged\\x9b31m\\u202e { a: 1 }",
    "TIME ublk: error: console: error: it is lost",
    "TIME ublk: error: assertion failed: never",
  ]);
  assertMatch(lines.at(-1)!, /^ublk: error: --nope: unknown flag/);
});

Deno.test("ublk add with UBLK_DEBUG or -v + a mistake in a module + shows its stack too", async () => {
  using scratch = new Scratch();
  const folder = scratch.path;
  const path = `${folder}/late.ts`;
  await Deno.writeTextFile(path, MODULES.rejects_later[0]);
  const args = ["add", "--foreground", "-t", path];
  const [debugged, verbose] = await Promise.all([
    inShell('exec "$@"', "ublk", args, { UBLK_DEBUG: "1" }),
    inShell('exec "$@"', "ublk", [...args, "-uv"]),
  ]);
  for (const { stderr } of [debugged, verbose]) {
    assertMatch(stderr, /^ublk: error: uncaught: first; [^\n]+\nublk: error: Error: first\n/);
    assertMatch(stderr, /\nublk: error: +at file:\S+late\.ts:1:16\n/);
  }
});

Deno.test("every command + hostile words, seeded + one harmless line, status 1 or 2", async () => {
  const words = [
    ...[
      EVIL,
      `--${EVIL}`,
      `-${EVIL}`,
      "",
      "-",
      "--",
      "\u202e",
      "%s%n",
      "$(reboot)",
      "../".repeat(99),
    ],
    ...["x".repeat(100_000), `--wrap=cow:${",".repeat(50_000)}`, "--size=nan", "-n=-1", "--id=1e9"],
    ...[`--config=/tmp/${EVIL}`, `-t${EVIL}`, `./${EVIL}.ts`, "-vvvvvvvvvvvv", "--wrap=cow:,,,"],
  ];
  const commands = ["add", "recover", "list", "info", "stats", "top", "stop", "del", EVIL];
  const dice = new Dice(7);
  const pick = <T>(list: readonly T[]) => list[dice.draw(list.length)];
  const programs = [
    "ublk",
    "ublk",
    "ublk",
    "ublk-mem",
    "ublk-null",
    "ublk-file",
    "ublk-zip",
  ] as const;
  const lines = Array.from({ length: 28 }, (_, at): [CommandName, ...string[]] => {
    const program = programs[at % programs.length];
    const command = program === "ublk" ? [pick(commands)] : [];
    // Whatever comes of the others, the last is wrong.
    return [program, ...command, pick(words), pick(words), "--no-such-flag"];
  });
  for (let at = 0; at < lines.length; at += 4) {
    await Promise.all(
      lines.slice(at, at + 4).map(async ([program, ...args]) => {
        const what = JSON.stringify([program, ...args]).slice(0, 200);
        assertHarmless(await inShell('exec "$@"', program, args), what);
      }),
    );
  }
});

Deno.test("ublk-zip + an archive of a hostile name + one harmless line", async () => {
  const ran = await inShell('exec "$@"', "ublk-zip", [`/nowhere/${EVIL}.zip`]);
  assertHarmless(ran, "ublk-zip");
  assertStringIncludes(ran.stderr, SHOWN);
});

/** What may be wrong with a command's own descriptors and limits; status, and its line. */
const CIRCUMSTANCES: readonly [script: string, args: string[], code: number, line: RegExp][] = [
  ['"$@" >/dev/full', ["--help"], 1, /^ublk: error: write to stdout: No space left .+; send it/],
  ['"$@" >&-', ["--version"], 0, /^$/],
  ['"$@" <&-', ["nope"], 2, /^ublk: error: nope: unknown command/],
  ['"$@" 2>&-', ["nope"], 2, /^$/],
  ['"$@" 2>/dev/full', ["nope"], 2, /^$/],
  // The reader is gone before anything is written: as quiet as any program that SIGPIPE ends.
  ['{ { sleep 0.3; "$@"; echo "$?" >&2; } | :; }', ["--help"], 0, /^141$/],
];

for (const [script, args, code, line] of CIRCUMSTANCES) {
  Deno.test(`ublk ${args.join(" ")} + ${script} + status ${code}, one line at most`, async () => {
    const ran = await inShell(script, "ublk", args);
    assertEquals([ran.code, ran.stdout], [code, ""]);
    assertMatch(ran.stderr.replace(/\n$/, ""), line);
  });
}

Deno.test("ublk + few file descriptors + one line, as soon as Deno itself can run", async () => {
  await Promise.all([18, 22, 24, 26, 28, 32, 48].map(async (limit) => {
    const ran = await inShell(`ulimit -n ${limit}; exec "$@"`, "ublk", ["add", "-t", "null"]);
    // Deno needs some for its own start, and says so, or panics, before it runs anything.
    if (
      /panicked|^error: |Too many open files[^;]*$/m.test(ran.stderr)
    ) return;
    assertHarmless(ran, `ulimit -n ${limit}`);
  }));
});
