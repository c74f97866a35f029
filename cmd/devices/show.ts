/**
 * `ublk list`, `info`, `get_params` and `features`.
 *
 * @module
 */

import { Control } from "../../ctrl/control.ts";
import { describeParams } from "../../ctrl/params.ts";
import { FEATURES } from "../../uapi/features.ts";
import type { ublk_params } from "../../uapi/ublk_params.ts";
import { ID, JSON_FLAG, REQUIRED_ID } from "../line/device_id.ts";
import {
  columns,
  detailsLines,
  deviceIds,
  isLeftOut,
  listLines,
  readDevice,
  readDevices,
} from "./devices.ts";
import { dumpText, readDump } from "./dump.ts";
import type { Flag, Values } from "../line/flags.ts";
import { writeJson, writeLines, writeText } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";

const VERBOSE = { name: "verbose", short: "v", kind: "switch" } as const;

/** The flags of `ublk list`. */
export const LIST_FLAGS = [
  { ...ID, help: "This device alone, as `ublk add` prints it." },
  { name: "all", short: "a", kind: "switch", help: "All devices, as without -n." },
  { ...VERBOSE, help: "As `ublk add` prints them, instead of a table." },
  JSON_FLAG,
] as const satisfies readonly Flag[];

/** The flags of `ublk info`. */
export const INFO_FLAGS = [REQUIRED_ID, JSON_FLAG] as const;

/** The flags of `ublk features`. */
export const FEATURES_FLAGS = [
  { ...VERBOSE, help: "All features that there are, with the Linux that first had each." },
  JSON_FLAG,
] as const satisfies readonly Flag[];

/** `ublk list`. */
export async function list(values: Values<typeof LIST_FLAGS>): Promise<number> {
  await using control = await Control.open();
  if (values.id !== undefined) {
    const { id } = values;
    if (values.json) await writeJson([await readDevice(control, id)], 2);
    else await writeText(dumpText(await readDump(control, id)));
  } else if (values.verbose && !values.json) {
    await dumpAll(control);
  } else {
    const rows = await readDevices(control);
    if (values.json) await writeJson(rows, 2);
    else await writeLines(listLines(rows));
  }
  return EXIT_OK;
}

async function dumpAll(control: Control): Promise<void> {
  for (const id of await deviceIds()) {
    try {
      await writeText(dumpText(await readDump(control, id)));
    } catch (error) {
      if (!isLeftOut(error)) throw error;
    }
  }
}

/** `ublk info`. */
export async function info({ id, json: asJson }: Values<typeof INFO_FLAGS>): Promise<number> {
  await using control = await Control.open();
  const details = await readDevice(control, id);
  if (asJson) await writeJson(details, 2);
  else await writeLines(detailsLines(details));
  return EXIT_OK;
}

/** `ublk get_params`. */
export async function getParams({ id, json: asJson }: Values<typeof INFO_FLAGS>): Promise<number> {
  await using control = await Control.open();
  const params = await control.getParams(id);
  if (asJson) await writeJson(paramsOf(params), 2);
  else await writeLines(paramsLines(params));
  return EXIT_OK;
}

/** The structs that `types` names, in order of their bits; the others mean nothing. */
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

function paramsLines(params: ublk_params): string[] {
  const { types, meaning: _, ...structs } = paramsOf(params);
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

/** As `kublk` prints them: those that the driver offers, by value and name. */
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
