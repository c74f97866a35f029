/**
 * `deno task compile`: compiles each command to its own binary, in `dist/` or the folder given by
 * `--out`, with the permissions of its task in `deno.json`. Prints the size of each binary and the
 * total; with `--verbose`, the contents too.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { formatSize } from "../disk/size.ts";
import { writeError, writeLine, writeText } from "./program/print.ts";
import config from "../deno.json" with { type: "json" };

/** A command and the permissions it runs with. */
interface Target {
  readonly name: string;
  readonly permissions: readonly string[];
}

/** The commands, read from the tasks in `deno.json`. */
function targets(): Target[] {
  return Object.entries(config.tasks).flatMap(([name, task]) => {
    const line = typeof task === "string" ? task : task.command;
    const match = /^deno run (.*) cmd\/[^/_]+\.ts :task$/.exec(line);
    return match === null ? [] : [{ name, permissions: match[1].split(" ") }];
  });
}

/**
 * The excluded files: the tests of a package that `prom-client` needs. Deno parses every file of an
 * embedded package as JavaScript, and a list of ten thousand numbers there overflows its stack.
 */
async function excluded(): Promise<string[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { npmCache }: { npmCache: string } = JSON.parse(new TextDecoder().decode(stdout));
  const lock = await Deno.readTextFile("deno.lock");
  return Array.from(
    lock.matchAll(/"bintrees@([\d.]+)"/g),
    ([, version]) => `--exclude=${npmCache}/registry.npmjs.org/bintrees/${version}/test`,
  );
}

/** Compiles one command, and returns the compiler's output. */
async function compile({ name, permissions }: Target, out: string): Promise<string> {
  const given = [...permissions, ...await excluded()];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", ...given, "--output", `${out}/${name}`, `cmd/${name}.ts`],
    stdin: "null",
    env: { NO_COLOR: "1" },
  }).output();
  const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  if (!success) throw new Error(failure(name, said));
  return said.trim();
}

/** One line of the table: a path and its size. */
function sizeLine(path: string, bytes: number, width: number): string {
  return `${path.padEnd(width)}  ${formatSize(bytes).padStart(10)}`;
}

/**
 * Compiles all commands. Prints the size of each as soon as it is done, and the total at the end.
 */
async function compileAll(folder: string, shown: string, verbose: boolean): Promise<void> {
  const all = targets();
  const width = Math.max(...all.map(({ name }) => `${shown}/${name}`.length));
  let totalBytes = 0;
  for (const target of all) {
    const said = await compile(target, folder);
    if (verbose) await writeText(said);
    const { size } = await Deno.stat(`${folder}/${target.name}`);
    await writeLine(sizeLine(`${shown}/${target.name}`, size, width));
    totalBytes += size;
  }
  await writeLine(sizeLine("total", totalBytes, width));
}

/** Shortens the pages that a failed `deno compile` prints to one line. */
function failure(name: string, said: string): string {
  const errors = [...said.matchAll(/^(?:error:|\s+\d+:) ([^<\n]+)$/gm)].map(([, text]) => text);
  // A message about denort concerns the runtime that a binary is made from, not the program.
  return /denort/.test(said)
    ? `denort, the runtime inside the binaries, cannot be had: ${errors.at(-1)}; ` +
      "allow access to dl.deno.land, or set DENORT_BIN to the path of one"
    : `cmd/${name}.ts: ${errors[0] ?? "deno compile failed"}; see \`deno check\``;
}

if (import.meta.main) {
  const { out, verbose } = parseArgs(Deno.args, {
    string: ["out"],
    boolean: ["verbose"],
    default: { out: "dist" },
  });
  const folder = await Deno.mkdir(out, { recursive: true }).then(() => Deno.realPath(out));
  Deno.chdir(new URL("..", import.meta.url));
  try {
    await compileAll(folder, out, verbose);
  } catch (error) {
    writeError(`compile: error: ${(error as Error).message}`);
    Deno.exit(1);
  }
}
