/**
 * The target of a server, read from the command line of its running process: for a device without a
 * record.
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

/** Arguments that the user did not type. */
const MARKS: readonly string[] = [":background", BY_TASK, AS_KUBLK];

/** The target of a process; undefined if it is not one of our servers or its line names none. */
export function targetOfServer(pid: number): string | undefined {
  try {
    return targetInLine(readSmallFile(`/proc/${pid}/cmdline`).split("\0").slice(0, -1));
  } catch (error) {
    // The process has ended.
    if (error instanceof UblkError) return undefined;
    throw error;
  }
}

/** The target that a process's command line names; the line includes Deno's own arguments. */
export function targetInLine(words: readonly string[]): string | undefined {
  const program = /(?:^|\/)(ublk(?:-[a-z]+)?)(?:\.[jt]s)?$/;
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

/** The line of another program may be invalid for us. */
function lineOf(command: "add" | "recover", args: readonly string[]): readonly string[] {
  try {
    return ownSpelling(command, args);
  } catch (error) {
    if (error instanceof UblkError) return args;
    throw error;
  }
}
