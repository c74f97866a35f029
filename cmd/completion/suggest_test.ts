import { assert, assertEquals } from "@std/assert";
import { WRAPPERS } from "../../backends/wrappers.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { PROGRAMS, programSyntax } from "../line/program.ts";
import { ADD_FLAGS } from "../line/add_line.ts";
import { COMMANDS, syntaxOf } from "../line/commands.ts";
import { answerText, glued } from "./complete.ts";
import { COMMON_FLAGS, type Flag, type Syntax } from "../line/flags.ts";
import { suggest } from "./suggest.ts";
import { ALL as TARGETS } from "../line/targets.ts";

// Opened once, before any test, because the sanitizer would report a leak.
openAllOfLibc();

const devices = () => Promise.resolve([0, 7]);

function programOf(name: string): Syntax {
  const row = PROGRAMS.find((one) => one.name === name)!;
  return programSyntax(name, TARGETS.find((target) => target.name === row.target)!);
}
const memoryProgram = programOf("ublk-mem");
const zipProgram = programOf("ublk-zip");

async function suggested(line: string, program?: Syntax): Promise<string> {
  const { words, files } = await suggest(line.split(" "), devices, program);
  return [...words.map(({ text }) => text), ...files ? ["FILES"] : []].join(" ");
}

const TARGET_NAMES = TARGETS.map(({ name }) => name).join(" ");

// Lines that end at the cursor.
const CASES: readonly [line: string, suggested: string][] = [
  ["a", "add"],
  ["-", "--help -h --version -V"],
  ["help st", "stats stop"],
  ["nonsense ", ""],
  ["add --qu", "--queues --quiet"],
  ["add ", `${TARGET_NAMES} FILES`],
  ["add m", "mem module FILES"],
  ["add -t m", "mem module FILES"],
  ["add -zt m", "mem module FILES"],
  ["add --type m", "mem module FILES"],
  ["add --type=m", "--type=mem --type=module FILES"],
  ["add --wrap r", "readonly rate"],
  ["add --wrap readonly --wrap co", "cow"],
  ["add --wrap delay:r", "delay:read="],
  ["add --wrap delay:read=1ms,w", "delay:read=1ms,write="],
  ["add --wrap=cache:m", "--wrap=cache:mode="],
  ["add --wrap nonsense:", ""],
  ["add --data-path u", "user-copy"],
  ["add --data_path u", "user-copy"],
  ["add -r re", "reissue"],
  ["add --block-size=40", "--block-size=4096"],
  ["add -t mem --size ", ""],
  ["add -n ", ""],
  ["add --config di", "FILES"],
  ["add -t loop di", "FILES"],
  ["add loop di", "FILES"],
  ["add -t mem di", ""],
  ["add mem di", ""],
  ["add -t memory --overc", "--overcommit"],
  ["add memory --overc", "--overcommit"],
  ["add --type=mem --overc", "--overcommit"],
  ["add -tmem --overc", "--overcommit"],
  ["add -t null --overc", ""],
  ["add -t fault-inject --die-during-fetch ", "0 1"],
  ["add -t fault_inject --die-during-fetch ", "0 1"],
  ["add -t ./mine.ts --expor", "--export"],
  ["add --module ./mine.ts --expor", "--export"],
  ["add ./mine.ts --expor", "--export"],
  ["add -t module --module di", "FILES"],
  ["add nonsense --read-o", "--read-only"],
  ["add loop -- -", "FILES"],
  ["recover ", "0 7"],
  ["recover -n ", "0 7"],
  ["recover --conf", ""],
  ["recover 0 -t loop di", "FILES"],
  ["stop -n ", "0 7"],
  ["stop ", "0 7"],
  ["stop 0 ", "0 7"],
  ["rm ", "0 7"],
  ["info /dev/", "/dev/ublkb0 /dev/ublkb7"],
  ["info ublk", "ublkb0 ublkb7"],
  ["stop --id 7", "7"],
  ["del --id=", "--id=0 --id=7"],
  ["get-params -n ", "0 7"],
  ["update-size --si", "--size"],
  ["update_size 0 --size ", ""],
  ["list -o FI", "FILE"],
  ["list --output=ID,FI", "--output=ID,FILE"],
  ["init-backend di", "FILES"],
  ["completions ", "bash zsh fish"],
  ["features di", ""],
  ["kublk l", "list"],
  ["kublk add --qu", "--queues --quiet"],
  ["kublk del -n ", "0 7"],
];

for (const [line, expected] of CASES) {
  Deno.test(`suggest() + ublk ${line} + ${expected || "nothing"}`, async () => {
    assertEquals(await suggested(line), expected);
  });
}

Deno.test("suggest() + a program of one disk + its own flags, values and files", async () => {
  const flags = [...memoryProgram.flags, ...COMMON_FLAGS] as readonly Flag[];
  const found = await suggested("-", memoryProgram);
  for (const { name } of flags) assert(found.split(" ").includes(`--${name}`), name);
  assertEquals(await suggested("--block-size 4", memoryProgram), "4096");
  assertEquals(await suggested("--id ", memoryProgram), "");
  assertEquals(await suggested("di", memoryProgram), "");
  assertEquals(await suggested("di", zipProgram), "FILES");
});

Deno.test("suggest() + every command + all of its flags, with what they do", async () => {
  const { words } = await suggest([""], devices);
  const names = COMMANDS.map(({ name }) => name);
  assertEquals(words.map(({ text }) => text), [...names, "help", "version"]);
  for (const command of COMMANDS) {
    const { flags } = await syntaxOf(command, []);
    const { words } = await suggest([command.name, "-"], devices);
    for (const { name, short } of [...flags, ...COMMON_FLAGS] as readonly Flag[]) {
      const found = words.find(({ text }) => text === `--${name}`);
      assert(found !== undefined && found.help !== "", `${command.name} --${name}`);
      if (short !== undefined) assert(words.some(({ text }) => text === `-${short}`));
    }
  }
  for (const { name, options } of TARGETS) {
    const { words } = await suggest(["add", name, "--"], devices);
    const found = words.map(({ text }) => text);
    for (const option of [...ADD_FLAGS, ...options]) assert(found.includes(`--${option.name}`));
  }
  const wrappers = (await suggested("add --wrap ")).split(" ");
  assertEquals(wrappers, WRAPPERS.map(({ name }) => name));
});

Deno.test("glued() + words that bash took apart + are together again", () => {
  const cases: [string, string][] = [
    ["add --type = m", "add --type=m"],
    ["add --type =", "add --type="],
    ["add --wrap delay : read = 1", "add --wrap delay:read=1"],
    ["add -t mem", "add -t mem"],
  ];
  for (const [pieces, typed] of cases) assertEquals(glued(pieces.split(" ")).join(" "), typed);
});

Deno.test("answerText() + each shell + gets what it completes, in its own way", () => {
  const answer = {
    words: [{ text: "--wrap=delay:read=", help: "The delay of each read" }, {
      text: "--wrap=x",
      help: "",
    }],
    files: true,
    noSpace: true,
  };
  const text = (shell: "bash" | "zsh" | "fish", piece: string, word: string) =>
    answerText(shell, piece, word, answer).split("\n");
  assertEquals(text("bash", "r", "--wrap=delay:r")[0], "read=");
  assertEquals(text("bash", "=", "--wrap="), ["delay:read=", "x", ":files nospace"]);
  assertEquals(text("zsh", "--wrap=d", "--wrap=d"), [
    "delay\\:read=:The delay of each read",
    "x",
    ":files nospace",
  ]);
  assertEquals(text("fish", "--wrap=d", "--wrap=d"), [
    "--wrap=delay:read=\tThe delay of each read",
    "--wrap=x",
    ":files nospace",
  ]);
});
