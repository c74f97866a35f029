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
  /** Its heading, which is also its name in `-o`. */
  readonly name: string;
  /** A description of its contents. */
  readonly help: string;
  /** Returns the cell of a device. */
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

/** The default columns. */
const DEFAULT: readonly Column[] = COLUMNS.slice(0, COLUMNS.findIndex(isPid));
/** The columns that are dropped on a narrow terminal, in this order. */
const DISPENSABLE: readonly string[] = ["DEPTH", "QUEUES", "BLOCK", "HOLDER", "MODE"];

function isPid({ name }: Column): boolean {
  return name === "PID";
}

function orUnknown<T>(value: T | null, text: (value: T) => string): string {
  return value === null ? "?" : text(value);
}

/** Joins texts. An empty list becomes a dash, so that each line has the same number of cells. */
function listed(texts: readonly string[] | null): string {
  return texts === null ? "?" : texts.length === 0 ? "-" : texts.join(",");
}

/** The names of the columns, in order. */
export function columnNames(): string[] {
  return COLUMNS.map(({ name }) => name);
}

/** The descriptions of the columns, for `-o help`. */
export function columnsHelp(): string[] {
  return columns(COLUMNS.map(({ name, help }) => [name, help]));
}

/**
 * Parses the value of `-o`: names separated by commas, in any case. After a `+`, they are added to
 * the default columns.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for an unknown column.
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

/** The layout of a table. */
export interface TableOptions {
  /** Its columns, from {@linkcode readColumns}. */
  readonly columns: readonly Column[];
  /**
   * Omit the line of headings.
   *
   * @default false
   */
  readonly noHeadings?: boolean;
  /**
   * The longest line. If lines are longer, less important columns are dropped, and then lines are
   * cut.
   */
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
