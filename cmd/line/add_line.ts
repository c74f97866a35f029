/**
 * Parses the command line of every command that adds a disk (`ublk add`, `ublk-mem` etc.) or
 * recovers one.
 *
 * @module
 */

import type { Target } from "../../disk/target.ts";
import type { DiskRequest, ServingOptions } from "../devices/disk_request.ts";
import { DEVICE_FLAGS, servingOptions } from "./device_flags.ts";
import { namedTarget, operandsOf, ownFlags, pathOr, wrapsOf } from "./disk_line.ts";
import { type Flag, parseLine, type Values } from "./flags.ts";
import { verbosityOf, withRewrites } from "./kublk.ts";
import { METRICS, metricsAddress } from "./metrics_flag.ts";
import { PROCESS_FLAGS, processOptions } from "./process_flags.ts";
import { diskOf, lastingValues, type RequestedDisk } from "./request.ts";
import { absolute, targetHint } from "./target_line.ts";

/** The target. */
export const TYPE = {
  name: "type",
  short: "t",
  kind: "text",
  placeholder: "TARGET",
  help: "The target to serve; see below.",
} as const satisfies Flag;

/** The flag that includes a file of options; it is expanded before the line is parsed. */
export const CONFIG = {
  name: "config",
  kind: "path",
  placeholder: "FILE",
  help:
    "Take options from a TOML or JSON file, which may have several devices; what is given here too wins.",
} as const satisfies Flag;

/** A wrapper. */
export const WRAP = {
  name: "wrap",
  kind: "text",
  repeated: true,
  placeholder: "WRAPPER",
  help: "A wrapper around it; see below. The first is the outermost.",
} as const satisfies Flag;

/** The flags that control the command itself rather than the device. */
export const COMMAND_FLAGS = [
  { name: "foreground", kind: "switch", help: "Serve in this process until it is ended." },
  METRICS,
  { name: "json", kind: "switch", help: "Print JSON." },
  { name: "quiet", kind: "switch", help: "Print nothing, and log warnings and errors only." },
  { name: "verbose", short: "v", kind: "count", help: "Log more; -vv: each request." },
] as const satisfies readonly Flag[];

/** {@linkcode COMMAND_FLAGS}, and kublk's flags that stand for some of them. */
export const COMMAND_LINE_FLAGS: readonly Flag[] = COMMAND_FLAGS.flatMap(withRewrites);

/** All flags of a program for one kind of disk, except its target's. */
export const DISK_FLAGS: readonly Flag[] = [
  CONFIG,
  WRAP,
  ...DEVICE_FLAGS,
  ...PROCESS_FLAGS,
  ...COMMAND_LINE_FLAGS,
];

/** All flags of `ublk add`, except the targets'. */
export const ADD_FLAGS: readonly Flag[] = [TYPE, ...DISK_FLAGS];

/** All flags of `ublk recover` but those of targets: its device is there, and of no file. */
export const RECOVER_FLAGS: readonly Flag[] = ADD_FLAGS.filter(({ name }) => name !== CONFIG.name)
  .map((flag) =>
    flag.name === "id"
      ? { ...flag, device: true, help: "The N of /dev/ublkbN, or that path." }
      : flag
  );

/** Values of {@linkcode COMMAND_LINE_FLAGS}. */
export type CommandValues = Values<typeof COMMAND_FLAGS> & { readonly "debug-mask"?: string };

/** A requested disk, and the options of the command. */
export interface AddLine extends RequestedDisk {
  /** The request, as a record keeps it: without options for one start. */
  readonly request: DiskRequest;
  /** The options of the device. */
  readonly options: ServingOptions;
  /** The address for metrics; undefined for none. */
  readonly metrics: string | undefined;
  /** Continue with the device that a previous server left. */
  readonly resume: boolean;
  /** The values of the command's own flags. */
  readonly values: CommandValues;
}

/** Context for a command line that is not complete by itself. */
export interface Reading {
  /** The target, if the command is a program for one. */
  readonly target?: Target;
  /** Values passed to the target besides its options. */
  readonly more?: Readonly<Record<string, unknown>>;
}

/**
 * Parses a command line.
 *
 * @param command `ublk add`, `ublk recover` or `ublk-mem`.
 * @param cwd The folder that relative paths are resolved against.
 * @throws {UblkError} `INVALID_ARGUMENT` with one line.
 */
export async function parseAdd(
  command: string,
  args: readonly string[],
  cwd: string,
  reading: Reading = {},
): Promise<AddLine> {
  const flags = reading.target === undefined ? ADD_FLAGS : DISK_FLAGS;
  const [reference, target] = reading.target === undefined
    ? await namedTarget(args, cwd, ADD_FLAGS)
    : [reading.target.name, reading.target];
  const own = ownFlags(target, ADD_FLAGS);
  const { values: all, words } = parseLine([...flags, ...own] as readonly Flag[], args, {
    seeHelp: `see \`${command} --help\``,
    unknown: targetHint(command, target),
  });
  const values = all as CommandValues & Record<string, unknown>;
  const wraps = await wrapsOf(values.wrap as readonly string[], cwd);
  const device = servingOptions(values);
  const metrics = metricsAddress(values.metrics);
  const [files, operand] = operandsOf(target, words, values);
  const { sharedMemory } = device;
  const given = {
    ...Object.fromEntries(
      own.map(({ name, kind }) => [name, pathOr(kind, values[name], cwd)]),
    ),
    ...operand,
    "block-size": values["block-size"],
    "read-only": device.readOnly === true || wraps.some(({ wrapper }) => wrapper.opensReadOnly),
    "metadata-size": device.integrity?.metadataSize,
  };
  const request: DiskRequest = {
    target: reference,
    values: lastingValues(target, given),
    files: files.map((file) => absolute(file, cwd)),
    wraps: wraps.map(({ wrapper, options }) => ({ name: wrapper.name, options })),
    device: {
      ...device,
      ...(sharedMemory === undefined ? {} : {
        sharedMemory: { ...sharedMemory, path: absolute(sharedMemory.path, cwd) },
      }),
      logLevel: logLevel(values),
    },
    process: processOptions(values as unknown as Values<typeof PROCESS_FLAGS>),
    ...(metrics === undefined ? {} : { metrics }),
  };
  return {
    ...await diskOf(target, { ...request, values: given }, reading.more),
    request,
    options: request.device,
    metrics,
    resume: values.resume === true,
    values,
  };
}

/** The lowest level that is logged, by threads and on stderr, as in `@std/log`. */
export function logLevel(values: CommandValues): number {
  const verbosity = Math.max(values.verbose, verbosityOf(values["debug-mask"]));
  if (verbosity > 0) return verbosity > 1 ? 5 : 10;
  return values.quiet ? 30 : 20;
}
