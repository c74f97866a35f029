/**
 * `ublk-volume stats`.
 *
 * @module
 */

import { blockPath } from "../../device/node.ts";
import { UblkError } from "../../uapi/error.ts";
import { askServer, isServerStats } from "../devices/ask.ts";
import type { Values } from "../line/flags.ts";
import type { VOLUME_STATS_FLAGS } from "../line/volume_commands.ts";
import { writeJson, writeLines } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import { counterTexts, labelledLines } from "../watch/counter_text.ts";
import { serverOf, serversHere } from "./attached.ts";

/** `ublk-volume stats`: what the server of a volume has counted, and how far the store lags behind. */
export async function stats(
  { name, store, json }: Values<typeof VOLUME_STATS_FLAGS>,
): Promise<number> {
  const { id } = serverOf(`stats ${name}`, serversHere(name), store) ?? notAttached(name);
  const answer = await askServer(id, { op: "stats" });
  const told = isServerStats(answer?.ok) ? answer.ok.backend : undefined;
  if (told?.name !== "volume") throw silent(name, id, answer !== undefined);
  if (json) await writeJson({ name, path: blockPath(id), ...told.values }, 2);
  else await writeLines(labelledLines([["device", blockPath(id)], ...counterTexts(told)]));
  return EXIT_OK;
}

function notAttached(name: string): never {
  throw new UblkError("DEVICE_NOT_FOUND", {
    operation: `stats ${name}`,
    reason: "no server here has it attached",
    hint: "attach it, or see `ublk-volume info` for what its store has",
  });
}

function silent(name: string, device: number, answers: boolean): UblkError {
  return new UblkError("CONTROL_FAILED", {
    ...{ operation: `stats ${name}`, device },
    reason: answers ? "its server tells nothing of a volume" : "its server does not listen",
    hint: "see its log, or `ublk info`",
  });
}
