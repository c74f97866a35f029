/**
 * Suggestions for `ublk add` and `ublk recover`, whose targets have their own options.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { ADD_FLAGS, RECOVER_FLAGS } from "../line/add_line.ts";
import type { Flag } from "../line/flags.ts";
import { ownSpelling } from "../line/spellings.ts";
import { nameOffer } from "./names.ts";
import type { Devices, Offer } from "./offer.ts";
import { deviceWords, onLine } from "./on_line.ts";
import { valueIn } from "../line/target_line.ts";
import { targetOn } from "../line/targets.ts";

/** Completes the line after the command's name. */
export async function onServingLine(
  command: "add" | "recover",
  line: readonly string[],
  devices: Devices,
): Promise<Offer> {
  const word = line.at(-1)!;
  const before = spelt(command, line.slice(0, -1));
  const target = targetOn(before);
  const own: readonly Flag[] = target?.options ?? [];
  // A new device gets a new number; other commands name an existing device.
  const flags = [...command === "add" ? ADD_FLAGS : RECOVER_FLAGS, ...own];
  const operands = target === undefined || target.files.max > 0 ? "FILE" : "";
  const offer = await onLine({ flags, operands }, line, devices);
  const isOperand = offer.words === undefined && !word.startsWith("-");
  if (!isOperand || target !== undefined) return offer;
  if (command === "recover" && valueIn(before, "id", "n") === undefined) {
    return { words: await deviceWords(word, devices) };
  }
  return command === "add" && offer.files ? await nameOffer("type", word) : offer;
}

/** Translates other programs' spellings if possible: an incomplete line may still be wrong. */
function spelt(command: "add" | "recover", line: readonly string[]): readonly string[] {
  try {
    return ownSpelling(command, line);
  } catch (error) {
    if (error instanceof UblkError) return line;
    throw error;
  }
}
