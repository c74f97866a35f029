/**
 * The possible words at the cursor in one command's line.
 *
 * @module
 */

import { COMMON_FLAGS, findFlag, type Flag, type Syntax } from "../line/flags.ts";
import { beginning, type Devices, type Offer, type Word } from "./offer.ts";

/** Completes the line of a command after its name. */
export async function onLine(
  syntax: Pick<Syntax, "flags" | "operands" | "words">,
  line: readonly string[],
  devices: Devices,
): Promise<Offer> {
  const { flags, operands = "", words: names = [] } = syntax;
  const word = line.at(-1)!;
  const value = flagAtCursor(flags, line);
  if (value !== undefined) return await valueOffer(value.flag, value.prefix, word, devices);
  if (word.startsWith("-") && !line.slice(0, -1).includes("--")) {
    return { words: flagWords(flags) };
  }
  if (names.includes("id")) return { words: await deviceWords(word, devices) };
  const placeholders = operands.replaceAll(/[[\]…]/g, "").split(" ");
  if (/^[a-z]+(\|[a-z]+)+$/.test(placeholders[0])) {
    return { words: placeholders[0].split("|").map((text) => ({ text, help: "" })) };
  }
  return { files: placeholders.some(isFile) };
}

/** The flags as typed, including those of every command. */
export function flagWords(flags: readonly Flag[]): Word[] {
  return [...flags, ...COMMON_FLAGS].flatMap(({ name, short, help }: Flag) => {
    const begun = beginning(help);
    const long = { text: `--${name}`, help: begun };
    return short === undefined ? [long] : [long, { text: `-${short}`, help: begun }];
  });
}

/** The flag whose value is at the cursor, and the part of the word that belongs to the flag. */
function flagAtCursor(
  flags: readonly Flag[],
  line: readonly string[],
): { flag: Flag; prefix: string } | undefined {
  const word = line.at(-1)!;
  const before = line.slice(0, -1);
  if (before.includes("--")) return undefined;
  const attached = /^(--[^=]+)=/.exec(word);
  if (attached !== null) {
    const flag = findFlag(flags, attached[1]);
    return flag === undefined ? undefined : { flag, prefix: attached[0] };
  }
  const last = before.at(-1) ?? "";
  // "-zt": the value belongs to the last letter.
  const dashed = /^-[a-z]{2,}$/i.test(last) ? `-${last.at(-1)}` : last;
  const flag = /^-./.test(dashed) ? findFlag(flags, dashed) : undefined;
  const takesValue = flag !== undefined && flag.kind !== "switch" && flag.kind !== "count";
  return takesValue ? { flag, prefix: "" } : undefined;
}

async function valueOffer(
  flag: Flag,
  prefix: string,
  word: string,
  devices: Devices,
): Promise<Offer> {
  const typed = word.slice(prefix.length);
  const offer = await plainValue(flag, typed, devices);
  const words = offer.words?.map(({ text, help }) => ({ text: prefix + text, help }));
  return { ...offer, words };
}

async function plainValue(flag: Flag, typed: string, devices: Devices): Promise<Offer> {
  const { name, kind, choices = [], device } = flag;
  if (device) return { words: await deviceWords(typed, devices) };
  if (name === "output") {
    const { columnNames } = await import("../devices/list_columns.ts");
    return several(typed, ",", columnNames());
  }
  if (kind === "names") return several(typed, "+", choices.map(String));
  if (name === "wrap" || name === "type") {
    return await (await import("./names.ts")).nameOffer(name, typed);
  }
  return {
    words: choices.map((choice) => ({ text: `${choice}`, help: "" })),
    files: choices.length === 0 && (kind === "path" || isFile(flag.placeholder ?? "")),
  };
}

/** Offers one more of several joined names. */
function several(typed: string, by: string, names: readonly string[]): Offer {
  const before = typed.slice(0, typed.lastIndexOf(by) + 1);
  return { words: names.map((name) => ({ text: before + name, help: "" })), noSpace: true };
}

/** The devices by number, or by node if the word starts like one. */
export async function deviceWords(word: string, devices: Devices): Promise<Word[]> {
  const [, begun] = /^(\/dev\/ublkb|ublkb)/.exec(word) ?? [];
  const node = begun ?? (word.startsWith("/") ? "/dev/ublkb" : word.startsWith("u") ? "ublkb" : "");
  return (await devices()).map((id) => ({ text: `${node}${id}`, help: "" }));
}

/** Whether a placeholder stands for a file. */
function isFile(placeholder: string): boolean {
  return ["FILE", "PATH", "FOLDER", "ARCHIVE"].includes(placeholder);
}
