/**
 * The shell script that stands as `./kublk` before the selftests, so that they test this project.
 *
 * The scripts call their program some ten times each, and an emulated CPU takes 1.3 s to start
 * Deno with it. What only talks to the driver (`list`, `del`, …) is run from a bundle of the very
 * same command, in pieces of which each command loads its own, 0.8 s; what serves a device is run from its sources, since it starts Workers by
 * their modules' addresses.
 *
 * @module
 */
import { exists, output, say, VmError } from "./host.ts";
import { shellQuote } from "./initramfs.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const COMMAND = `${ROOT}cmd/ublk.ts`;
/** What the command loads at run time. */
const WORKERS = [`${ROOT}queue/worker.ts`, `${ROOT}device/watchdog_worker.ts`];
/** Nothing is checked or looked for on the network, which a guest has not. */
const RUN = [
  ...["deno", "run", "-A", "--no-check", "--cached-only", "--no-lock"],
  // Or Deno would read the pieces of all commands for any of them.
  "--unstable-lazy-dynamic-imports",
];
/** What serves a device. */
const SERVING = "add|recover";

/** Where the guest's script has the bundle in memory: `/results` is read anew each time. */
const BUNDLE_IN_GUEST = "/run/ublk-bundle";

/** The script for a command line of the user's own. */
export function programOf(command: readonly string[]): string {
  return `#!/bin/sh\nexec ${command.map(shellQuote).join(" ")} "$@"\n`;
}

/** The script for this project's `ublk`; what it takes goes to the folder `dir`. */
export async function ourProgram(dir: string): Promise<string> {
  if (!(await exists(COMMAND))) throw new VmError(`${COMMAND} is missing: name a program after --`);
  await output(Deno.execPath(), ["cache", "--quiet", COMMAND, ...WORKERS], {
    cwd: ROOT,
    failure: "the command does not load, so no guest was started",
  });
  // What kublk takes for granted is granted after that word.
  const source = [...RUN, "--config", `${ROOT}deno.json`, COMMAND, "kublk"];
  const bundle = `${dir}/ublk-bundle`;
  try {
    await output(Deno.execPath(), [
      "bundle",
      "--quiet",
      "--minify",
      "--code-splitting",
      "--outdir",
      bundle,
      COMMAND,
    ], {
      cwd: ROOT,
      failure: "no bundle of the command, so its sources are run, more slowly",
    });
  } catch (error) {
    // The bundler is experimental, and itself downloaded.
    say(error instanceof Error ? error.message : String(error));
    return programOf(source);
  }
  return `#!/bin/sh
case "$1" in
  ${SERVING}) exec ${source.map(shellQuote).join(" ")} "$@" ;;
esac
exec ${[...RUN, "--no-config", `${BUNDLE_IN_GUEST}/ublk.js`].map(shellQuote).join(" ")} "$@"
`;
}
