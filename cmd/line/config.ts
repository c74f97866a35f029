/**
 * `ublk add --config FILE`: turns each device of a file into the command line that makes it.
 *
 * The contents of a file become flags before any other code sees them, so each option has one
 * meaning and one check. This module only adds the position in the file to errors.
 *
 * @module
 */

import { isModuleName, moduleUrl } from "../../disk/module.ts";
import { type Option, OptionError, readValue } from "../../disk/option.ts";
import { isUblkError, UblkError } from "../../uapi/error.ts";
import { ADD_FLAGS, CONFIG, DISK_FLAGS, parseAdd, type Reading } from "./add_line.ts";
import { type ConfigFile, type Path, readConfigFile, valueText } from "./config_file.ts";
import { findFlag, type Flag, givenFlags, spreadLetters, usageError } from "./flags.ts";
import { likewise, misspelt, withSuggestion } from "../program/misspelt.ts";
import { absolute, targetFlags, targetHint, valueIn } from "./target_line.ts";
import { targetOf } from "./targets.ts";
import { absoluteWrap } from "./wraps.ts";

/** A command whose line names a file of options. */
export interface Configured extends Reading {
  /** `ublk add`, `ublk-mem` etc. */
  readonly command: string;
  /**
   * The rest of what the command is like.
   *
   * @default That of a command that adds devices
   */
  readonly kind?: ConfiguredKind;
}

/** The lines that a file may have, of one kind of command. */
export interface ConfiguredKind {
  /** The key of the list, in a file with several lines. */
  readonly list: string;
  /** The flags, except the targets'. */
  readonly flags: readonly Flag[];
  /** Flags for all of the list, which stand before it in the file. */
  readonly outer: readonly Flag[];
  /**
   * Checks a line.
   *
   * @returns The number of its device, which no other line may have.
   * @throws {UblkError} `INVALID_ARGUMENT`.
   */
  check(line: readonly string[], cwd: string, configured: Configured): Promise<number | undefined>;
}

const ADD: Configured = { command: "ublk add" };

const DEVICES: ConfiguredKind = {
  list: "device",
  flags: ADD_FLAGS,
  outer: [],
  check: async (line, cwd, configured) =>
    (await parseAdd(configured.command, line, cwd, configured)).options.id,
};

const kindOf = ({ kind = DEVICES }: Configured) => kind;

/**
 * Expands a command line with `--config` to one command line per device in the file. The other
 * arguments on the command line apply to all devices, and take precedence.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` with file, line and key.
 */
export async function expandConfig(
  typed: readonly string[],
  cwd: string,
  configured: Configured = ADD,
): Promise<string[][]> {
  const args = spreadLetters(kindOf(configured).flags, typed);
  const named = valueIn(args, CONFIG.name);
  if (named === undefined || named === "") {
    throw usageError("--config", "it needs a value", "give the path of a TOML or JSON file");
  }
  const file = await readConfigFile(absolute(named, cwd));
  const own = withoutConfig(args);
  try {
    return await linesOf(file, own, cwd, configured);
  } catch (thrown) {
    const error = await withSuggestion(thrown);
    throw isUblkError(error) ? file.shown(error) : error;
  }
}

/** The command lines of the devices in a file, each of them checked. */
async function linesOf(
  file: ConfigFile,
  own: readonly string[],
  cwd: string,
  configured: Configured,
): Promise<string[][]> {
  const expanded: string[][] = [];
  const lines = new Map<number, string>();
  const { outer, tables } = tablesOf(file, kindOf(configured));
  const shared = new ConfiguredDevice(file, [], outer, own, cwd, configured).outerWords();
  for (const [at, table] of tables) {
    const device = new ConfiguredDevice(file, at, table, own, cwd, configured);
    const line = [...shared, ...await device.commandLine()];
    const id = await device.check(line);
    if (id !== undefined && lines.has(id)) {
      const other = lines.get(id);
      throw usageError(
        file.where([...at, "id"], "value"),
        `id: ${id} is that of ${other}`,
        "change one",
      );
    }
    if (id !== undefined) lines.set(id, file.where(at));
    expanded.push(line);
  }
  return expanded;
}

/** The command line without `--config` itself. */
function withoutConfig(args: readonly string[]): string[] {
  const at = args.findIndex((arg) => arg === "--config" || arg.startsWith("--config="));
  const rest = args.toSpliced(at, args[at] === "--config" ? 2 : 1);
  if (valueIn(rest, CONFIG.name) !== undefined) {
    throw usageError("--config", "it is given more than once", "give it once");
  }
  return rest;
}

type Table = Readonly<Record<string, unknown>>;

/** The devices of a file, and what stands before them and is for all. */
interface Tables {
  readonly outer: Table;
  readonly tables: readonly (readonly [Path, Table])[];
}

/** The devices of a file: either the whole file is one device, or it contains a list of them. */
function tablesOf(file: ConfigFile, kind: ConfiguredKind): Tables {
  const { list: name } = kind;
  const whole = tableAt(file, [], file.value);
  if (!(name in whole)) {
    checkList(file, whole, name);
    return { outer: {}, tables: [[[], whole]] };
  }
  const { [name]: list, ...outer } = whole;
  for (const key of Object.keys(outer)) {
    if (findFlag(kind.outer, `--${key}`) !== undefined) continue;
    const cause = `${key}: it stands beside a list of ${name}s`;
    throw usageError(file.where([key]), cause, `move it into each [[${name}]]`);
  }
  if (!Array.isArray(list) || list.length === 0) {
    const cause = `${name}: it is no list of ${name}s`;
    throw usageError(file.where([name]), cause, `write [[${name}]] before each`);
  }
  const tables = list.map((table, index) =>
    [[name, index], tableAt(file, [name, index], table)] as const
  );
  for (const [at, table] of tables) {
    const key = Object.keys(table).find((key) => findFlag(kind.outer, `--${key}`) !== undefined);
    if (key === undefined) continue;
    const cause = `${key}: it is for all ${name}s`;
    throw usageError(file.where([...at, key]), cause, `move it before the first [[${name}]]`);
  }
  return { outer, tables };
}

/** Rejects slips such as `[[devices]]`: a list of tables must be the list of devices. */
function checkList(file: ConfigFile, whole: Table, name: string): void {
  const isList = (value: unknown) => Array.isArray(value) && typeof value[0] === "object";
  const key = Object.keys(whole).find((key) => key !== "wrap" && isList(whole[key]));
  if (key === undefined || "type" in whole || "module" in whole) return;
  const remedy = `write [[${name}]] before each ${name}`;
  const error = usageError(file.where([key]), `${key}: unknown key`, remedy);
  throw misspelt(error, key, [name], (meant) => `did you mean [[${meant}]]?`);
}

function tableAt(file: ConfigFile, at: Path, value: unknown): Table {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Table;
  throw usageError(file.where(at), "it is no table of options", "write key = value");
}

class ConfiguredDevice {
  readonly #file: ConfigFile;
  readonly #at: Path;
  readonly #table: Table;
  readonly #own: readonly string[];
  readonly #cwd: string;
  readonly #configured: Configured;
  /** The folder that relative paths in the file are resolved against. */
  readonly #folder: string;

  constructor(
    file: ConfigFile,
    at: Path,
    table: Table,
    own: readonly string[],
    cwd: string,
    configured: Configured,
  ) {
    this.#configured = configured;
    this.#file = file;
    this.#at = at;
    this.#table = table;
    this.#own = own;
    this.#cwd = cwd;
    this.#folder = file.path.replace(/\/[^/]*$/, "");
  }

  /** The command line that makes the device. */
  async commandLine(): Promise<string[]> {
    const { command, target: fixed } = this.#configured;
    const target = fixed ??
      await this.#located(targetOf(this.#targetWords(), this.#cwd));
    const common = fixed === undefined ? kindOf(this.#configured).flags : DISK_FLAGS;
    const flags: readonly Flag[] = [...common, ...targetFlags(target)];
    const [ownFlags, ownWords] = givenFlags(flags, this.#own, {
      seeHelp: `see \`${command} --help\``,
      unknown: targetHint(command, target),
    });
    const words: string[] = [];
    let files: string[] = [];
    for (const [key, value] of Object.entries(this.#table)) {
      if (key === "files") {
        files = this.#filesOf(value);
        continue;
      }
      const flag = findFlag(flags, `--${key}`);
      if (flag === undefined || flag.name === CONFIG.name) {
        const hint = withoutDashes(targetHint(command, target));
        const known = [...flags.map(({ name }) => name), "files"];
        throw misspelt(this.#mistake(key, "unknown key", hint, "key"), key, known);
      }
      if (flag.once) {
        throw this.#mistake(key, "it is for one start", "give it on the command line", "key");
      }
      if (!ownFlags.has(flag.name)) words.push(...this.#wordsOf(key, flag, value));
    }
    // Files on the command line are already in the line, and take precedence.
    const more = ownWords.length > 0 || files.length === 0 ? [] : ["--", ...files];
    return [...words, ...this.#own, ...more];
  }

  /** The words for all devices, except those that the command line has too. */
  outerWords(): string[] {
    const { outer, flags } = kindOf(this.#configured);
    return Object.entries(this.#table).flatMap(([key, value]) => {
      const flag = findFlag(outer, `--${key}`)!;
      const isGiven = this.#own.some((word) =>
        word.startsWith("-") && findFlag(flags, word.replace(/=.*/s, ""))?.name === flag.name
      );
      return isGiven ? [] : this.#wordsOf(key, flag, value);
    });
  }

  /** Parses the command line, and adds the file's line to the error if there is a mistake. */
  check(line: readonly string[]): Promise<number | undefined> {
    const { check } = kindOf(this.#configured);
    return this.#located(check(line, this.#cwd, this.#configured));
  }

  async #located<T>(reading: Promise<T>): Promise<T> {
    try {
      return await reading;
    } catch (thrown) {
      const error = await withSuggestion(thrown);
      if (!isUblkError(error) || error.code !== "INVALID_ARGUMENT") throw error;
      const names = [...error.message.matchAll(/--([a-z][a-z-]*)/g)].map(([, name]) => name);
      const keys = Object.keys(this.#table);
      const key = names.map((name) => keys.find((key) => key.replaceAll("_", "-") === name))
        .find((key) => key !== undefined);
      const where = this.#file.where(key === undefined ? this.#at : [...this.#at, key], "value");
      // Errors about the file use the file's own spelling.
      const reason = key === undefined ? error.message : withoutDashes(error.message);
      throw new UblkError("INVALID_ARGUMENT", { operation: where, reason });
    }
  }

  /** The words that name the target. */
  #targetWords(): string[] {
    if (valueIn(this.#own, "type", "t") !== undefined) return [...this.#own];
    const { type, module } = this.#table;
    const words = [...this.#own];
    if (type !== undefined) {
      words.unshift(
        ...this.#wordsOf("type", findFlag(kindOf(this.#configured).flags, "--type")!, type),
      );
    }
    if (typeof module === "string" && valueIn(this.#own, "module") === undefined) {
      words.unshift(`--module=${moduleUrl(module, this.#folder)}`);
    }
    return words;
  }

  #filesOf(value: unknown): string[] {
    const list = Array.isArray(value) ? value : [value];
    return list.map((one) => {
      if (typeof one === "string" && one !== "") return absolute(one, this.#folder);
      throw this.#mistake("files", `${valueText(one)} is no path`, 'write files = ["disk.img"]');
    });
  }

  /** Converts one entry to words of a command line. */
  #wordsOf(key: string, flag: Flag, value: unknown): string[] {
    const dashed = `--${flag.name}`;
    if (flag.name === "wrap") {
      const list = Array.isArray(value) ? value : [value];
      return list.map((one) => `${dashed}=${this.#wrapOf(key, one)}`);
    }
    if (flag.repeated === true && Array.isArray(value)) {
      return value.flatMap((one) => this.#wordsOf(key, flag, one));
    }
    if (flag.kind === "count") {
      const times = [0, 1, 2].find((count) => count === value);
      if (times !== undefined) return Array(times).fill(dashed);
      throw this.#mistake(key, `${this.#shown(key, value)} is no count`, "write 0, 1 or 2");
    }
    try {
      readValue(flag as Option, value, this.#file.written([...this.#at, key]));
    } catch (error) {
      if (!(error instanceof OptionError)) throw error;
      const choices = flag.choices?.filter((choice) => typeof choice === "string") ?? [];
      throw misspelt(this.#mistake(key, error.message, error.remedy), String(value), choices);
    }
    if (flag.kind === "switch") return value ? [dashed] : [];
    return [`${dashed}=${this.#textOf(flag, value)}`];
  }

  #textOf({ name, kind }: Flag, value: unknown): string {
    if (kind === "json") return JSON.stringify(value);
    if (kind === "names" && Array.isArray(value)) return value.join("+");
    const text = Object.is(value, -0) ? "-0" : String(value);
    if (kind === "path") return absolute(text, this.#folder);
    if (name === "module" || (name === "type" && isModuleName(text))) {
      return moduleUrl(text, this.#folder);
    }
    return text;
  }

  #wrapOf(key: string, value: unknown): string {
    try {
      return absoluteWrap(value, this.#folder);
    } catch (error) {
      if (!(error instanceof UblkError)) throw error;
      // The error names the flag, which corresponds to the key here.
      const { operation, reason = "", hint } = error;
      const what = operation.replace(/^--wrap ?/, "");
      const cause = what === "" ? reason : `${what}: ${reason}`;
      throw likewise(this.#mistake(key, cause, hint), error);
    }
  }

  /** A value as written in the file. */
  #shown(key: string, value: unknown): string {
    return this.#file.written([...this.#at, key]) ?? valueText(value);
  }

  #mistake(
    key: string,
    cause: string,
    remedy?: string,
    part: "key" | "value" = "value",
  ): UblkError {
    return usageError(this.#file.where([...this.#at, key], part), `${key}: ${cause}`, remedy);
  }
}

/** Rewrites flags in a text as keys; a quoted command is left alone. */
function withoutDashes(text: string): string {
  return text.replaceAll(/`[^`]*`|--(?=[a-z])/g, (found) => found === "--" ? "" : found);
}
