/**
 * Users' own backends as targets. A module named on the command line is imported, and its
 * description of itself defines its options, like those of the built-in targets.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { importModule } from "./load.ts";
import { type Option, OptionError, readValue } from "./option.ts";
import type { BackendSpec } from "./spec.ts";
import type { Target, TargetValues } from "./target.ts";

/**
 * The optional export `target` of a backend module. With it, commands can check and explain the
 * module's options.
 *
 * @example
 * ```ts
 * import type { TargetDescription } from "@ublk/ublk";
 *
 * export const target: TargetDescription = {
 *   summary: "a disk of one repeated byte",
 *   options: [
 *     { name: "size", kind: "size", required: true, help: "The disk's size." },
 *     { name: "byte", kind: "integer", min: 0, max: 255, help: "The byte. Default: 0." },
 *   ],
 * };
 * ```
 */
export interface TargetDescription {
  /**
   * The target's name in lists.
   *
   * @default The file's name
   */
  readonly name?: string;
  /** A short description of the target. */
  readonly summary?: string;
  /** The options. `open` receives them by name, with values of their kinds. */
  readonly options?: readonly Option[];
  /**
   * Number of files. `open` receives their absolute paths as `files`.
   *
   * @default None
   */
  readonly files?: { readonly min: number; readonly max: number };
}

/** The options that every module has. */
export const MODULE_OPTIONS = [
  {
    name: "module",
    kind: "text",
    placeholder: "FILE",
    help: "The module: a path, or a URL. -t FILE is the same.",
  },
  {
    name: "export",
    kind: "text",
    placeholder: "NAME",
    help: "The export to use. Default: its own `open`, or its default.",
  },
  { name: "options", kind: "json", help: "An object with more options, for `open`." },
] as const satisfies readonly Option[];

/** The target that stands for any module, for the help. */
export const target: Target = {
  name: "module",
  summary: "a backend of your own in TypeScript or JavaScript (docs/writing-a-backend.md)",
  persistent: true,
  files: { min: 0, max: Infinity },
  options: MODULE_OPTIONS,
  spec() {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "module",
      reason: "it is not said which",
      hint: "give --module FILE",
    });
  },
};

/** Whether the name of a target means a module: it looks like a path, a file or a URL. */
export function isModuleName(name: string): boolean {
  return name.includes("/") || /\.[cm]?[jt]sx?$/.test(name) || /^(jsr|npm|https?|data):/.test(name);
}

/** The URL of a module from its name. A relative path is relative to the folder `cwd`. */
export function moduleUrl(name: string, cwd: string): string {
  if (/^[a-z][a-z+.-]+:/.test(name)) return name;
  const path = name.startsWith("/") ? name : `${cwd}/${name}`;
  // Encode each part, so that no character of a name has a meaning in the URL.
  return new URL(path.split("/").map(encodeURIComponent).join("/"), "file:///").href;
}

/**
 * Makes a target of a module.
 *
 * @throws {UblkError} `BACKEND_MODULE` if it cannot be loaded, `BACKEND_SHAPE` if its export
 *   `target` is invalid.
 */
export async function moduleTarget(url: string): Promise<Target> {
  const { name, summary, options, files } = descriptionOf(url, await importModule(url));
  return {
    ...target,
    name: name ?? nameOf(url),
    summary: summary ?? target.summary,
    files: files ?? { min: 0, max: options === undefined ? Infinity : 0 },
    options: [...options ?? [], ...MODULE_OPTIONS],
    spec: (values, files) => specOf(url, options, values, files),
  };
}

function nameOf(url: string): string {
  const file = decodeURIComponent(url.split(/[?#]/)[0].replace(/\/+$/, "").split("/").at(-1)!);
  return file.replace(/\.[cm]?[jt]sx?$/, "") || "module";
}

const RESERVED = [
  ...MODULE_OPTIONS.map((option) => option.name as string),
  // Every device has these. `open` receives them as `blockSize`, `readOnly` and `files`.
  ...["block-size", "read-only", "files"],
];
const KINDS = ["switch", "size", "integer", "number", "time", "range", "names", "text", "path"];

function descriptionOf(url: string, exports: Record<string, unknown>): TargetDescription {
  const found = exports.target;
  if (found === undefined) return {};
  const wrong = (reason: string) =>
    new UblkError("BACKEND_SHAPE", {
      operation: `backend ${url}`,
      reason,
      hint: "see TargetDescription",
    });
  if (typeof found !== "object" || found === null) throw wrong("its `target` is no object");
  const { options = [], files } = found as TargetDescription;
  if (!Array.isArray(options)) throw wrong("`target.options` is no list");
  for (const { name, kind, help } of options as Partial<Option>[]) {
    const shown = JSON.stringify(name);
    if (typeof name !== "string" || !/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) {
      throw wrong(`an option's name is ${shown}, not in kebab case`);
    }
    if (RESERVED.includes(name)) throw wrong(`its option ${shown} is one that every module has`);
    if (![...KINDS, "json"].includes(kind as string)) {
      throw wrong(`the kind of its option ${shown} is not one of ${KINDS.join(", ")}, json`);
    }
    if (typeof help !== "string") throw wrong(`its option ${shown} has no help`);
  }
  const names = options.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw wrong(`its option ${JSON.stringify(twice)} is there twice`);
  if (files !== undefined && !(files.min >= 0 && files.max >= files.min)) {
    throw wrong("`target.files` is not { min, max } with 0 <= min <= max");
  }
  return found;
}

function specOf(
  url: string,
  schema: readonly Option[] | undefined,
  values: TargetValues,
  files: readonly string[],
): BackendSpec {
  const { export: exported, options: more = {} } = values as { export?: string; options?: unknown };
  if (typeof more !== "object" || more === null || Array.isArray(more)) {
    throw mistake("--options", "it is no object", `write it as '{"key": "value"}'`);
  }
  const options: Record<string, unknown> = schema === undefined
    ? { ...more }
    : checkedOptions(schema, more);
  for (const { name, kind, required } of schema ?? []) {
    const value = values[name];
    // A switch that is not given is off, unless the object turns it on.
    if (value !== undefined && (kind !== "switch" || value === true || !(name in options))) {
      options[name] = value;
    }
    if (required && options[name] === undefined) {
      throw mistake(`--${name}`, "it is missing", "give it");
    }
  }
  if (files.length > 0) options.files = files;
  if (values["block-size"] !== undefined) options.blockSize = values["block-size"];
  if (values["read-only"]) options.readOnly = true;
  return { module: url, options, ...(exported === undefined ? {} : { export: exported }) };
}

function checkedOptions(schema: readonly Option[], given: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => {
      const option = schema.find((one) => one.name === name);
      if (option !== undefined) return [name, valueOf(option, value)];
      const names = schema.map((one) => one.name).join(", ");
      const remedy = names === "" ? "it has no options" : `it has ${names}`;
      throw mistake("--options", `it has no option ${JSON.stringify(name)}`, remedy);
    }),
  );
}

function valueOf(option: Option, value: unknown): unknown {
  try {
    return readValue(option, value);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    throw mistake(`--options ${option.name}`, error.message, error.remedy);
  }
}

function mistake(operation: string, reason: string, hint?: string): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation, reason, hint });
}
