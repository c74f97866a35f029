/**
 * Translates the command lines of ublksrv and rublk into ours, for users who know `ublk add` from
 * them: `-f FILE`, a target given as a word, and their names of flags.
 *
 * @module
 */

import { isModuleName } from "../../disk/module.ts";
import { ADD_FLAGS } from "./add_line.ts";
import { deviceNumber } from "./device_name.ts";
import { findFlag, type Flag, spreadLetters, usageError } from "./flags.ts";
import { misspelt } from "../program/misspelt.ts";
import { valueIn } from "./target_line.ts";
import { ALL as TARGETS, namesTarget, targetNames } from "./targets.ts";

/** A file given by a flag, as they do. */
const FILE = { name: "file", short: "f", kind: "path", help: "" } as const satisfies Flag;

/** Their names of flags, with `-`, and ours. */
const RENAMED: Readonly<Record<string, string>> = {
  "direct-io": "direct",
  "io-buf-size": "max-io",
  "logical-block-size": "block-size",
  "need-get-data": "get-data",
  queue: "queues",
  "user-recovery-fail-io": "recovery-fail-io",
  "user-recovery-reissue": "recovery-reissue",
  usercopy: "user-copy",
  zerocopy: "zero-copy",
};

/** Their flags for behaviour that is always on here. */
const NEEDLESS: readonly string[] = ["buffered-io"];

/** Their flags that mean something else here, or nothing, and what to type instead. */
const REMEDIES: Readonly<Record<string, readonly [cause: string, remedy: string]>> = {
  "--uring-comp": ["it is of ublksrv, for its own measurements", "leave it out"],
  "--offset": ["it is of ublksrv, in sectors", "write --wrap offset:SIZE, in bytes or with a unit"],
  "--async-await": ["it is of rublk, where it chooses its inner workings", "leave it out"],
  "-o": ["it is --read-only of rublk, or --offset of ublksrv", "write --read-only"],
  "-p": ["it is --unprivileged of rublk", "write --unprivileged"],
};

/** Every flag of our targets. */
const TARGET_FLAGS: readonly Flag[] = TARGETS.flatMap(({ options }) => options);

/**
 * Translates other programs' words in a command line of `ublk add` or `ublk recover`. Correct words
 * stay unchanged and in place.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` that says what to type, for a word without an equivalent.
 */
export function ownSpelling(command: "add" | "recover", args: readonly string[]): string[] {
  const own = spreadLetters([...ADD_FLAGS, FILE], args);
  const end = own.indexOf("--");
  const left = own.slice(0, end < 0 ? own.length : end);
  const after = end < 0 ? [] : own.slice(end);
  // A module's options may have any name.
  let isModule = valueIn(own, "module") !== undefined ||
    isModuleName(valueIn(own, "type", "t") ?? "");
  const line: string[] = [];
  let nameless = isNameless(command, own);
  while (left.length > 0) {
    const arg = left.shift()!;
    if (arg.startsWith("-") && arg !== "-") {
      const words = flagOf(arg, left, isModule);
      line.push(...(command === "recover" ? withNumber(words) : words));
    } else if (nameless) {
      nameless = false;
      isModule ||= command === "add" && isModuleName(arg);
      line.push(command === "add" ? `--type=${targetWord(arg)}` : `--id=${deviceNumber(arg)}`);
    } else line.push(arg);
  }
  return [...line, ...after];
}

/**
 * Whether the first word has to name the target, or the device to recover, because nothing else
 * does.
 */
function isNameless(command: "add" | "recover", line: readonly string[]): boolean {
  if (command === "add") return !namesTarget(line) && valueIn(line, "config") === undefined;
  return valueIn(line, "id", "n") === undefined && valueIn(line, "number") === undefined;
}

/** Translates a flag, and its value if that is a separate word. */
function flagOf(arg: string, left: string[], isModule: boolean): string[] {
  const at = arg.indexOf("=");
  const dashed = at < 0 ? arg : arg.slice(0, at);
  const attached = at < 0 ? undefined : arg.slice(at + 1);
  if (/^-f./.test(arg)) return [fileWord("-f", arg.slice(arg[2] === "=" ? 3 : 2))];
  if (dashed === "-f") return [fileWord(dashed, left.shift())];
  const known = findFlag(ADD_FLAGS, dashed) ?? findFlag(TARGET_FLAGS, dashed);
  if (known !== undefined || isModule) return withValue(arg, known, left);
  const name = dashed.replaceAll("_", "-");
  if (name === "--file") return [fileWord(dashed, attached ?? left.shift())];
  if (Object.hasOwn(REMEDIES, name)) throw usageError(dashed, ...REMEDIES[name]);
  if (NEEDLESS.includes(name.slice(2))) return [];
  if (name === "--user-recovery") {
    const isBit = attached === undefined && /^[01]$/.test(left[0] ?? "");
    return [`--recovery=${attached ?? (isBit ? left.shift() : "1")}`];
  }
  if (!Object.hasOwn(RENAMED, name.slice(2))) return [arg];
  const renamed = RENAMED[name.slice(2)];
  const ours = attached === undefined ? `--${renamed}` : `--${renamed}=${attached}`;
  return withValue(ours, findFlag(ADD_FLAGS, `--${renamed}`), left);
}

/** Replaces a device with its number: `-n ublkb0` becomes `-n 0`. */
function withNumber(words: readonly string[]): readonly string[] {
  const [, dashed, attached] = /^(--[^=]+=?|-.=?)(.*)$/s.exec(words[0]) ?? [];
  if (dashed === undefined || findFlag(ADD_FLAGS, dashed.replace(/=$/, ""))?.name !== "id") {
    return words;
  }
  return attached === "" ? [dashed, ...words.slice(1).map(deviceNumber)] : [
    dashed + deviceNumber(attached),
  ];
}

/** A file as a word that cannot be taken for a flag. */
function fileWord(dashed: string, file: string | undefined): string {
  if (file !== undefined && file !== "") return file.startsWith("-") ? `./${file}` : file;
  throw usageError(dashed, "it needs a value", "give the path of a file");
}

/** The word after a flag that takes a value is its value, whatever it looks like. */
function withValue(arg: string, flag: Flag | undefined, left: string[]): string[] {
  const takesValue = flag !== undefined && flag.kind !== "switch" && flag.kind !== "count";
  const isApart = arg.startsWith("--") ? !arg.includes("=") : arg.length === 2;
  // "--get-data 1", as with getopt.
  const takesBit = flag?.takesBit === true && arg.startsWith("--") && /^[01]$/.test(left[0] ?? "");
  if (!takesBit && !(takesValue && isApart) || left.length === 0) return [arg];
  return [arg, left.shift()!];
}

/** Translates a word that names a target, or a module by its file extension. */
function targetWord(word: string): string {
  const names = TARGETS.flatMap(({ name, aliases = [] }) => [name, ...aliases]);
  const plain = word.replaceAll("_", "-");
  if (names.some((name) => name.replaceAll("_", "-") === plain)) return word;
  if (/\.[cm]?[jt]sx?$|^(jsr|npm|https?|data):/.test(word)) return word;
  const remedy = `use one of ${targetNames()}, or for a file: ublk add loop ${word}`;
  const error = usageError("--type", "it is missing", remedy);
  throw misspelt(error, word, names, (meant) => `did you mean \`ublk add ${meant}\`?`);
}
