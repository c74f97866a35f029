/**
 * A file of options, in TOML or JSON, as values with their positions.
 *
 * The two parsers are loaded only if there is such a file.
 *
 * @module
 */

import type { AST } from "toml-eslint-parser";
import type { Node, ParseError } from "jsonc-parser";
import { plainText } from "../../disk/option.ts";
import { UblkError } from "../../uapi/error.ts";
import { shortened } from "../../uapi/printable.ts";
import { Excerpt } from "../program/excerpt.ts";
import { checkLimits, SyntaxMistake } from "./config_syntax.ts";
import { usageError } from "./flags.ts";

/** Most bytes of a file: thousands of disks have less. */
const MOST_BYTES = 16 << 20;

/** A position in a file: keys, and indices into lists. */
export type Path = readonly (string | number)[];

/** A parsed file. */
export interface ConfigFile {
  /** Its path as given. */
  readonly path: string;
  /** Its whole contents. */
  readonly value: unknown;
  /**
   * Returns `FILE:LINE:COLUMN` of an entry, or of its closest parent that has one.
   *
   * @param part Part of the entry, its key or its value. Default: its key.
   */
  where(at: Path, part?: "key" | "value"): string;
  /** Adds to an error the position, as {@linkcode where} returns it, and an excerpt. */
  shown(error: UblkError): UblkError;
  /** The source text of a scalar value: `nan`, for example, is not a number in JavaScript. */
  written(at: Path): string | undefined;
}

/** Positions and texts of the entries of a file, by {@linkcode keyOf}. */
interface Notes {
  /** `LINE:COLUMN` of each key. */
  readonly keys: Map<string, string>;
  /** `LINE:COLUMN` of each value. */
  readonly values: Map<string, string>;
  /** The source text of each value. */
  readonly texts: Map<string, string>;
}

/**
 * Reads a file: JSON if its name says so, else TOML.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`, with the line, if it cannot be read.
 */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  const text = textOf(path);
  const notes: Notes = { keys: new Map(), values: new Map(), texts: new Map() };
  const isJson = path.endsWith(".json");
  try {
    checkLimits(text, isJson ? "json" : "toml");
    const value = await (isJson ? readJson : readToml)(text, notes);
    return {
      path,
      value,
      where: (at, part) => `${path}:${placeIn(notes, at, part)}`,
      shown: (error) => withExcerpt(error, path, text),
      written: (at) => notes.texts.get(keyOf(at)),
    };
  } catch (error) {
    if (!(error instanceof SyntaxMistake)) throw error;
    const mistake = usageError(`${path}:${error.at}`, error.message, "see docs/config.md");
    throw withExcerpt(mistake, path, text);
  }
}

/** A value other than a string, as the file spells it: JavaScript's `NaN` is `nan` there. */
export function valueText(value: unknown): string {
  if (typeof value !== "number" || Number.isFinite(value)) return plainText(value);
  return Number.isNaN(value) ? "nan" : value < 0 ? "-inf" : "inf";
}

/** Causes of a file that cannot be read, by the name of the error. */
const CAUSES: Readonly<Record<string, string>> = {
  NotFound: "there is no such file",
  IsADirectory: "it is a directory",
  PermissionDenied: "this user may not read it",
  TypeError: "it is no text in UTF-8",
};

function textOf(path: string): string {
  try {
    // Drops the byte order mark (BOM) that some editors write.
    return new TextDecoder("utf-8", { fatal: true }).decode(bytesOf(path));
  } catch (error) {
    const { name, message } = error as Error;
    const cause = CAUSES[name] ?? message;
    throw usageError(`--config ${path}`, cause, "give the path of a TOML or JSON file");
  }
}

/** Reads a file: some, such as `/dev/zero`, have no end. */
function bytesOf(path: string): Uint8Array {
  using file = Deno.openSync(path);
  let bytes = new Uint8Array(64 << 10);
  for (let at = 0;;) {
    const count = file.readSync(bytes.subarray(at));
    if (count === null) return bytes.subarray(0, at);
    at += count;
    if (at > MOST_BYTES) throw new Error("it is longer than any file of options");
    if (at < bytes.length) continue;
    const longer = new Uint8Array(2 * at);
    longer.set(bytes);
    bytes = longer;
  }
}

const keyOf = (at: Path) => JSON.stringify(at);

function placeIn({ keys, values }: Notes, at: Path, part: "key" | "value" = "key"): string {
  const value = part === "value" ? values.get(keyOf(at)) : undefined;
  if (value !== undefined) return value;
  for (let length = at.length; length > 0; length--) {
    const key = keys.get(keyOf(at.slice(0, length)));
    if (key !== undefined) return key;
  }
  return "1:1";
}

function withExcerpt(error: UblkError, path: string, text: string): UblkError {
  const { code, operation, reason, hint } = error;
  const place = operation.startsWith(`${path}:`) ? operation.slice(path.length + 1) : "";
  const [, line, column] = /^(\d+):(\d+)$/.exec(place) ?? [];
  if (column === undefined) return error;
  const cause = new Excerpt(text, Number(line), Number(column));
  return new UblkError(code, { operation, reason, hint, cause });
}

async function readToml(text: string, notes: Notes): Promise<unknown> {
  const { getStaticTOMLValue, ParseError, parseTOML } = await import("toml-eslint-parser");
  try {
    const program = parseTOML(text);
    for (const node of program.body[0].body) noteToml(node, [], text, notes);
    return getStaticTOMLValue(program);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    throw new SyntaxMistake(`${error.lineNumber}:${error.column + 1}`, error.message);
  }
}

function noteToml(
  node: AST.TOMLTable | AST.TOMLKeyValue,
  prefix: Path,
  text: string,
  notes: Notes,
): void {
  const at = node.type === "TOMLTable" ? node.resolvedKey : [
    ...prefix,
    ...node.key.keys.map((key) => key.type === "TOMLBare" ? key.name : key.value),
  ];
  const placed = ({ start }: AST.SourceLocation) => `${start.line}:${start.column + 1}`;
  notes.keys.set(keyOf(at), placed(node.loc));
  if (node.type === "TOMLTable") {
    for (const entry of node.body) noteToml(entry, at, text, notes);
    return;
  }
  notes.values.set(keyOf(at), placed(node.value.loc));
  if (node.value.type === "TOMLValue") {
    notes.texts.set(keyOf(at), shortened(text.slice(...node.value.range)));
  }
}

async function readJson(text: string, { keys, values, texts }: Notes): Promise<unknown> {
  const { getNodeValue, parseTree, printParseErrorCode } = await import(
    "jsonc-parser"
  );
  const errors: ParseError[] = [];
  const tree = parseTree(text, errors, { disallowComments: true });
  const lineStarts = [0, ...Array.from(text.matchAll(/\n/g), ({ index }) => index + 1)];
  const placeAt = (offset: number) => {
    let [low, high] = [0, lineStarts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (lineStarts[middle] <= offset) low = middle;
      else high = middle;
    }
    return `${low + 1}:${offset - lineStarts[low] + 1}`;
  };
  if (errors.length > 0 || tree === undefined) {
    const [{ error, offset } = { error: 4, offset: 0 }] = errors;
    // Splits "CloseBraceExpected" into words.
    const words = printParseErrorCode(error).replaceAll(/([a-z])(?=[A-Z])/g, "$1 ").toLowerCase();
    throw new SyntaxMistake(placeAt(offset), words);
  }
  // The parser's own search for a node's path visits all its siblings.
  const note = (node: Node, path: Path) => {
    const at = keyOf(path);
    if (!keys.has(at)) keys.set(at, placeAt(node.offset));
    values.set(at, placeAt(node.offset));
    if (node.children === undefined) {
      texts.set(at, shortened(text.slice(node.offset, node.offset + node.length)));
    } else if (node.type === "array") {
      for (const [index, child] of node.children.entries()) note(child, [...path, index]);
    } else {
      for (const property of node.children) noteProperty(property, path);
    }
  };
  const noteProperty = ({ offset, children = [] }: Node, path: Path) => {
    const [{ value: name }, value] = children;
    const at = keyOf([...path, name]);
    if (keys.has(at)) {
      throw new SyntaxMistake(placeAt(offset), `${JSON.stringify(name)} is there twice`);
    }
    keys.set(at, placeAt(offset));
    note(value, [...path, name]);
  };
  note(tree, []);
  return getNodeValue(tree);
}
