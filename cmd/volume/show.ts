/**
 * `ublk-volume ls` and `ublk-volume info`.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { openStore } from "../../store/open.ts";
import { printable } from "../../uapi/printable.ts";
import { defaultStore } from "../../volume/folders.ts";
import { listVolumes, type VolumeInfo, volumeInfo } from "../../volume/list.ts";
import type { Values } from "../line/flags.ts";
import type { LS_FLAGS, VOLUME_INFO_FLAGS } from "../line/volume_commands.ts";
import { writeJson, writeLines } from "../program/print.ts";
import { type ErrorLog, EXIT_FAILURE, EXIT_OK } from "../program/run.ts";
import { type Column, tableLines } from "../watch/rows.ts";
import { inStore } from "./in_store.ts";
import { inVolume } from "./in_volume.ts";

/** `ublk-volume ls`: a table; a volume that cannot be read is an error line, and the others go on. */
export async function ls(
  { store: url = defaultStore(), noheadings, json }: Values<typeof LS_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  return await inStore(url, async () => {
    await using store = await openStore(url);
    let status = EXIT_OK;
    const infos: VolumeInfo[] = [];
    for (const name of await listVolumes(store)) {
      try {
        infos.push(await volumeInfo(store, name));
      } catch (error) {
        log.error(error instanceof Error ? error.message : `${error}`);
        status = EXIT_FAILURE;
      }
    }
    if (json) await writeJson(infos.map(infoJson), 2);
    else await writeLines(listLines(infos, noheadings));
    return status;
  });
}

/** `ublk-volume info`. */
export async function info(
  { name, store: url = defaultStore(), json, ...values }: Values<typeof VOLUME_INFO_FLAGS>,
): Promise<number> {
  return await inVolume(url, name, { ...values, isOptional: true }, async (store) => {
    const found = await volumeInfo(store, name);
    if (json) await writeJson(infoJson(found), 2);
    else await writeLines(infoLines(found));
    return EXIT_OK;
  });
}

function infoJson({ attachedBy, parent, ...rest }: VolumeInfo): unknown {
  return {
    ...{ ...rest, parent: parent ?? null },
    ...{ attached: attachedBy !== undefined, attachedBy: attachedBy ?? null },
  };
}

const COLUMNS = [
  { heading: "NAME", width: 0, left: true },
  { heading: "SIZE", width: 0, left: true },
  { heading: "LIVE", width: 0, left: true },
  { heading: "STORED", width: 0, left: true },
  { heading: "SHARED", width: 0, left: true },
  { heading: "DEAD", width: 0, left: true },
  { heading: "COMMITTED", width: 0, left: true },
  { heading: "ATTACHED", width: 0, left: true },
] as const satisfies readonly Column[];

/** The table of volumes. */
export function listLines(infos: readonly VolumeInfo[], noHeadings: boolean): string[] {
  const lines = tableLines(
    COLUMNS,
    infos.map((info) => [
      info.name,
      formatSize(info.size),
      sizeOrDash(info.mappedBytes),
      formatSize(info.storedBytes),
      sizeOrDash(info.sharedBytes),
      sizeOrDash(info.deadBytes),
      `${info.committed.toISOString().slice(0, 19)}Z`,
      info.attachedBy ?? "-",
    ]),
  );
  return noHeadings ? lines.slice(1) : lines;
}

/** A size that only whoever has the key of an encrypted volume knows, or nobody of a compressed one. */
function sizeOrDash(bytes: number | undefined): string {
  return bytes === undefined ? "-" : formatSize(bytes);
}

function infoLines(info: VolumeInfo): string[] {
  const rows: readonly (readonly [string, string])[] = [
    ["name", info.name],
    ["uuid", info.uuid],
    ["size", formatSize(info.size)],
    ["encrypted", info.encrypted ? "yes" : "no"],
    ["block size", `${info.blockSize}`],
    ["compression", info.compression],
    ["chunk size", formatSize(info.chunkSize)],
    ["live", sizeOrDash(info.mappedBytes)],
    ["shared", sizeOrDash(info.sharedBytes)],
    ["kept", sizeOrDash(info.keptBytes)],
    ["dead", sizeOrDash(info.deadBytes)],
    ["stored", formatSize(info.storedBytes)],
    ["snapshots", `${info.snapshots}`],
    ["cloned from", info.parent ?? "-"],
    ["clones", info.clones.length === 0 ? "-" : info.clones.join(", ")],
    ["written", formatSize(info.writtenBytes)],
    ["created", info.created.toISOString()],
    ["committed", info.committed.toISOString()],
    ["epoch", `${info.epoch}`],
    ["attached", info.attachedBy === undefined ? "no" : printable(info.attachedBy)],
  ];
  return rows.map(([name, value]) => `${`${name}:`.padEnd(13)}${value}`);
}
