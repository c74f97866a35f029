/**
 * A command that serves one disk in the foreground, until a signal or somebody else ends it.
 *
 * The first line on stdout is the disk's path, printed once the disk can be opened, and nothing
 * else goes there; the log goes to stderr.
 *
 * @module
 */

import type { BackendSpec } from "../../disk/spec.ts";
import { BLOCK_SIZES } from "../../disk/geometry.ts";
import { MAX_DEVICES, MAX_MAX_IO_BYTES, MIN_MAX_IO_BYTES } from "../../ctrl/negotiate.ts";
import { serve } from "../../device/serve.ts";
import { LOG_DEBUG, LOG_INFO, LOG_TRACE } from "../../queue/log_events.ts";
import { UBLK_MAX_NR_QUEUES, UBLK_MAX_QUEUE_DEPTH } from "../../uapi/ublk_cmd.ts";
import { commandArgs } from "../line/args.ts";
import {
  asksFor,
  type Flag,
  parseLine,
  type Syntax,
  usageError,
  type Values,
  wantsAll,
} from "../line/flags.ts";
import { helpText, versionText } from "../line/help.ts";
import { logToStderr, setLogLevel, type StderrLog } from "./log.ts";
import { METRICS, metricsAddress } from "../line/metrics_flag.ts";
import { PROCESS_FLAGS, processOptions } from "../line/process_flags.ts";
import { absolute } from "../line/targets.ts";
import type { Progress } from "./progress.ts";
import { writeJson, writeLine, writeText } from "../program/print.ts";
import { EXIT_OK, exitStatus } from "../program/run.ts";
import { endWhereMeasured, serveUntilEnd } from "./serving.ts";

/** The flags of every disk, after its own. */
export const DISK_FLAGS = [
  {
    name: "queues",
    kind: "integer",
    min: 0,
    max: UBLK_MAX_NR_QUEUES,
    help: "Hardware queues, each served by a thread; 0: one per CPU. Default: 1.",
  },
  {
    name: "depth",
    kind: "integer",
    min: 1,
    max: UBLK_MAX_QUEUE_DEPTH,
    help: `Requests in flight per queue, 1 to ${UBLK_MAX_QUEUE_DEPTH}. Default: 128.`,
  },
  {
    name: "block-size",
    kind: "size",
    choices: BLOCK_SIZES,
    help: `Logical block: ${BLOCK_SIZES.join(", ")} bytes.\n` +
      "Default: 512, or that of a device below.",
  },
  {
    name: "max-io",
    kind: "size",
    min: MIN_MAX_IO_BYTES,
    max: MAX_MAX_IO_BYTES,
    multipleOf: MIN_MAX_IO_BYTES,
    help: "The largest request, 4K to 32M in whole pages. Default: 512K.",
  },
  {
    name: "id",
    kind: "integer",
    min: 0,
    max: MAX_DEVICES - 1,
    help: "The N of /dev/ublkbN. Default: the kernel's choice.",
  },
  { name: "read-only", kind: "switch", help: "The kernel refuses writes." },
  METRICS,
  {
    name: "unprivileged",
    kind: "switch",
    help: "A disk of this user's own. Default where the user is not root.",
  },
  {
    name: "verbose",
    short: "v",
    kind: "count",
    help: "Log more; -vv: each request.",
  },
  {
    name: "json",
    kind: "switch",
    help: "Print one line of JSON (path, id, size, …) instead of the path.",
  },
  ...PROCESS_FLAGS,
] as const satisfies readonly Flag[];

const NOTES = `SIZE is a number of bytes or has a unit: 64M and 64MiB count in 1024s, 64MB in 1000s.

It serves in the foreground. The first line on stdout is the disk's path, once it can be opened.
Ctrl-C (or SIGTERM) stops and deletes the disk; once more, a second later, ends by force.`;

/** A kind of disk as a command. */
export interface DiskCommand<F extends readonly Flag[]> {
  /** The command. */
  readonly name: string;
  /** What it does, in a few words. */
  readonly summary: string;
  /** Its own flags. */
  readonly flags: F;
  /** What else stands on its command line, once: `FILE`. Without it, nothing. */
  readonly operand?: string;
  /** What may stand behind it: `MEMBER`. */
  readonly secondOperand?: string;
  /** What it shows while the disk is made, on a terminal. */
  readonly progress?: Progress;
  /**
   * Makes the backend, from the flags and the operands. What it throws for its arguments is a
   * `RangeError`, a `TypeError` or a `UblkError`.
   */
  backend(
    values: Values<readonly [...F, ...typeof DISK_FLAGS]>,
    operand: string,
    secondOperand?: string,
  ): BackendSpec;
}

type DiskValues = Values<typeof DISK_FLAGS>;

/** A command as its file has it. */
export interface DiskProgram {
  /** What its help and the completions tell. */
  readonly syntax: Syntax;
  /** Runs it, with this process's arguments, to its end and the process's. */
  run(): Promise<never>;
}

/** A kind of disk as a program. */
export function diskProgram<const F extends readonly Flag[]>(command: DiskCommand<F>): DiskProgram {
  return { syntax: syntaxOf(command), run: () => runDisk(command) };
}

function syntaxOf<F extends readonly Flag[]>(command: DiskCommand<F>) {
  const { name, summary, flags, operand, secondOperand } = command;
  const operands = secondOperand === undefined ? operand : `${operand} [${secondOperand}]`;
  return { name, summary, flags: [...flags, ...DISK_FLAGS], operands, notes: NOTES };
}

/** Runs the command, with this process's arguments, to its end and the process's. */
export async function runDisk<const F extends readonly Flag[]>(
  command: DiskCommand<F>,
): Promise<never> {
  const flags = [...command.flags, ...DISK_FLAGS] as const;
  const log = logToStderr(command.name);
  const status = await exitStatus(log, async () => {
    const args = await commandArgs();
    if (args[0] === "__complete") {
      const { answer } = await import("../line/complete.ts");
      return await answer(args.slice(1), syntaxOf(command));
    }
    const wish = asksFor(args);
    if (wish !== undefined) {
      await writeText(
        wish === "help" ? helpText(syntaxOf(command), wantsAll(args)) : versionText(command.name),
      );
      return EXIT_OK;
    }
    const seeHelp = `see \`${command.name} --help\``;
    const remedies = { seeHelp, unknown: seeHelp };
    const { values, words } = parseLine<readonly [...F, ...typeof DISK_FLAGS]>(
      flags,
      args,
      remedies,
    );
    checkOperands(command, words, seeHelp);
    const backend = specOf(() => command.backend(values, words[0] ?? "", words[1]));
    const files = command.operand === undefined ? [] : [absolute(words[0], Deno.cwd())];
    return await serveDisk(command, args, files, backend, values as unknown as DiskValues, log);
  });
  endWhereMeasured(status);
  Deno.exit(status);
}

type Operands = Pick<DiskCommand<readonly Flag[]>, "operand" | "secondOperand">;

function checkOperands(
  { operand, secondOperand }: Operands,
  words: readonly string[],
  seeHelp: string,
): void {
  const extra = words[operand === undefined ? 0 : secondOperand === undefined ? 1 : 2];
  if (extra !== undefined) throw usageError(extra, "unexpected argument", seeHelp);
  if (operand === undefined || words.length > 0) return;
  throw usageError(operand, "it is missing", seeHelp);
}

function specOf(make: () => BackendSpec): BackendSpec {
  try {
    return make();
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) {
      throw usageError("--size", error.message);
    }
    throw error;
  }
}

async function serveDisk(
  { name: program, progress }: Pick<DiskCommand<readonly Flag[]>, "name" | "progress">,
  argv: readonly string[],
  files: readonly string[],
  backend: BackendSpec,
  values: DiskValues,
  log: StderrLog,
): Promise<number> {
  const logLevel = [LOG_INFO, LOG_DEBUG][values.verbose] ?? LOG_TRACE;
  setLogLevel(logLevel);
  return await serveUntilEnd({
    program,
    target: program.replace(/^ublk-/, ""),
    argv,
    cwd: Deno.cwd(),
    files,
    log,
    process: processOptions(values),
    foreground: true,
    metrics: metricsAddress(values.metrics),
    start: async (signal) => {
      using _shown = progress?.show();
      return await serve({
        backend,
        id: values.id,
        queues: values.queues,
        depth: values.depth,
        maxIoBytes: values["max-io"],
        readOnly: values["read-only"],
        unprivileged: values.unprivileged || undefined,
        logLevel,
        signal,
        signals: false,
      });
    },
    announce: async (device) => {
      const info = device.info();
      if (values.json) await writeJson(info);
      else await writeLine(info.path);
    },
  });
}
