/**
 * The documentation's command lines, and those of its programs that make a disk, executed as they
 * stand there. What needs no kernel is in `tests/docs_test.ts`.
 */

import { assert, assertEquals } from "@std/assert";
import {
  allSnippets,
  isRun,
  needsKernel,
  placeOf,
  programText,
  ROOT,
  type Snippet,
  writeFiles,
} from "../snippets.ts";
import { makePrograms, scriptOf } from "./_docs_shell.ts";
import { testWhere } from "./_disk.ts";
import { nodes, run, Running, sleep } from "./_command.ts";
import { runCommand } from "../integration/_run_command.ts";

const LIMIT_MS = 180_000;
/** How long a program may use its disk before it is deleted. */
const USE_MS = 2_000;
/** How often it is looked for. */
const LOOK_MS = 200;

/** A folder with the files of a page, and the project's commands in its `bin`. */
async function folderFor(page: string): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "ublk-docs-" });
  writeFiles(page, path);
  await Deno.mkdir(`${path}/bin`);
  await makePrograms(`${path}/bin`);
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

async function runScript(snippet: Snippet): Promise<void> {
  await using folder = await folderFor(snippet.page);
  const { code, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-c", scriptOf(snippet)],
    cwd: folder.path,
    stdin: "null",
    env: { PATH: `${folder.path}/bin:${Deno.env.get("PATH")}`, LC_ALL: "C" },
    signal: AbortSignal.timeout(LIMIT_MS),
  }).output();
  const decoder = new TextDecoder();
  assertEquals(code, 0, `${placeOf(snippet)}\n${decoder.decode(stdout)}${decoder.decode(stderr)}`);
}

/** Runs a program until it ends, or until its disks have been there for a while and are deleted. */
async function runProgram(snippet: Snippet): Promise<void> {
  await using folder = await folderFor(snippet.page);
  const file = `${folder.path}/program.ts`;
  await Deno.writeTextFile(file, programText(snippet));
  for (const line of snippet.before) {
    const { code, stderr } = await run("bash", "-c", `cd '${folder.path}' && ${line}`);
    assertEquals(code, 0, stderr);
  }
  const args = ["run", "-A", "--no-check", `--config=${ROOT}deno.json`, file];
  await using program = new Running(["env", "-C", folder.path, Deno.execPath(), ...args]);
  let ended = false;
  const code = program.exitCode(LIMIT_MS).finally(() => ended = true);
  code.catch(() => {});
  let disks = 0;
  for (let sameMs = 0; !ended; sameMs += LOOK_MS) {
    await sleep(LOOK_MS);
    const there = nodes().filter((name) => name.startsWith("ublkb")).length;
    // Not while it is still making another.
    if (there !== disks) [disks, sameMs] = [there, 0];
    if (there === 0 || sameMs < USE_MS) continue;
    await runCommand("ublk", ["del", "--force", "-a"]);
    sameMs = 0;
  }
  assertEquals(await code, 0, `${placeOf(snippet)}: ${program.stderr}`);
}

/** Whether this kernel is as new as "major.minor". */
function isSince(kernel: string): boolean {
  const [major, minor] = Deno.osRelease().split(".").map(Number);
  const [wantedMajor, wantedMinor] = kernel.split(".").map(Number);
  return major > wantedMajor || major === wantedMajor && minor >= wantedMinor;
}

for (const snippet of allSnippets().filter((one) => isRun(one) && needsKernel(one))) {
  const isShell = snippet.language === "sh";
  const what = isShell ? "command lines" : "program";
  testWhere(isSince(snippet.since ?? "0.0"), `${placeOf(snippet)} + ${what} + works`, async () => {
    try {
      await (isShell ? runScript : runProgram)(snippet);
      assertEquals(nodes(), [], "no disk is left");
    } finally {
      // What one block has left is not for the next.
      if (nodes().length > 0) await runCommand("ublk", ["del", "--force", "-a"]);
    }
  });
}

Deno.test("a block whose command fails + fails", async () => {
  const snippet: Snippet = { page: "README.md", line: 1, language: "sh", text: "", before: [] };
  const works = async (text: string) => {
    await runScript({ ...snippet, text });
    return true;
  };
  assert(await works("true"));
  assert(!await works("ublk info -n 77").catch(() => false));
  assert(!await works("deno task ublk-null --size 5").catch(() => false));
  assert(!await works("false && true\nfalse | cat").catch(() => false));
});
