/**
 * Parses the command line of `ublk recover`. The disk comes from the line if it names a target,
 * else from the record of the device's last server.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import {
  ADD_FLAGS,
  type AddLine,
  COMMAND_LINE_FLAGS,
  type CommandValues,
  CONFIG,
  logLevel,
  parseAdd,
} from "./add_line.ts";
import { DEVICE_FLAGS } from "./device_flags.ts";
import { findFlag, type Flag, parseLine, spreadLetters, usageError } from "./flags.ts";
import { metricsAddress } from "./metrics_flag.ts";
import type { DeviceRecord } from "../devices/records.ts";
import { withGranted } from "./kublk_line.ts";
import { requestedDisk } from "./request.ts";
import { valueIn } from "./target_line.ts";
import { namesTarget } from "./targets.ts";

/** A device to recover, and the disk to serve it with. */
export interface RecoverLine extends AddLine {
  /** The N of `/dev/ublkbN`. */
  readonly id: number;
  /** The command line names the target, so the contents may be lost. */
  readonly explicit: boolean;
}

const COMMAND = "ublk recover";
const SEE_HELP = `see \`${COMMAND} --help\``;

/**
 * Parses a command line.
 *
 * @param recordOf Returns the record of a device's last server.
 * @throws {UblkError} `INVALID_ARGUMENT` for a mistake in it; `CONTROL_FAILED` if the record is of
 *   no use.
 */
export async function parseRecover(
  args: readonly string[],
  recordOf: (id: number) => Promise<DeviceRecord | undefined>,
  cwd: string = Deno.cwd(),
): Promise<RecoverLine> {
  if (valueIn(args, CONFIG.name) !== undefined) {
    throw usageError(
      "--config",
      "it is for `ublk add`",
      "give the flags themselves, or leave it out",
    );
  }
  if (namesTarget(spreadLetters(ADD_FLAGS, args))) {
    const line = await parseAdd(COMMAND, args, cwd);
    if (line.options.id === undefined) throw missingDevice();
    return { ...line, id: line.options.id, explicit: true };
  }
  const flags: readonly Flag[] = [findFlag(DEVICE_FLAGS, "--id")!, ...COMMAND_LINE_FLAGS];
  const { values: all, words } = parseLine(flags, args, {
    seeHelp: SEE_HELP,
    unknown: "without --type all is as it was; to change it, give --type and all flags",
  });
  if (words.length > 0) {
    throw usageError(words[0], "unexpected argument without --type", SEE_HELP);
  }
  const values = all as unknown as CommandValues & { readonly id?: number };
  const { id } = values;
  if (id === undefined || id < 0) throw missingDevice();
  const record = await recordOf(id);
  if (record === undefined) {
    throw refusal(id, "there is no record of its server", "name the target and its flags, with -t");
  }
  const line = await lineOf(record);
  if (!line.target.persistent) {
    const reason = `what ${line.target.name} held is gone with its server`;
    throw refusal(id, reason, `to go on without it, add -t ${line.target.name}`);
  }
  const metrics = metricsAddress(values.metrics) ?? line.metrics;
  const asked = values.quiet || values.verbose > 0 || values["debug-mask"] !== undefined;
  const options = asked ? { ...line.options, logLevel: logLevel(values) } : line.options;
  return { ...line, options, metrics, values, id, explicit: false };
}

/** The disk that a record describes. */
async function lineOf(record: DeviceRecord): Promise<Omit<AddLine, "values">> {
  if (record.version !== undefined) {
    const { request } = record;
    return {
      ...await requestedDisk(request),
      options: request.device,
      metrics: request.metrics,
      resume: false,
    };
  }
  if (record.program !== "ublk") {
    const reason = `${record.program} served it`;
    throw refusal(record.id, reason, "name the target and its flags, with -t");
  }
  // In 0.1.0 files were shared unless `--exclusive` was given, and its defaults were kublk's. So
  // kublk's defaults are added.
  const isExclusive = record.argv.includes("--exclusive");
  const line = withGranted(record.argv.filter((arg) => arg !== "--exclusive"));
  const granted = isExclusive ? line.filter((arg) => arg !== "--shared") : line;
  return await parseAdd("ublk add", granted, record.cwd);
}

/** The error of every command that needs a device. */
function missingDevice(): UblkError {
  return usageError("DEVICE", "it is missing", "give its number, or /dev/ublkbN");
}

function refusal(device: number, reason: string, hint: string): UblkError {
  return new UblkError("CONTROL_FAILED", { operation: "recover", device, reason, hint });
}
