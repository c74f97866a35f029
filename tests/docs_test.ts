/**
 * Checks the documentation, as far as any machine can: programs type-check and run, commands accept the
 * command lines, links have targets. `tests/e2e/docs_test.ts` runs the blocks that need ublk.
 * `tests/snippets.ts` describes the marks of blocks.
 */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { TEMPLATE } from "../cmd/server/init_backend.ts";
import { parseAdd } from "../cmd/line/add_line.ts";
import { parseRecover } from "../cmd/line/recover_line.ts";
import { ownSpelling } from "../cmd/line/spellings.ts";
import { valueIn } from "../cmd/line/target_line.ts";
import { parseLine } from "../cmd/line/flags.ts";
import { findVolumeCommand } from "../cmd/line/volume_commands.ts";
import { isModuleName } from "../disk/module.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import config from "../deno.json" with { type: "json" };
import {
  allSnippets,
  isRun,
  needsKernel,
  pages,
  pageText,
  placeOf,
  programText,
  ROOT,
  shellLines,
  type Snippet,
  snippetsOf,
  writeFiles,
} from "./snippets.ts";

// It stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();

const SNIPPETS = allSnippets();
const TASKS: Record<string, unknown> = config.tasks;
const EXPORTS: Record<string, unknown> = config.exports;

async function deno(cwd: string, ...args: string[]): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    stdin: "null",
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  assert(success, decoder.decode(stdout) + decoder.decode(stderr));
}

/** Calls `run` with a folder that contains the page's files. */
async function inFolder(page: string, run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "ublk-docs-" });
  try {
    writeFiles(page, folder);
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Files that a page's programs import, and which its reader has from elsewhere. */
const PROVIDED: Record<string, Record<string, string>> = {
  "docs/writing-a-backend.md": { "my_backend.ts": TEMPLATE },
};

Deno.test("snippets + programs + type-check, each by itself", async () => {
  const root = await Deno.makeTempDir({ prefix: "ublk-docs-" });
  try {
    const files: string[] = [];
    for (const page of pages()) {
      const folder = `${root}/${page.replaceAll("/", "-")}`;
      await Deno.mkdir(folder);
      writeFiles(page, folder);
      for (const [name, text] of Object.entries(PROVIDED[page] ?? {})) {
        files.push(`${folder}/${name}`);
        await Deno.writeTextFile(files.at(-1)!, programText({ text }));
      }
      for (const snippet of snippetsOf(page).filter(({ language }) => language === "ts")) {
        const file = `${folder}/${snippet.file ?? `line_${snippet.line}.ts`}`;
        if (snippet.file === undefined) await Deno.writeTextFile(file, programText(snippet));
        files.push(file);
      }
    }
    assert(files.length > 0, "there are programs");
    await deno(root, "check", "--quiet", `--config=${ROOT}deno.json`, ...files);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

/** The way a block is verified, as named in the count. */
function kindOf(snippet: Snippet): string {
  if (snippet.notRun !== undefined) return "not run, for a reason";
  if (snippet.runBy !== undefined) return "run by tests of their own";
  if (isRun(snippet)) return needsKernel(snippet) ? "run with a kernel" : "run without one";
  return snippet.file === undefined ? "data or text" : "files for the others";
}

const KINDS = Map.groupBy(SNIPPETS, kindOf);
const COUNTS = [...KINDS].map(([kind, { length }]) => `${length} ${kind}`).sort().join(", ");

Deno.test(`snippets + ${SNIPPETS.length} blocks: ${COUNTS}`, () => {
  const notRun = SNIPPETS.filter((snippet) => snippet.notRun !== undefined).length;
  assert(notRun * 10 <= SNIPPETS.length, "more than one in ten is not run: have a test run them");
});

for (const snippet of SNIPPETS) {
  const place = placeOf(snippet);
  const { page, language, notRun, runBy } = snippet;
  if (notRun !== undefined) {
    Deno.test(`${place} + is not run: ${notRun}`, () => {
      assert(notRun.length > 20, `${place}: say in a sentence why it is not run`);
    });
  }
  if (runBy !== undefined) {
    Deno.test(`${place} + ${runBy} + runs it`, () => {
      const test = Deno.readTextFileSync(`${ROOT}${runBy}`);
      assertStringIncludes(test, page, `${place}: ${runBy} must name ${page}, and run its block`);
    });
  }
  switch (language) {
    case "ts":
      if (!isRun(snippet) || needsKernel(snippet)) break;
      Deno.test(`${place} + program + runs`, async () => {
        await inFolder(page, async (folder) => {
          await Deno.writeTextFile(`${folder}/program.ts`, programText(snippet));
          await deno(folder, "run", "-A", "--no-check", `--config=${ROOT}deno.json`, "program.ts");
        });
      });
      break;
    case "sh":
      Deno.test(`${place} + command lines + are accepted by the commands`, async () => {
        await checkSyntax(snippet);
        await inFolder(page, async (folder) => {
          for (const { commands } of shellLines(snippet.text)) {
            for (const words of commands) await checkCommand(place, words, folder);
          }
        });
      });
      break;
    case "json":
      Deno.test(`${place} + data + is JSON`, () => {
        JSON.parse(snippet.text);
      });
      break;
    default:
      Deno.test(`${place} + ${language || "text"} + is not code that nothing runs`, () => {
        const marked = notRun ?? runBy ?? snippet.file;
        const remedy = "make it ts, sh or json, or mark it: <!-- run by: tests/…_test.ts -->";
        assert(
          marked !== undefined || ["", "text"].includes(language),
          `${place}: nobody runs ${language}; ${remedy}`,
        );
        const isCode = /^\s*(import |export |const |await |\$ )/m.test(snippet.text);
        assert(marked !== undefined || !isCode, `${place}: this is code; ${remedy}`);
      });
  }
}

async function checkSyntax({ text, page, line }: Snippet): Promise<void> {
  const { success, stderr } = await new Deno.Command("bash", { args: ["-n", "-c", text] }).output();
  assert(success, `${page}:${line}: ${new TextDecoder().decode(stderr)}`);
}

/** Checks a command without running it, in a folder with the page's files. */
async function checkCommand(
  place: string,
  [program, ...words]: readonly string[],
  folder: string,
): Promise<void> {
  if (program === "npx") {
    const pinned = /npx -y (deno@\S+)/.exec(Deno.readTextFileSync(`${ROOT}.ci/run`))![1];
    assertEquals(words.slice(0, 2), ["-y", pinned], `${place}: not the Deno that CI has`);
    return await checkCommand(place, ["deno", ...words.slice(2)], folder);
  }
  if (program in TASKS && program.startsWith("ublk")) {
    return await checkTask(place, program, words, folder);
  }
  if (program !== "deno") return;
  const [verb, ...rest] = words.filter((word) => !["--quiet", "-q"].includes(word));
  if (verb === "task") {
    // Typed in a folder other than the checkout.
    const [task, ...args] = rest[0] === "--config" ? rest.slice(2) : rest;
    return await checkTask(place, task, args, folder);
  }
  for (const door of rest.map((word) => /^jsr:@ublk\/ublk(\/[\w-]+)?/.exec(word))) {
    if (door === null) continue;
    assert(`.${door[1] ?? ""}` in EXPORTS, `${place}: deno.json exports no .${door[1] ?? ""}`);
  }
}

async function checkTask(
  place: string,
  task: string,
  args: readonly string[],
  folder: string,
): Promise<void> {
  assert(task in TASKS, `${place}: deno.json has no task ${task}; name one that it has`);
  if (task === "ublk-volume") return await checkVolumeLine(place, args, folder);
  if (task !== "ublk" || args.includes("--help")) return;
  const [command, ...rest] = args;
  const name = command.replaceAll("-", "_");
  const manual = pageText("docs/ublk.md");
  const isDocumented = manual.includes(`**${name}**`) || manual.includes(`**${command}**`);
  assert(isDocumented, `${place}: docs/ublk.md has no command ${command}`);
  // The end-to-end test covers redirections and files that other commands create.
  const typed = rest.filter((word) => !/^\d?[<>]/.test(word));
  const isServing = name === "add" || name === "recover";
  const words = isServing ? ownSpelling(name, typed) : typed;
  const target = valueIn(words, "type", "t") ?? "";
  const isThere = !isModuleName(target) || files(folder).includes(target.replace("./", ""));
  if (words.includes("--config") || !isThere) return;
  if (name === "add") await parseAdd("ublk add", words, folder);
  if (name === "recover") await parseRecover(words, () => Promise.resolve(RECORD), folder);
}

/** Checks a command line of `ublk-volume`: its command, its flags and their values. */
async function checkVolumeLine(
  place: string,
  [name, ...typed]: readonly string[],
  folder: string,
): Promise<void> {
  if (name === undefined || typed.includes("--help")) return;
  const command = findVolumeCommand(name);
  assert(command !== undefined, `${place}: ublk-volume has no command ${name}`);
  // What a shell takes: a redirection with its file, and variables.
  const line = typed.filter((word, nth) =>
    !/^\d?[<>]/.test(word) && !/^\d?[<>]$/.test(typed[nth - 1])
  )
    .map((word) => word.replaceAll(/\$\w+/g, "/value"));
  if (command.flags === undefined) {
    await parseAdd("ublk-volume attach", ["-t", "volume", ...line], folder);
    return;
  }
  const seeHelp = `see \`ublk-volume ${name} --help\``;
  const { words } = parseLine(command.flags, line, {
    ...{ seeHelp, unknown: seeHelp, words: command.words },
  });
  const takesWords = command.operands !== undefined && command.words === undefined;
  assert(words.length === 0 || takesWords, `${place}: ${words[0]}: unexpected argument`);
}

function files(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name);
}

/** The record of any device, for `ublk recover -n N`. */
const RECORD = {
  id: 0,
  program: "ublk",
  target: "null",
  argv: ["-t", "null"],
  cwd: "/",
  pid: 1,
  startTicks: 1,
  log: null,
  socket: null,
};

Deno.test("pages + command lines within sentences + are accepted by the commands", async () => {
  let count = 0;
  for (const page of pages()) {
    const prose = pageText(page).replaceAll(/^```[\s\S]*?^```/gm, "");
    for (const [, code] of prose.matchAll(/`((?:deno task |ublk)[^`]*)`/g)) {
      // A line with a placeholder is a synopsis, not a command line.
      if (/…|\b[A-Z]+\b/.test(code)) continue;
      for (const words of shellLines(code.replaceAll("\n", " "))[0].commands) {
        // A lone name is not a command line.
        if (words.length === 1 || /^ublk(-volume)?$/.test(words[0]) && words.length === 2) continue;
        await checkCommand(page, words, "/").catch((error) => {
          // A sentence may omit the file, or the name of the volume.
          const isOmitted = /: it needs (a file|\d+ files), not 0|--[a-z]+: it is missing/;
          if (!isOmitted.test(error.message)) throw error;
        });
        count++;
      }
    }
  }
  assert(count > 5, `only ${count} command lines were looked at`);
});

Deno.test("docs/README.md + every page + is listed", () => {
  const index = pageText("docs/README.md");
  const missing = pages().filter((page) => page.startsWith("docs/") && page !== "docs/README.md")
    .map((page) => page.slice("docs/".length))
    .filter((page) => !page.startsWith("decisions/") && !index.includes(`](${page})`));
  assertEquals(missing, [], "add a line for each of them to docs/README.md");
});

/** The anchors that GitHub derives from headings. */
function anchors(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
  );
}

for (const page of pages()) {
  Deno.test(`${page} + its links + have targets`, () => {
    const prose = pageText(page).replaceAll(/^```[\s\S]*?^```/gm, "").replaceAll(/`[^`]*`/g, "");
    const folder = page.includes("/") ? page.slice(0, page.lastIndexOf("/") + 1) : "";
    for (const [, target] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path, anchor] = target.split("#");
      const file = path === "" ? page : new URL(`${folder}${path}`, "file:///").pathname.slice(1);
      const found = Deno.statSync(`${ROOT}${file}`);
      if (anchor === undefined) continue;
      assert(found.isFile && anchors(pageText(file)).includes(anchor), `${page}: no ${target}`);
    }
  });
}

Deno.test("snippetsOf() + blocks with marks + returns both", () => {
  const fence = "```";
  const [first, second, third] = snippetsOf(
    "page.md",
    [
      "<!-- not run: too long -->",
      "",
      `${fence}sh`,
      "a",
      fence,
      "<!-- before: touch x -->",
      "Words between take marks away.",
      `${fence}ts`,
      "b",
      "c",
      fence,
      "<!-- file: d.ts -->",
      "<!-- before: touch y -->",
      `  ${fence}`,
      "  d",
      `  ${fence}`,
    ].join("\n"),
  );
  assertEquals([first.language, first.line, first.text, first.notRun], ["sh", 4, "a", "too long"]);
  assertEquals([second.language, second.text, second.before], ["ts", "b\nc", []]);
  assertEquals([third.text, third.file, third.before], ["d", "d.ts", ["touch y"]]);
  assertThrows(() => snippetsOf("p", `${fence}sh\na`), Error, "p:1: this fence is not closed");
  assertThrows(
    () => snippetsOf("p", `<!-- skip: it -->\n${fence}\n${fence}`),
    Error,
    "use not run",
  );
});

Deno.test("shellLines() + quotes, comments, operators, continued lines + are taken apart", () => {
  const lines = shellLines(`a 'b c' --d="e f" \\\n  g  # h\n# i\n\nj && k#l | m 'n#o' &`);
  assertEquals(lines, [
    { text: `a 'b c' --d="e f"   g`, commands: [["a", "b c", "--d=e f", "g"]] },
    { text: "j && k#l | m 'n#o' &", commands: [["j"], ["k#l"], ["m", "n#o"]] },
  ]);
});

Deno.test("checkCommand() + an invalid command line + is reported", async () => {
  for (
    const [line, reason] of [
      ["deno task ublk add -t nulll", "there is no target nulll"],
      ["deno task ublk add -t null --sise 1G", "--sise: unknown flag"],
      ["deno task ublk remove -n 0", "no command remove"],
      ["deno task ublk-nil", "no task ublk-nil"],
      ["deno task ublk-volume creat db", "no command creat"],
      ["deno task ublk-volume create db", "--size: it is missing"],
      ["deno task ublk-volume rm db --froce", "--froce: unknown flag"],
      ["deno task ublk-volume attach db --leese 4", "--leese: unknown flag"],
      ["deno task ublk-volume snapshots db monday", "unexpected argument"],
      ["npx -y deno@1.0.0 task demo", "not the Deno that CI has"],
      ["deno run jsr:@ublk/ublk/ublk-nil", "exports no ./ublk-nil"],
    ]
  ) {
    await assertRejects(() => checkCommand("here", line.split(" "), "/"), Error, reason);
  }
});
