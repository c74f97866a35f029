/**
 * Converts a page of `docs/` to a man page, for `deno task man`. The sections of a page are already
 * those of a man page, and lists of `**--flag** — what it does` become tagged paragraphs.
 *
 * @module
 */

// Only this script needs it; see docs/decisions/0016-man-pages.md.
// deno-lint-ignore no-import-prefix
import { lexer, type Token, type Tokens } from "npm:marked@^18.2";

/** The data in a man page that its source page does not contain. */
export interface ManOptions {
  /** The version of the program. */
  readonly version: string;
  /** `2026-11-29`. */
  readonly date: string;
  /** The pages that exist as man pages, without `.md`. */
  readonly pages: readonly string[];
}

/** The part of a page between two headings. */
interface Part {
  readonly heading: string;
  readonly tokens: Token[];
}

/** Converts a page to a man page. */
export function manPage(markdown: string, options: ManOptions): string {
  // Users who have the man page have the program installed, so `deno task` is not needed.
  const installed = markdown.replaceAll(/deno task (--quiet )?(?=ublk)/g, "");
  const [intro, ...sections] = partsOf(lexer(installed));
  const name = intro.heading;
  const [about, ...description] = intro.tokens;
  const synopsis = sections.find(({ heading }) => heading === "SYNOPSIS");
  const [lines, ...explained] = synopsis?.tokens ?? [];
  const roff = new Roff(options.pages);
  const summary = roff.inline(inlineOf(about)).replaceAll("\n", " ").replace(/\.$/, "");
  const others = sections.filter((section) => section !== synopsis);
  const parts: Part[] = [
    { heading: "SYNOPSIS", tokens: lines === undefined ? [] : [lines] },
    { heading: "DESCRIPTION", tokens: [...description, ...explained] },
    ...others,
  ];
  return [
    `.TH ${
      [name.toUpperCase(), "1", options.date, `${name} ${options.version}`].map(quoted).join(" ")
    }`,
    ".SH NAME",
    `${bare(name)} \\- ${summary[0].toLowerCase()}${summary.slice(1)}`,
    ...parts.filter(({ tokens }) => tokens.length > 0).flatMap(({ heading, tokens }) => [
      `.SH ${quoted(heading)}`,
      ...roff.blocks(tokens),
    ]),
    "",
  ].join("\n");
}

/** Splits at headings of the first two levels. Comments and blank lines are dropped. */
function partsOf(tokens: readonly Token[]): Part[] {
  const parts: Part[] = [];
  for (const token of tokens) {
    if (token.type === "heading" && token.depth <= 2) {
      parts.push({ heading: token.text, tokens: [] });
    } else if (token.type !== "space" && token.type !== "html") {
      parts.at(-1)?.tokens.push(token);
    }
  }
  return parts;
}

function inlineOf(token: Token): Token[] {
  return "tokens" in token && token.tokens !== undefined ? token.tokens : [];
}

/** Writes the text of tokens. */
class Roff {
  readonly #pages: readonly string[];

  constructor(pages: readonly string[]) {
    this.#pages = pages;
  }

  /** Paragraphs, lists, code, tables. */
  blocks(tokens: readonly Token[]): string[] {
    return tokens.flatMap((token, index) => this.#block(token, index === 0));
  }

  #block(token: Token, isFirst: boolean): string[] {
    switch (token.type) {
      case "paragraph":
        return [...isFirst ? [] : [".PP"], this.inline(inlineOf(token))];
      case "text":
        return [this.inline(inlineOf(token))];
      case "heading":
        return [`.SS ${quoted((token as Tokens.Heading).text)}`];
      case "code":
        return [
          ...isFirst ? [] : [".PP"],
          ".RS 4",
          ".nf",
          ...(token as Tokens.Code).text.split("\n").map(codeLine),
          ".fi",
          ".RE",
        ];
      case "list":
        return (token as Tokens.List).items.flatMap((item) => this.#item(item));
      case "table":
        return (token as Tokens.Table).rows.flatMap(([first, ...rest]) => [
          ".TP",
          this.inline(first.tokens).replaceAll("\n", " "),
          rest.map((cell) => this.inline(cell.tokens)).join("\n\\[em]\n"),
        ]);
      case "space":
      case "html":
        return [];
      default:
        throw new Error(`a man page cannot have this: ${token.type}: ${token.raw}`);
    }
  }

  /** Makes a tagged paragraph of `**--flag** — what it does`, and a bullet of anything else. */
  #item({ tokens }: Tokens.ListItem): string[] {
    const [first, ...rest] = tokens.filter(({ type }) => type !== "space");
    const words = inlineOf(first);
    const dash = words.findIndex(({ type, raw }) => type === "text" && raw.includes(" — "));
    const more = this.blocks(rest).flatMap((line) => line === ".PP" ? [".IP"] : [line]);
    if (words[0]?.type !== "strong" || dash < 0) {
      return [".IP \\(bu 2", this.inline(words), ...more];
    }
    const text = words[dash] as Tokens.Text;
    const at = text.raw.indexOf(" — ");
    const part = (raw: string) => ({ ...text, raw, text: raw, tokens: undefined });
    const tag = [...words.slice(0, dash), part(text.raw.slice(0, at))];
    const meaning = [part(text.raw.slice(at + 3)), ...words.slice(dash + 1)];
    return [".TP", this.inline(tag).replaceAll("\n", " "), this.inline(meaning), ...more];
  }

  /** Text within a paragraph. Its lines never start like a macro. */
  inline(tokens: readonly Token[]): string {
    return tokens.map((token) => this.#span(token)).join("")
      .split("\n").map((line) => line.trim()).filter((line) => line !== "").map(noMacro)
      .join("\n");
  }

  #span(token: Token): string {
    switch (token.type) {
      case "strong":
        return `\\fB${this.#spans(token).replaceAll("-", "\\-")}\\fR`;
      case "em":
        return `\\fI${this.#spans(token)}\\fR`;
      case "codespan":
        return `\\fB${bare((token as Tokens.Codespan).text)}\\fR`;
      case "link":
        return this.#link(token as Tokens.Link);
      case "br":
        return "\n";
      case "html":
        return "";
      case "text":
      case "escape":
        return inlineOf(token).length > 0
          ? this.#spans(token)
          : escaped((token as Tokens.Text).text);
      default:
        throw new Error(`a man page cannot have this: ${token.type}: ${token.raw}`);
    }
  }

  #spans(token: Token): string {
    return inlineOf(token).map((one) => this.#span(one)).join("");
  }

  /**
   * A link: to another man page, to a URL, or, for other pages of the documentation, its text
   * alone.
   */
  #link(link: Tokens.Link): string {
    const page = /^([\w-]+)\.md/.exec(link.href)?.[1];
    if (page !== undefined && this.#pages.includes(page)) return `\\fB${bare(page)}\\fR(1)`;
    const words = this.#spans(link);
    return /^https?:/.test(link.href) ? `${words} (${escaped(link.href)})` : words;
  }
}

/** Escapes text: backslashes are escaped, and characters outside ASCII are written by name. */
function escaped(text: string): string {
  return entities(text).replaceAll("\\", "\\e").replaceAll(
    /[\u0080-\u{10ffff}]/gu,
    (character) => `\\[u${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}]`,
  );
}

/** Replaces the HTML entities that marked writes. */
function entities(text: string): string {
  const named: Record<string, string> = { lt: "<", gt: ">", quot: '"', amp: "&" };
  return text.replaceAll(/&(lt|gt|quot|amp);|&#39;/g, (_, name) => named[name] ?? "'");
}

/** Literal text: a hyphen is the character on the keyboard. */
function bare(text: string): string {
  return escaped(text).replaceAll("-", "\\-").replaceAll("\n", " ");
}

function codeLine(line: string): string {
  return noMacro(escaped(line).replaceAll("-", "\\-"));
}

function noMacro(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

function quoted(text: string): string {
  return `"${escaped(text).replaceAll('"', "\\(dq")}"`;
}
