/**
 * What the kernel does while tests (or a command) run: every function of the driver, the block
 * layer's events of ublk devices, and io_uring's. The driver has no trace events of its own.
 *
 * @module
 */
import type { CommandLine } from "./args.ts";
import { prepareTests } from "./e2e.ts";
import { exists, passOn, say } from "./host.ts";
import { bootGuest, type GuestOptions } from "./qemu.ts";

type GuestDefaults = Partial<GuestOptions> & Pick<GuestOptions, "timeoutMs">;

/** Runs the tests or the command under tracing and prints the trace; returns the exit status. */
export async function runTrace(line: CommandLine, guest: GuestDefaults): Promise<number> {
  const traced = line.command.length > 0
    ? { command: line.command, env: {} }
    : await prepareTests(line);
  const resultsDir = line.resultsDir ?? await Deno.makeTempDir({ prefix: "ublk-vm-trace-" });
  await Deno.mkdir(resultsDir, { recursive: true });
  const path = `${resultsDir}/trace.txt`;
  await Deno.remove(path).catch(() => {}); // Never print an earlier run's.
  try {
    const result = await bootGuest({
      ...guest,
      kernel: line.kernels[0],
      command: ["sh", `${import.meta.dirname}/guest/trace.sh`, ...traced.command],
      env: traced.env,
      resultsDir,
      // The trace alone goes to stdout, so that it can be piped on.
      onOutput: (chunk) => passOn(chunk, "stderr"),
    });
    // A guest that dies on the way to the command leaves no trace.
    if (await exists(path)) {
      for await (const chunk of (await Deno.open(path)).readable) passOn(chunk, "stdout");
    }
    if (typeof result.status === "number") return result.status;
    console.error(result.consoleTail.replaceAll(/^(?=.)/gm, "| "));
    say(`the guest ${result.reason}; above are the last lines of its console`);
    return 1;
  } finally {
    if (line.resultsDir === undefined) await Deno.remove(resultsDir, { recursive: true });
  }
}
