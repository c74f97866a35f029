/**
 * A file of options, TOML or JSON, as values that know their lines.
 *
 * The two parsers are loaded when there is such a file, and not before.
 *
 * @module
 */

import type { AST } from "toml-eslint-parser";
import type { Node, ParseError } from "jsonc-parser";
import { usageError } from "./_flags.ts";

/** Where something is in a file: keys, and places in lists. */
export type Path = readonly (string | number)[];

/** What a file says. */
export interface ConfigFile {
  /** Its path as it was given. */
  readonly path: string;
  /** All of it. */
  readonly value: unknown;
  /** `FILE:LINE` of what is there, or of what it is in. */
  where(at: Path): string;
}

/** A mistake in a file: `FILE:LINE: cause`. */
class SyntaxMistake extends Error {
  readonly line: number;

  constructor(line: number, cause: string) {
    super(cause);
    this.line = line;
  }
}

/**
 * Reads a file: JSON if it is called so, else TOML.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`, with the line, where it cannot be read.
 */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  const text = textOf(path);
  const lines = new Map<string, number>();
  try {
    const value = await (path.endsWith(".json") ? readJson : readToml)(text, lines);
    return { path, value, where: (at) => `${path}:${lineOf(lines, at)}` };
  } catch (error) {
    if (!(error instanceof SyntaxMistake)) throw error;
    throw usageError(`${path}:${error.line}`, error.message, "see docs/config.md");
  }
}

/** Why a file cannot be read, by the name of the error. */
const CAUSES: Readonly<Record<string, string>> = {
  NotFound: "there is no such file",
  IsADirectory: "it is a directory",
  PermissionDenied: "this user may not read it",
  TypeError: "it is no text in UTF-8",
};

function textOf(path: string): string {
  try {
    // Without the mark (BOM) that some editors write first.
    return new TextDecoder("utf-8", { fatal: true }).decode(Deno.readFileSync(path));
  } catch (error) {
    const { name, message } = error as Error;
    const cause = CAUSES[name] ?? message;
    throw usageError(`--config ${path}`, cause, "give the path of a TOML or JSON file");
  }
}

const keyOf = (at: Path) => JSON.stringify(at);

function lineOf(lines: ReadonlyMap<string, number>, at: Path): number {
  for (let length = at.length; length > 0; length--) {
    const line = lines.get(keyOf(at.slice(0, length)));
    if (line !== undefined) return line;
  }
  return 1;
}

async function readToml(text: string, lines: Map<string, number>): Promise<unknown> {
  const { getStaticTOMLValue, ParseError, parseTOML } = await import("toml-eslint-parser");
  try {
    const program = parseTOML(text);
    for (const node of program.body[0].body) noteToml(node, [], lines);
    return getStaticTOMLValue(program);
  } catch (error) {
    if (error instanceof ParseError) throw new SyntaxMistake(error.lineNumber, error.message);
    throw error;
  }
}

function noteToml(
  node: AST.TOMLTable | AST.TOMLKeyValue,
  prefix: Path,
  lines: Map<string, number>,
): void {
  const at = node.type === "TOMLTable" ? node.resolvedKey : [
    ...prefix,
    ...node.key.keys.map((key) => key.type === "TOMLBare" ? key.name : key.value),
  ];
  lines.set(keyOf(at), node.loc.start.line);
  if (node.type === "TOMLTable") { for (const entry of node.body) noteToml(entry, at, lines); }
}

async function readJson(text: string, lines: Map<string, number>): Promise<unknown> {
  const { getNodePath, getNodeValue, parseTree, printParseErrorCode } = await import(
    "jsonc-parser"
  );
  const errors: ParseError[] = [];
  const tree = parseTree(text, errors, { disallowComments: true });
  const lineAt = (offset: number) => text.slice(0, offset).split("\n").length;
  if (errors.length > 0 || tree === undefined) {
    const [{ error, offset } = { error: 4, offset: 0 }] = errors;
    // "CloseBraceExpected" as words.
    const words = printParseErrorCode(error).replaceAll(/([a-z])(?=[A-Z])/g, "$1 ").toLowerCase();
    throw new SyntaxMistake(lineAt(offset), words);
  }
  const note = (node: Node) => {
    if (node.type === "property") {
      const at = keyOf(getNodePath(node.children![0]));
      if (lines.has(at)) {
        const name = JSON.stringify(node.children![0].value);
        throw new SyntaxMistake(lineAt(node.offset), `${name} is there twice`);
      }
      lines.set(at, lineAt(node.offset));
    } else {
      const at = keyOf(getNodePath(node));
      if (!lines.has(at)) lines.set(at, lineAt(node.offset));
    }
    node.children?.forEach(note);
  };
  note(tree);
  return getNodeValue(tree);
}
