/**
 * The command line of `ublk add` and `ublk recover`, read.
 *
 * @module
 */

import type { BackendSpec } from "../../disk/spec.ts";
import type { Target } from "../../disk/target.ts";
import {
  DEVICE_FLAGS,
  type DeviceValues,
  type ServingOptions,
  servingOptions,
} from "./device_flags.ts";
import { findFlag, type Flag, parseLine, spreadLetters, usageError, type Values } from "./flags.ts";
import { METRICS, metricsAddress } from "./metrics_flag.ts";
import { type ProcessOptions, processOptions } from "./process_flags.ts";
import { absolute, targetFlags, targetHint, targetOf, targetSpec } from "./targets.ts";
import { readWraps, WRAP, wrapped } from "./wraps.ts";

const TYPE = {
  name: "type",
  short: "t",
  kind: "text",
  placeholder: "TARGET",
  help: "What to serve; see below.",
} as const satisfies Flag;

/** The flag that stands for what is in a file; it is expanded before a line is read. */
export const CONFIG = {
  name: "config",
  kind: "path",
  placeholder: "FILE",
  help:
    "Take options from a TOML or JSON file, which may have several devices;\nwhat is given here too wins.",
} as const satisfies Flag;

/** How the command itself goes about it, whatever device it makes. */
export const COMMAND_FLAGS = [
  { name: "foreground", kind: "switch", help: "Serve in this process until it is ended." },
  METRICS,
  { name: "json", kind: "switch", help: "Print JSON." },
  { name: "quiet", kind: "switch", help: "Print nothing, and log warnings and errors only." },
  {
    name: "debug-mask",
    kind: "text",
    placeholder: "HEX",
    help: "Log more, by kublk's bits: 1, 2 and 10 as -v, 4 and 8 as -vv.",
  },
  { name: "verbose", short: "v", kind: "count", help: "Log more; -vv: each request." },
] as const satisfies readonly Flag[];

/** All flags but those of targets. */
export const ADD_FLAGS = [TYPE, CONFIG, WRAP, ...DEVICE_FLAGS, ...COMMAND_FLAGS] as const;

/** Values of {@linkcode COMMAND_FLAGS}. */
export type CommandValues = Values<typeof COMMAND_FLAGS>;

/** A command line that makes sense. */
export interface AddLine {
  /** What is served. */
  readonly target: Target;
  /** The files that it serves, with whole paths. */
  readonly files: readonly string[];
  /** Its backend. */
  readonly backend: BackendSpec;
  /** How it is served. */
  readonly options: ServingOptions;
  /** What is asked for the server's process. */
  readonly process: ProcessOptions;
  /** Go on with what a server before has left. */
  readonly resume: boolean;
  /** Where its metrics are served; nowhere if undefined. */
  readonly metrics: string | undefined;
  /** How the command goes about it. */
  readonly values: CommandValues;
}

/**
 * Reads a command line.
 *
 * @param command `ublk add` or `ublk recover`.
 * @param cwd What relative paths are relative to.
 * @throws {UblkError} `INVALID_ARGUMENT` with one line.
 */
export async function parseAdd(
  command: string,
  args: readonly string[],
  cwd: string,
): Promise<AddLine> {
  const target = await targetOf(spreadLetters(ADD_FLAGS, args), cwd);
  const own = targetFlags(target);
  for (const { name } of own) {
    if (findFlag(ADD_FLAGS, `--${name}`) === undefined) continue;
    const remedy = "call it something else in the module's target";
    throw usageError(target.name, `its option --${name} is one of every device`, remedy);
  }
  const { values: all, words } = parseLine([...ADD_FLAGS, ...own] as readonly Flag[], args, {
    seeHelp: `see \`${command} --help\``,
    unknown: targetHint(command, target),
  });
  const values = all as DeviceValues & CommandValues & Record<string, unknown>;
  const wraps = readWraps(values.wrap as readonly string[], cwd);
  const options = servingOptions(values);
  const metrics = metricsAddress(values.metrics);
  const targetValues = {
    ...Object.fromEntries(own.map(({ name, kind }) => {
      const value = values[name];
      return [
        name,
        kind === "path" && value !== undefined ? absolute(value as string, cwd) : value,
      ];
    })),
    "block-size": values["block-size"],
    "read-only": values["read-only"] || wraps.some(({ wrapper }) => wrapper.neverWrites),
    "metadata-size": values["metadata-size"],
  };
  const keeps = wraps.every(({ wrapper, options }) => wrapper.keeps?.(options) !== false);
  return {
    target: keeps ? target : { ...target, persistent: false },
    files: words.map((file) => absolute(file, cwd)),
    backend: wrapped(wraps, targetSpec(target, targetValues, words, cwd)),
    options: {
      ...options,
      ...(options.sharedMemory === undefined ? {} : {
        sharedMemory: {
          ...options.sharedMemory,
          path: absolute(options.sharedMemory.path, cwd),
        },
      }),
      logLevel: logLevel(values),
    },
    process: processOptions(values),
    resume: values.resume,
    metrics,
    values,
  };
}

/** The lowest level that is logged, as in `@std/log`. */
export function logLevel({ verbose, quiet, "debug-mask": mask }: CommandValues): number {
  if (mask !== undefined && !/^(0x)?[0-9a-f]{1,8}$/i.test(mask)) {
    throw usageError("--debug-mask", `${JSON.stringify(mask)} is not a hexadecimal number`);
  }
  const bits = mask === undefined ? 0 : parseInt(mask, 16);
  if (verbose > 1 || (bits & 0xc) !== 0) return 5;
  if (verbose > 0 || (bits & 0x13) !== 0) return 10;
  return quiet ? 30 : 20;
}
