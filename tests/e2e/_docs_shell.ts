/**
 * Command lines of the documentation as a script: typed by somebody who waits until a disk is there
 * before he goes on, and who presses Ctrl-C in front of a command that serves.
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };
import { bundleOf } from "../bundles.ts";
import { ROOT, type ShellLine, shellLines, type Snippet } from "../snippets.ts";

/** What the script begins with. */
const PRELUDE = `
set -euo pipefail
set -m   # Jobs have numbers, as at a terminal.
# By the shell alone: processes for each look would take CPU time from the server that starts.
look() {
  local node
  DISKS=()
  for node in /dev/ublkb*; do
    case "\${node#/dev/ublkb}" in *[!0-9]*) ;; *) DISKS+=("$node") ;; esac
  done
}
# Waits for one more disk than there were, and until all of them open.
ready() {
  while look; [ "\${#DISKS[@]}" -le "$SEEN" ]; do
    kill -0 "$1" || { echo "it ended before there was a disk" >&2; exit 1; }
    sleep 0.1
  done
  local disk
  for disk in "\${DISKS[@]}"; do
    until (exec <"$disk") 2>/dev/null; do sleep 0.1; done
  done
}
cleanup() {
  status=$?
  set +e
  if mountpoint -q /mnt; then umount /mnt; fi
  if [ -n "$(ls /dev | grep ublkc)" ]; then ublk del --force -a; fi
  for job in $(jobs -p); do kill -- "-$job" 2>/dev/null; done
  wait
  exit $status
}
trap cleanup EXIT
`;

/** A block as a script. */
export function scriptOf({ before, text }: Snippet): string {
  return [PRELUDE, ...before, ...shellLines(text).map(scriptLine)].join("\n");
}

function scriptLine({ text, commands }: ShellLine): string {
  const serves = commands.some((words) => isServer(words.filter((word) => word !== "--quiet")));
  if (!serves || /\bcoproc\b/.test(text)) return text;
  if (text.endsWith("&")) return `look; SEEN=\${#DISKS[@]}\n${text}\nready $!`;
  return `look; SEEN=\${#DISKS[@]}\n${text} &\nready $!\nkill -INT -- -$!\nwait $!`;
}

/** Whether a command serves until it is ended. */
function isServer(words: readonly string[]): boolean {
  const [program, ...args] = words[0] === "deno" && words[1] === "task" ? words.slice(2) : words;
  if (args.includes("--help")) return false;
  return /^ublk-\w+$/.test(program ?? "") || program === "ublk" && args.includes("--foreground");
}

/**
 * Makes a folder of programs for the `PATH`: `deno task NAME` as `deno.json` has it, but in the
 * folder at hand instead of the checkout; and each of the project's commands by its name. In a guest
 * they are bundles, if there are some: that the same lines work from the sources is proved by the
 * README's and the tutorial's.
 */
export async function makePrograms(folder: string): Promise<void> {
  const cases: string[] = [];
  for (const [name, task] of Object.entries(config.tasks)) {
    if (!name.startsWith("ublk") || typeof task === "string") continue;
    const line = task.command.replace(/^deno /, `'${Deno.execPath()}' `)
      .replace(/ (cmd\/\S+) :task$/, (_, path) => ` '${bundleOf(path) ?? ROOT + path}'`);
    cases.push(`${name}) exec ${line} "$@" ;;`);
    await program(`${folder}/${name}`, `exec ${line} "$@"`);
  }
  await program(
    `${folder}/deno`,
    `if [ "$1" = task ]; then
  shift
  if [ "$1" = --quiet ]; then shift; fi
  name=$1
  shift
  case $name in
    ${cases.join("\n    ")}
  esac
  set -- task "$name" "$@"
fi
exec '${Deno.execPath()}' "$@"`,
  );
}

async function program(path: string, body: string): Promise<void> {
  await Deno.writeTextFile(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
}
