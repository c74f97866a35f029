/**
 * The columns of `ublk list`.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { usageError } from "../line/flags.ts";
import { misspelt } from "../program/misspelt.ts";
import { columns, type DeviceRow, serverText } from "./devices.ts";

/** One column. */
interface Column {
  /** Its heading, by which it is asked for. */
  readonly name: string;
  /** What is in it. */
  readonly help: string;
  /** The cell of a device. */
  cell(row: DeviceRow): string;
}

const COLUMNS: readonly Column[] = [
  { name: "ID", help: "The N of /dev/ublkbN.", cell: ({ id }) => `${id}` },
  { name: "PATH", help: "The disk.", cell: ({ path }) => path },
  { name: "TARGET", help: "What is served.", cell: ({ target }) => target ?? "?" },
  { name: "STATE", help: "live, dead, quiesced, fail-io or gone.", cell: ({ state }) => state },
  { name: "QUEUES", help: "Hardware queues.", cell: ({ queues }) => `${queues}` },
  { name: "DEPTH", help: "Requests per queue.", cell: ({ depth }) => `${depth}` },
  { name: "SIZE", help: "Its size.", cell: ({ size }) => orUnknown(size, formatSize) },
  {
    name: "BLOCK",
    help: "Bytes of a block.",
    cell: ({ blockSize }) => orUnknown(blockSize, String),
  },
  {
    name: "MODE",
    help: "rw, or ro where writes are refused.",
    cell: ({ readOnly }) => orUnknown(readOnly, (only) => only ? "ro" : "rw"),
  },
  { name: "FILE", help: "The files below it.", cell: ({ files }) => listed(files) },
  {
    name: "MOUNT",
    help: "Where it is mounted, its partitions included; [SWAP] where memory is swapped to it.",
    cell: ({ mounts }) => listed(mounts),
  },
  {
    name: "HOLDER",
    help: "The devices on it: md, LVM, loop, …",
    cell: ({ holders }) => listed(holders),
  },
  { name: "SERVER", help: "Who serves it, and what to do where nobody does.", cell: serverText },
  {
    name: "PID",
    help: "The server's process.",
    cell: ({ serverPid }) => orUnknown(serverPid, String),
  },
  { name: "LOG", help: "The server's log.", cell: ({ log }) => log ?? "-" },
  {
    name: "MAX-IO",
    help: "The largest request.",
    cell: ({ maxIoBytes }) => formatSize(maxIoBytes),
  },
  { name: "CHAR", help: "The server's side.", cell: ({ charPath }) => charPath },
  {
    name: "FEATURES",
    help: "What the driver does for it.",
    cell: ({ features }) => listed(features),
  },
];

/** Those that are shown unless others are asked for. */
const DEFAULT: readonly Column[] = COLUMNS.slice(0, COLUMNS.findIndex(isPid));
/** Those that a narrow terminal does without, the first one first. */
const DISPENSABLE: readonly string[] = ["DEPTH", "QUEUES", "BLOCK", "HOLDER", "MODE"];

function isPid({ name }: Column): boolean {
  return name === "PID";
}

function orUnknown<T>(value: T | null, text: (value: T) => string): string {
  return value === null ? "?" : text(value);
}

/** Nothing is a dash, so that each line has as many cells. */
function listed(texts: readonly string[] | null): string {
  return texts === null ? "?" : texts.length === 0 ? "-" : texts.join(",");
}

/** The names of the columns, in order. */
export function columnNames(): string[] {
  return COLUMNS.map(({ name }) => name);
}

/** What the columns are, for `-o help`. */
export function columnsHelp(): string[] {
  return columns(COLUMNS.map(({ name, help }) => [name, help]));
}

/**
 * Reads what `-o` says: names with commas, whatever their case; behind a `+` those that come after the
 * usual ones.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where there is no such column.
 */
export function readColumns(text: string | undefined): readonly Column[] {
  if (text === undefined) return DEFAULT;
  const chosen = text.replace(/^\+/, "").split(",").map((word) => columnOf(word.trim()));
  return text.startsWith("+") ? [...DEFAULT, ...chosen] : chosen;
}

function columnOf(word: string): Column {
  const found = COLUMNS.find(({ name }) => name === word.toUpperCase());
  if (found !== undefined) return found;
  const names = columnNames();
  const remedy = `use some of ${names.join(", ")}; \`-o help\` explains them`;
  const error = usageError("--output", `there is no column ${JSON.stringify(word)}`, remedy);
  throw misspelt(error, word, names);
}

/** What a table is to look like. */
export interface TableOptions {
  /** Its columns, of {@linkcode readColumns}. */
  readonly columns: readonly Column[];
  /** Without the line of headings. */
  readonly noHeadings?: boolean;
  /** The longest line. A longer one loses columns that matter less, and then its end. */
  readonly width: number;
}

/** The rows of `ublk list`. */
export function listLines(
  rows: readonly DeviceRow[],
  { columns: asked, noHeadings = false, width }: TableOptions,
): string[] {
  const table = (shown: readonly Column[]) =>
    columns([
      ...(noHeadings ? [] : [shown.map(({ name }) => name)]),
      ...rows.map((row) => shown.map((column) => column.cell(row))),
    ]);
  let shown = asked;
  let lines = table(shown);
  for (const name of asked === DEFAULT ? DISPENSABLE : []) {
    if (lines.every((line) => line.length <= width)) break;
    shown = shown.filter((column) => column.name !== name);
    lines = table(shown);
  }
  return lines.map((line) => line.length <= width ? line : `${line.slice(0, width - 1)}…`);
}
