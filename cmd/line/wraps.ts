/**
 * Wrappers on a command line: `--wrap NAME[:OPTION[=VALUE],…]`, repeatable.
 *
 * @module
 */

import { type Option, placeholderOf } from "../../disk/option.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { WRAPPERS } from "../../backends/wrappers.ts";
import type { GivenOptions, Wrapper } from "../../disk/wrapper.ts";
import { valueText } from "./config_file.ts";
import { misspelt } from "../program/misspelt.ts";
import { usageError } from "./flags.ts";
import { explained } from "./help.ts";
import { absolute } from "./target_line.ts";

/** One wrapper as requested. */
export interface Wrap {
  /** The wrapper. */
  readonly wrapper: Wrapper;
  /** Its options as strings; switches are true. */
  readonly options: GivenOptions;
}

/**
 * Parses the values of `--wrap`.
 *
 * @param cwd The folder that relative paths are resolved against.
 * @throws {UblkError} `INVALID_ARGUMENT` for an unknown wrapper or option.
 */
export function readWraps(texts: readonly string[], cwd: string): Wrap[] {
  return texts.map((text) => {
    const at = text.indexOf(":");
    const name = at < 0 ? text : text.slice(0, at);
    const wrapper = findWrapper(name);
    return { wrapper, options: at < 0 ? {} : readOptions(wrapper, text.slice(at + 1), cwd) };
  });
}

/**
 * Finds a wrapper by name.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if there is none.
 */
export function findWrapper(name: string): Wrapper {
  const wrapper = WRAPPERS.find((one) => one.name === name);
  if (wrapper !== undefined) return wrapper;
  const names = WRAPPERS.map((one) => one.name);
  const remedy = `use one of ${names.join(", ")}`;
  throw misspelt(usageError("--wrap", `there is no wrapper ${name}`, remedy), name, names);
}

function readOptions({ name, options }: Wrapper, text: string, cwd: string): GivenOptions {
  const given: Record<string, unknown> = {};
  for (const [index, word] of splitWords(text).entries()) {
    const at = word.indexOf("=");
    const key = at < 0 ? word : word.slice(0, at);
    let option = options.find((one) => one.name === key);
    let value: string | true = at < 0 ? true : word.slice(at + 1);
    if (option === undefined && index === 0 && !/^[a-z-]+=/.test(word)) {
      // A wrapper's main option needs no name. A word `NAME=…` with an unknown name is a
      // misspelling, not the main option's value: as a file name, it would be created, empty, in
      // place of the right file.
      option = options.find((one) => one.first);
      value = word;
    }
    const names = options.map((one) => one.name);
    const what = `--wrap ${name}`;
    if (option === undefined) {
      const hint = names.length === 0 ? "it has none" : `it has ${names.join(", ")}`;
      throw misspelt(usageError(what, `there is no option ${key}`, hint), key, names);
    }
    if (option.name in given) {
      throw usageError(what, `${option.name} is given twice`, "give it once");
    }
    if (value === true && option.kind !== "switch") {
      throw usageError(what, `${option.name} needs a value`, `write ${option.name}=…`);
    }
    given[option.name] = option.kind === "path" && value !== "" && value !== true
      ? absolute(value, cwd)
      : value;
  }
  return given;
}

/**
 * Converts a wrapper in a file of options to a value of the flag, with absolute paths.
 *
 * @param value The flag's value, or a table with the wrapper's `name` and options.
 * @param folder The folder that relative paths are resolved against.
 * @throws {UblkError} `INVALID_ARGUMENT` if it is neither, or as {@linkcode readWraps}.
 */
export function absoluteWrap(value: unknown, folder: string): string {
  const { wrapper, options } = readWraps([wrapText(value)], folder)[0];
  return wrapText({ name: wrapper.name, ...options });
}

function wrapText(value: unknown): string {
  if (typeof value === "string") return value;
  const { name, ...options } = (value ?? {}) as Record<string, unknown>;
  if (typeof name !== "string") {
    const remedy = 'write "NAME:OPTION=VALUE", or { name = "NAME", OPTION = VALUE }';
    throw usageError("--wrap", `${valueText(value)} is no wrapper`, remedy);
  }
  const words = Object.entries(options).filter(([, one]) => one !== false).map(([key, one]) =>
    one === true ? key : `${key}=${textOf(one).replaceAll(",", ",,")}`
  );
  return words.length === 0 ? name : `${name}:${words.join(",")}`;
}

const textOf = (value: unknown) => typeof value === "string" ? value : valueText(value);

/** Splits at commas; a doubled comma is a literal one. */
function splitWords(text: string): string[] {
  return text.replaceAll(",,", "\0").split(",").map((word) => word.replaceAll("\0", ","));
}

/** Wraps a backend; the first wrapper is the outermost. */
export function wrapped(wraps: readonly Wrap[], backend: BackendSpec): BackendSpec {
  return wraps.reduceRight((inner, { wrapper, options }) => wrapper.spec(inner, options), backend);
}

/** The wrappers and their options, for the help. */
export function wrappersHelp(): string {
  return [
    "Wrappers, and their options: --wrap NAME, or --wrap NAME:OPTION=VALUE,…; of an option in [ ] " +
    "the name may be left out if it comes first. A comma within a value is written twice.",
    ...WRAPPERS.flatMap(({ name, summary, options }) => [
      `${name}: ${summary}`,
      ...options.map(optionLines),
    ]),
  ].join("\n");
}

function optionLines(option: Option): string {
  const { name, kind, first, help } = option;
  const left = first ? `[${name}=]` : `${name}=`;
  return explained(`  ${kind === "switch" ? name : `${left}${placeholderOf(option)}`}`, help);
}
