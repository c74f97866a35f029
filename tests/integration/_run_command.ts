/**
 * Runs the commands as their tasks in `deno.json` do, with the same permissions, and bounded in
 * time.
 *
 * @module
 */

import { assertEquals, assertMatch } from "@std/assert";
import { BY_TASK } from "../../cmd/line/args.ts";
import config from "../../deno.json" with { type: "json" };
import { bundleOf } from "../bundles.ts";

/** The names of the commands. */
export type CommandName =
  | "ublk"
  | "ublk-ebs"
  | "ublk-file"
  | "ublk-mem"
  | "ublk-nbd"
  | "ublk-null"
  | "ublk-volume"
  | "ublk-zip";

/** All that the package exports. */
export const PROGRAMS: readonly CommandName[] = Object.keys(config.exports)
  .filter((name) => name.startsWith("./ublk"))
  .map((name) => name.slice(2) as CommandName)
  .sort();

/** How a command ended. */
export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** The project's folder. */
export const ROOT: string = new URL("../..", import.meta.url).pathname;

/**
 * Program and arguments that the command's task in `deno.json` consists of, without the word by which
 * the program takes its parent for `deno task`. In a guest the command is a bundle, if there is one.
 */
export function commandLine(name: CommandName, args: readonly string[]): string[] {
  const [_deno, ...rest] = config.tasks[name].command.split(" ").filter((word) => word !== BY_TASK);
  const words = rest.map((word) => word.startsWith("cmd/") ? bundleOf(word) ?? word : word);
  return [Deno.execPath(), ...words, ...args];
}

/** Runs a command to its end; `wrap` is put before its command line. */
export async function runCommand(
  name: CommandName,
  args: readonly string[],
  { wrap = [], limitMs = 180_000 }: { wrap?: readonly string[]; limitMs?: number } = {},
): Promise<Ran> {
  const [program, ...rest] = [...wrap, ...commandLine(name, args)];
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: rest,
    cwd: ROOT,
    stdin: "null",
    signal: AbortSignal.timeout(limitMs),
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** One line on stderr with cause and remedy, nothing on stdout, and that exit code. */
export function assertOneLine({ code, stdout, stderr }: Ran, expected: number, line: RegExp): void {
  assertMatch(stderr, /^[^\n]+\n$/, `not one line: ${stderr}`);
  assertMatch(stderr, line);
  assertEquals([code, stdout], [expected, ""], stderr);
}

/**
 * Puts a program into a mount namespace whose `/dev` has a handful of nodes, and what `extra`, a
 * line of shell, makes in the folder `$D` that becomes it. Needs root.
 */
export function withPrivateDev(extra: string): string[] {
  const script = [
    "set -e",
    "D=$(mktemp -d)",
    "mount -t tmpfs none $D",
    "cp -a /dev/null /dev/zero /dev/urandom /dev/random $D",
    extra,
    "mount --move $D /dev",
    "rmdir $D",
    'exec "$@"',
  ].join("\n");
  return ["unshare", "--mount", "sh", "-c", script, "sh"];
}

const NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"];
const POWERLESS = ["--inh-caps=-all", "--bounding-set=-all"];
/** What of a checkout is none of its sources, for tar. */
const NO_SOURCES = "--exclude=./.git --exclude=./node_modules --exclude=./.bundles";

/**
 * Makes a program run as nobody, who may yet read every file, wherever Deno is installed. He gets a
 * cache of his own: Deno trusts none that it cannot write to. Needs root.
 *
 * @param readsAll Whether he may. If not, the program runs in a copy of the project that he can read. The
 *   program itself is found by root's rights all the same.
 */
export function asNobody(readsAll = true): string[] {
  const cache = Deno.env.get("DENO_DIR") ??
    `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`}/deno`;
  const script = [
    "own=$(mktemp -d)",
    "trap 'rm -rf $own' EXIT",
    "export DENO_DIR=$own/cache",
    `mkdir $DENO_DIR && cp -r '${cache}/npm' $DENO_DIR/`,
    ...readsAll ? [] : [
      `mkdir $own/project && tar -C '${ROOT}' ${NO_SOURCES} -c . | tar -C $own/project -x`,
      "cd $own/project",
    ],
    "chown -R 65534 $own",
    `setpriv ${NOBODY.join(" ")} ` +
    (readsAll
      ? "--inh-caps=-all,+dac_read_search --ambient-caps=+dac_read_search " +
        '--bounding-set=-all,+dac_read_search "$@"'
      : `${POWERLESS.join(" ")} "$@"`),
  ].join("\n");
  return ["sh", "-c", script, "sh"];
}
