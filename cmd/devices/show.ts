/**
 * `ublk list`, `info`, `get_params` and `features`.
 *
 * @module
 */

import { Control } from "../../ctrl/control.ts";
import { describeParams } from "../../ctrl/params.ts";
import { FEATURES } from "../../uapi/features.ts";
import type { ublk_params } from "../../uapi/ublk_params.ts";
import type { FEATURES_FLAGS, INFO_FLAGS, LIST_FLAGS } from "../line/command_flags.ts";
import type { Values } from "../line/flags.ts";
import { writeJson, writeLines, writeText } from "../program/print.ts";
import { type ErrorLog, EXIT_OK } from "../program/run.ts";
import { tableWidth } from "../program/width.ts";
import {
  columns,
  detailsLines,
  type DeviceRow,
  isLeftOut,
  readDevice,
  readDevices,
} from "./devices.ts";
import { dumpText, readDump } from "./dump.ts";
import { deviceIds } from "./ids.ts";
import { columnsHelp, listLines, readColumns } from "./list_columns.ts";
import { withEach } from "./several.ts";
import { readUses } from "./uses.ts";

/** `ublk list`. */
export async function list(
  values: Values<typeof LIST_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  const { id: ids, json, output, noheadings: noHeadings, verbose } = values;
  if (output === "help") {
    await writeLines(columnsHelp());
    return EXIT_OK;
  }
  const asked = readColumns(output);
  // A request for columns asks for a table, not for kublk's format.
  const isTable = output !== undefined || noHeadings || ids.length === 0 && !verbose;
  await using control = await Control.open();
  if (!json && !isTable) {
    if (ids.length === 0) return await dumpAll(control);
    return await withEach(ids, log, async (id) => {
      await writeText(dumpText(await readDump(control, id)));
    });
  }
  let status = EXIT_OK;
  let rows: DeviceRow[] = [];
  if (ids.length === 0) rows = await readDevices(control);
  else {
    const uses = await readUses();
    status = await withEach(ids, log, async (id) => {
      rows.push(await readDevice(control, id, uses));
    });
  }
  if (json) await writeJson(rows, 2);
  else await writeLines(listLines(rows, { columns: asked, noHeadings, width: tableWidth() }));
  return status;
}

async function dumpAll(control: Control): Promise<number> {
  for (const id of await deviceIds()) {
    try {
      await writeText(dumpText(await readDump(control, id)));
    } catch (error) {
      if (!isLeftOut(error)) throw error;
    }
  }
  return EXIT_OK;
}

/** `ublk info`: for several devices, the JSON is a list. */
export async function info(
  { id: ids, json }: Values<typeof INFO_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  await using control = await Control.open();
  const uses = await readUses();
  return await shown(ids, log, json, (id) => readDevice(control, id, uses), detailsLines);
}

/** `ublk get_params`: for several devices, the JSON is a list. */
export async function getParams(
  { id: ids, json }: Values<typeof INFO_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  await using control = await Control.open();
  return await shown(
    ids,
    log,
    json,
    async (id) => paramsOf(await control.getParams(id)),
    paramsLines,
  );
}

/** Shows data of each device, as text with an empty line in between, or as JSON. */
async function shown<T>(
  ids: readonly number[],
  log: ErrorLog,
  json: boolean,
  read: (id: number) => Promise<T>,
  linesOf: (value: T) => string[],
): Promise<number> {
  const found: T[] = [];
  const status = await withEach(ids, log, async (id) => void found.push(await read(id)));
  if (json) await writeJson(ids.length === 1 ? found[0] : found, 2);
  else {
    await writeLines(found.flatMap((one, at) => [...(at === 0 ? [] : [""]), ...linesOf(one)]));
  }
  return status;
}

/** The structs for the bits of `types`, in order. Other bits have no meaning. */
const PARAM_STRUCTS = [
  "basic",
  "discard",
  "devt",
  "zoned",
  "dma",
  "seg",
  "integrity",
] as const satisfies readonly (keyof ublk_params)[];

function paramsOf(params: ublk_params): Record<string, unknown> {
  const named = PARAM_STRUCTS.filter((_, bit) => (params.types & (1 << bit)) !== 0);
  return {
    types: params.types,
    ...Object.fromEntries(named.map((name) => {
      const fields = Object.entries(params[name]).filter(([field]) =>
        !/^(pad|reserved)/.test(field)
      );
      return [name, Object.fromEntries(fields)];
    })),
    meaning: describeParams(params) ?? null,
  };
}

function paramsLines({ types, meaning: _, ...structs }: Record<string, unknown>): string[] {
  const names = Object.keys(structs).join(" ");
  const lines = Object.entries(structs).flatMap(([struct, fields]) =>
    Object.entries(fields as Record<string, number | bigint>).map(([field, value]) => {
      const text = typeof value === "bigint" || field === "attrs" || field === "flags"
        ? `0x${value.toString(16)}`
        : `${value}`;
      return `${struct}.${field}: ${text}`;
    })
  );
  return [`types: 0x${(types as number).toString(16)} (${names})`, ...lines];
}

/** `ublk features`. */
export async function features(values: Values<typeof FEATURES_FLAGS>): Promise<number> {
  await using control = await Control.open();
  const flags = control.features;
  if (values.json) {
    await writeJson({ flags: `0x${flags.toString(16)}`, features: featureRows(flags) }, 2);
  } else if (values.verbose) {
    await writeLines(featuresTable(flags));
  } else {
    await writeText(featuresText(flags));
  }
  return EXIT_OK;
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

/** The features in kublk's format: those that the driver offers, by value and name. */
export function featuresText(flags: number): string {
  const lines = [`ublk_drv features: 0x${flags.toString(16)}`];
  for (let bit = 0; bit < 53; bit++) {
    if (Math.floor(flags / 2 ** bit) % 2 === 0) continue;
    lines.push(`0x${(2 ** bit).toString(16).padEnd(16)}: ${FEATURES[bit]?.name ?? "unknown"}`);
  }
  return lines.join("\n");
}

function featuresTable(flags: number): string[] {
  const rows = featureRows(flags);
  const unknown = Math.floor(flags / 2 ** rows.length);
  return [
    `flags: 0x${flags.toString(16)}`,
    ...columns([
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
  ];
}
