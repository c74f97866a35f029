/**
 * The fenced blocks of the documentation, and the way each is verified.
 *
 * A block is a program (`ts`), command lines (`sh`), data (`json`), or text to look at (`text`, or no
 * language). Marks are HTML comments directly before it, invisible to readers:
 *
 * - `not run: WHY`: it cannot be executed here; its command lines are still checked.
 * - `run by: tests/…_test.ts`: that test runs it, and names the page.
 * - `file: NAME`: it is a file with that name for the other blocks of the page. A program whose first
 *   line is `// NAME.ts` needs no mark; it is also run if it exports nothing.
 * - `before: COMMAND`: a step that the reader has done before; may be repeated.
 * - `since: 6.16`: the Linux version that it needs, if newer than 6.12.
 *
 * @module
 */

import config from "../deno.json" with { type: "json" };

/** The project's folder. */
export const ROOT: string = new URL("..", import.meta.url).pathname;

/** One block. */
export interface Snippet {
  /** The page, as `docs/ublk.md`. */
  readonly page: string;
  /** The line of the page on which its text starts. */
  readonly line: number;
  /** `ts`, `sh`, `json`, `text`; anything else needs a mark. */
  readonly language: string;
  /** The text between the fences. */
  readonly text: string;
  /** The reason why it is not run. */
  readonly notRun?: string;
  /** The test that runs it. */
  readonly runBy?: string;
  /** The name of the file that the block stands for. */
  readonly file?: string;
  /** Command lines to run before it. */
  readonly before: readonly string[];
  /** The Linux version that it needs, as "major.minor". */
  readonly since?: string;
}

/** An error in a page, with its remedy. */
export class PageError extends Error {
  /** Creates an error with a message of one line. */
  constructor(page: string, line: number, cause: string, remedy: string) {
    super(`${page}:${line}: ${cause}; ${remedy}`);
  }
}

/** `README.md`, `ARCHITECTURE.md`, `CONTRIBUTING.md` and everything below `docs/`, sorted. */
export function pages(): string[] {
  const found = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];
  const look = (folder: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(`${ROOT}${folder}`)) {
      if (isDirectory) look(`${folder}/${name}`);
      else if (name.endsWith(".md")) found.push(`${folder}/${name}`);
    }
  };
  look("docs");
  return found.sort();
}

/** The text of a page. */
export function pageText(page: string): string {
  return Deno.readTextFileSync(`${ROOT}${page}`);
}

const MARKS = ["not run", "run by", "file", "before", "since"];

/**
 * The blocks of a page, in order.
 *
 * @throws {PageError} If a fence is not closed, or a mark is unknown.
 */
export function snippetsOf(page: string, text: string = pageText(page)): Snippet[] {
  const found: Snippet[] = [];
  const lines = text.split("\n");
  let marks: [string, string][] = [];
  for (let at = 0; at < lines.length; at++) {
    const comment = /^\s*<!-- ([a-z ]+): (.*) -->$/.exec(lines[at]);
    const fence = /^(\s*)(`{3,})(\S*)/.exec(lines[at]);
    if (comment !== null) marks.push([comment[1], comment[2]]);
    else if (fence === null && lines[at].trim() !== "") marks = [];
    if (fence === null) continue;
    const [, indent, ticks, language] = fence;
    const end = lines.findIndex((line, index) => index > at && line.trim() === ticks);
    if (end < 0) throw new PageError(page, at + 1, "this fence is not closed", `add ${ticks}`);
    const body = lines.slice(at + 1, end).map((line) => line.slice(indent.length));
    const marked = read(page, at, marks);
    const file = marked.file ?? /^\/\/ (\w+\.ts)$/.exec(body[0] ?? "")?.[1];
    found.push({ page, line: at + 2, language, text: body.join("\n"), ...marked, file });
    marks = [];
    at = end;
  }
  return found;
}

function read(page: string, at: number, marks: readonly [string, string][]) {
  const unknown = marks.find(([name]) => !MARKS.includes(name));
  if (unknown !== undefined) {
    throw new PageError(page, at, `there is no mark "${unknown[0]}"`, `use ${MARKS.join(", ")}`);
  }
  const valueOf = (name: string) => marks.findLast(([given]) => given === name)?.[1];
  return {
    notRun: valueOf("not run"),
    runBy: valueOf("run by"),
    file: valueOf("file"),
    since: valueOf("since"),
    before: marks.filter(([name]) => name === "before").map(([, value]) => value),
  };
}

/** All blocks of all pages. */
export function allSnippets(): Snippet[] {
  return pages().flatMap((page) => snippetsOf(page));
}

/** The position of a block, as `docs/ublk.md:155`. */
export function placeOf({ page, line }: Snippet): string {
  return `${page}:${line}`;
}

/** Whether a program creates a disk, and so needs a kernel with ublk. */
export function needsKernel({ language, text }: Snippet): boolean {
  return language === "sh" || /\b(serve|recover)\(|new Device\(/.test(text);
}

/** Whether a test here runs it: a program or command lines without a contrary mark. */
export function isRun({ language, notRun, runBy, file, text }: Snippet): boolean {
  if (notRun !== undefined || runBy !== undefined) return false;
  const isModule = file !== undefined && /^export /m.test(text);
  return language === "sh" && file === undefined || language === "ts" && !isModule;
}

/** A program, with imports from this checkout instead of the published package. */
export function programText({ text }: Pick<Snippet, "text">): string {
  return text.replaceAll(/"(?:jsr:)?@ublk\/ublk(\/[\w-]+)?"/g, (_whole, door: string = "") => {
    const file = (config.exports as Record<string, string>)[`.${door}`];
    return JSON.stringify(`file://${ROOT}${file.slice(2)}`);
  });
}

/** Writes the files of a page to a folder. */
export function writeFiles(page: string, folder: string): void {
  for (const snippet of snippetsOf(page)) {
    if (snippet.file === undefined) continue;
    Deno.writeTextFileSync(`${folder}/${snippet.file}`, `${programText(snippet)}\n`);
  }
}

/** A line of shell. Continued lines are joined, comments removed. */
export interface ShellLine {
  /** The text of the line. */
  readonly text: string;
  /** The commands of the line, each split into words without quotes. */
  readonly commands: readonly (readonly string[])[];
}

/** Parses command lines, as far as the documentation needs: no here-documents. */
export function shellLines(text: string): ShellLine[] {
  const lines: ShellLine[] = [];
  for (const line of text.replaceAll("\\\n", "").split("\n")) {
    const commands: string[][] = [[]];
    let end = line.length;
    const TOKEN = /(\s+)|(#.*)|([;&|{}()]+)|((?:'[^']*'|"[^"]*"|\\.|[^\s;&|{}()'"\\])+)|(.)/g;
    for (const [whole, space, comment, operator, word] of line.matchAll(TOKEN)) {
      if (comment !== undefined) {
        end = line.length - whole.length;
        break;
      }
      if (space !== undefined) continue;
      if (operator !== undefined) commands.push([]);
      if (word !== undefined) {
        const bare = word.replaceAll(/'([^']*)'|"([^"]*)"|\\(.)/g, (_all, a, b, c) => a ?? b ?? c);
        commands.at(-1)!.push(bare);
      }
    }
    const stripped = line.slice(0, end).trimEnd();
    if (stripped === "") continue;
    lines.push({ text: stripped, commands: commands.filter((words) => words.length > 0) });
  }
  return lines;
}
