/**
 * What a server serves, by the command line that its process still has: for a device of which there
 * is no record.
 *
 * @module
 */

import { isModuleName } from "../../disk/module.ts";
import { UblkError } from "../../uapi/error.ts";
import { readSmallFile } from "../../uring/libc.ts";
import { AS_KUBLK, BY_TASK } from "./args.ts";
import { ownSpelling } from "./spellings.ts";
import { PROGRAMS } from "./program.ts";
import { valueIn } from "./target_line.ts";

/** What stands before the words that were typed. */
const MARKS: readonly string[] = [":background", BY_TASK, AS_KUBLK];

/** The target of a process; undefined if it is no server of ours, or does not say. */
export function targetOfServer(pid: number): string | undefined {
  try {
    return targetInLine(readSmallFile(`/proc/${pid}/cmdline`).split("\0").slice(0, -1));
  } catch (error) {
    // It has ended.
    if (error instanceof UblkError) return undefined;
    throw error;
  }
}

/** The target that a command line of a process names, Deno's own arguments included. */
export function targetInLine(words: readonly string[]): string | undefined {
  const program = /(?:^|\/)(ublk(?:-[a-z]+)?)(?:\.ts)?$/;
  const at = words.findIndex((word) => !word.startsWith("-") && program.test(word));
  if (at < 0) return undefined;
  const [, name] = program.exec(words[at])!;
  if (name !== "ublk") {
    return PROGRAMS.find((program) => program.name === name)?.target;
  }
  const line = words.slice(at + 1).filter((word) => !MARKS.includes(word));
  const [command, ...args] = line[0] === "kublk" ? line.slice(1) : line;
  if (command !== "add" && command !== "recover") return undefined;
  const own = lineOf(command, args);
  const type = valueIn(own, "type", "t");
  if (type !== undefined) return isModuleName(type) ? "module" : type;
  return valueIn(own, "module") === undefined ? undefined : "module";
}

/** Another program's line may be one that we would refuse. */
function lineOf(command: "add" | "recover", args: readonly string[]): readonly string[] {
  try {
    return ownSpelling(command, args);
  } catch (error) {
    if (error instanceof UblkError) return args;
    throw error;
  }
}
