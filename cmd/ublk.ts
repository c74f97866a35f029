/**
 * `ublk`: lists, shows, stops and deletes the ublk devices of this machine, whoever made them. See
 * `docs/ublk.md`.
 *
 * @module
 */

import { Control } from "../ctrl/control.ts";
import { MAX_DEVICES } from "../ctrl/negotiate.ts";
import { UblkError } from "../uapi/error.ts";
import { FEATURES } from "../uapi/features.ts";
import { columns, detailsText, deviceIds, listText, readDevice, readDevices } from "./_devices.ts";
import { asksFor, type Flag, parseFlags, type Syntax, usageError, type Values } from "./_flags.ts";
import { helpText, overviewText, versionText } from "./_help.ts";
import { logToStderr, type StderrLog } from "./_log.ts";
import { EXIT_FAILURE, EXIT_OK, exitStatus, writeLine } from "./_run.ts";

const ID = {
  name: "id",
  short: "n",
  kind: "integer",
  placeholder: "ID",
  min: 0,
  max: MAX_DEVICES - 1,
  help: "The N of /dev/ublkbN.",
} as const satisfies Flag;
const JSON_FLAG = { name: "json", kind: "switch", help: "Print JSON." } as const satisfies Flag;
const ALL = {
  name: "all",
  short: "a",
  kind: "switch",
  help: "All devices, also those whose server was killed.",
} as const satisfies Flag;
const REQUIRED_ID = { ...ID, required: true } as const satisfies Flag;

/** One command of the program. */
interface Command extends Syntax {
  readonly run: (args: readonly string[], log: StderrLog) => Promise<number>;
}

function command<const F extends readonly Flag[]>(
  syntax: Syntax & { flags: F },
  run: (values: Values<F>, log: StderrLog) => Promise<number>,
): Command {
  const name = `ublk ${syntax.name}`;
  return {
    ...syntax,
    name,
    run: (args, log) => run(parseFlags<F>(name, syntax.flags, args), log),
  };
}

const COMMANDS: readonly Command[] = [
  command(
    { name: "list", summary: "list all devices", flags: [JSON_FLAG] },
    async ({ json }) => {
      await using control = await Control.open();
      const rows = await readDevices(control);
      await writeLine(json ? JSON.stringify(rows, null, 2) : listText(rows));
      return EXIT_OK;
    },
  ),
  command(
    { name: "info", summary: "show everything about a device", flags: [REQUIRED_ID, JSON_FLAG] },
    async ({ id, json }) => {
      await using control = await Control.open();
      const details = await readDevice(control, id);
      await writeLine(json ? JSON.stringify(details, null, 2) : detailsText(details));
      return EXIT_OK;
    },
  ),
  command(
    {
      name: "stop",
      summary: "stop a device: its disk disappears, flushed",
      flags: [REQUIRED_ID],
      notes: "A server of this project deletes its device once it is stopped, and exits with 0.",
    },
    async ({ id }) => {
      await using control = await Control.open();
      await control.stopDev(id);
      return EXIT_OK;
    },
  ),
  command(
    {
      name: "del",
      summary: "stop and delete devices, also those that a killed server left",
      flags: [ID, ALL],
    },
    ({ id, all }, log) => {
      if ((id === undefined) !== all) {
        throw usageError("ublk del", "it needs either -n ID or -a", "see `ublk del --help`");
      }
      return deleteDevices(id, log);
    },
  ),
  command(
    { name: "features", summary: "list what the kernel's driver offers", flags: [JSON_FLAG] },
    async ({ json }) => {
      await using control = await Control.open();
      await writeLine(json ? featuresJson(control.features) : featuresText(control.features));
      return EXIT_OK;
    },
  ),
];

/** Deletes one device, or all; with all, one that does not go does not hold up the others. */
async function deleteDevices(id: number | undefined, log: StderrLog): Promise<number> {
  await using control = await Control.open();
  if (id !== undefined) {
    await deleteDevice(control, id);
    return EXIT_OK;
  }
  let status = EXIT_OK;
  for (const one of await deviceIds()) {
    try {
      await deleteDevice(control, one);
    } catch (error) {
      if (!(error instanceof UblkError)) throw error;
      // Its server removed it meanwhile.
      if (error.code === "DEVICE_NOT_FOUND") continue;
      log.error(error.message);
      status = EXIT_FAILURE;
    }
  }
  return status;
}

/**
 * Stops, then deletes. `DEL_DEV` alone would do both, but it stops with the driver's one global
 * lock held: a device that does not stop would take all others with it. So a failed stop is the
 * end of it.
 */
async function deleteDevice(control: Control, id: number): Promise<void> {
  await control.stopDev(id);
  try {
    await control.delDev(id);
  } catch (error) {
    // Its server noticed that it was stopped, and was quicker.
    if (!(error instanceof UblkError && error.code === "DEVICE_NOT_FOUND")) throw error;
  }
}

function featureRows(flags: number) {
  return FEATURES.map(({ name, bit, kernel, meaning }) => ({
    name,
    bit,
    offered: Math.floor(flags / 2 ** bit) % 2 === 1,
    kernel,
    meaning,
  }));
}

function featuresJson(flags: number): string {
  return JSON.stringify(
    { flags: `0x${flags.toString(16)}`, features: featureRows(flags) },
    null,
    2,
  );
}

function featuresText(flags: number): string {
  const rows = featureRows(flags);
  const unknown = Math.floor(flags / 2 ** rows.length);
  return [
    `flags: 0x${flags.toString(16)}`,
    columns([
      ["BIT", "NAME", "OFFERED", "SINCE", "MEANING"],
      ...rows.map(({ name, bit, offered, kernel, meaning }) => [
        `${bit}`,
        name,
        offered ? "yes" : "no",
        kernel,
        meaning,
      ]),
    ]),
    ...(unknown === 0 ? [] : [`and bits that this version does not know: see the flags above`]),
  ].join("\n");
}

async function main(args: readonly string[], log: StderrLog): Promise<number> {
  const [name, ...rest] = args;
  const chosen = COMMANDS.find((command) => command.name === `ublk ${name}`);
  const wish = asksFor(args);
  if (wish === "version") {
    await writeLine(versionText("ublk"));
  } else if (wish === "help") {
    const overview = overviewText("ublk", "manage the ublk devices of this machine", COMMANDS);
    await writeLine(chosen === undefined ? overview : helpText(chosen));
  } else if (name === undefined) {
    throw usageError("ublk", "it needs a command", "see `ublk --help`");
  } else if (chosen === undefined) {
    throw usageError(name, "unknown command", "see `ublk --help`");
  } else {
    return await chosen.run(rest, log);
  }
  return EXIT_OK;
}

if (import.meta.main) {
  const log = logToStderr("ublk", false);
  Deno.exit(await exitStatus(log, () => main(Deno.args, log)));
}
