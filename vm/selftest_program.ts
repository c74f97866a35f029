/**
 * The shell script that stands as `./kublk` before the selftests, so that they test this project.
 *
 * The scripts call their program some ten times each, and an emulated CPU starts Deno with it in half
 * of the time if it is one file. So they run it from a bundle, and from its sources only if there is
 * none.
 *
 * @module
 */
import { BUNDLES_IN_GUEST } from "./bundles.ts";
import { exists, output, VmError } from "./host.ts";
import { shellQuote } from "./initramfs.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const COMMAND = "cmd/ublk.ts";
/** What the command loads at run time. */
const WORKERS = ["queue/worker.ts", "device/watchdog_worker.ts"];
/** Nothing is checked or looked for on the network, which a guest has not. */
const RUN = ["deno", "run", "-A", "--no-check", "--cached-only", "--no-lock"];

/** The script for a command line of the user's own. */
export function programOf(command: readonly string[]): string {
  return `#!/bin/sh\nexec ${command.map(shellQuote).join(" ")} "$@"\n`;
}

/** The script for this project's `ublk`, in a guest with bundles. */
export async function ourProgram(): Promise<string> {
  const missing = `${ROOT}${COMMAND} is missing: name a program after --`;
  if (!(await exists(ROOT + COMMAND))) throw new VmError(missing);
  await output(Deno.execPath(), ["cache", "--quiet", COMMAND, ...WORKERS], {
    cwd: ROOT,
    failure: "the command does not load, so no guest was started",
  });
  const quoted = (words: readonly string[]) => words.map(shellQuote).join(" ");
  const bundle = `${BUNDLES_IN_GUEST}/${COMMAND.replace(/\.ts$/, ".js")}`;
  const source = ["--config", `${ROOT}deno.json`, ROOT + COMMAND];
  // What kublk takes for granted is granted after that word.
  return `#!/bin/sh
case "$1" in add|recover) set -- kublk "$@" ;; esac
[ ! -e ${shellQuote(bundle)} ] || exec ${quoted([...RUN, "--no-config", bundle])} "$@"
exec ${quoted([...RUN, ...source])} "$@"
`;
}
