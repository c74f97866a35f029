/**
 * Errors of whoever wants what a journal alone has. They tell how old the state is that the store has.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import type { Head } from "./format/head.ts";
import type { Manifest } from "./format/manifest.ts";

/** The error of a volume whose journal is here, and whose server has died. */
export function unserved(name: string, { time }: Manifest): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `sync ${name}`,
    reason: "its journal has what the store lacks, and no server brings it there; " +
      `the store has it as of ${new Date(time).toISOString()}`,
    hint: `attach it: ublk-volume attach ${name}`,
  });
}

/** The error of a volume whose server does not say how far it has come. */
export function untold(name: string): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `sync ${name}`,
    reason:
      "its server does not tell what it has written, and its journal changes while it is read",
    hint: "try again when less is written, or detach the volume",
  });
}

/** The error of a volume whose journal is not here. */
export function elsewhere(
  folder: string,
  { host }: Head,
  { time }: Manifest,
  name: string,
): UblkError {
  return new UblkError("VOLUME_JOURNAL", {
    operation: `sync ${name}`,
    reason: `its journal is not in ${folder}: ${host || "somebody"} has it attached, or has not ` +
      `detached it; the store has it as of ${new Date(time).toISOString()}`,
    hint: "run this on that machine, or give the folder with its journal; a snapshot can be read " +
      "anywhere; if the journal is lost, attach without the journal",
  });
}
