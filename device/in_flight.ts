/**
 * The kernel's own count of requests in flight: those that a server holds, and those that wait for
 * it.
 *
 * Nothing here touches a disk, so the process that serves the disk may ask too.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { readSmallFile } from "../uring/libc.ts";

/** Requests in flight. */
export interface InFlight {
  /** READs. */
  readonly reads: number;
  /** All others. */
  readonly writes: number;
}

/** The requests in flight of a disk; undefined if there is no such disk. */
export function diskInFlight(id: number): InFlight | undefined {
  const text = readOrNothing(`/sys/block/ublkb${id}/inflight`);
  return text === undefined ? undefined : parseInFlight(text);
}

/**
 * The requests in flight of a hardware queue; undefined if debugfs is not mounted or not
 * readable.
 */
export function queueInFlight(id: number, queue: number): number | undefined {
  const text = readOrNothing(`/sys/kernel/debug/block/ublkb${id}/hctx${queue}/tags`);
  return text === undefined ? undefined : parseBusyTags(text);
}

/** `/sys/block/DISK/inflight` (`part_inflight_show`): two numbers. */
export function parseInFlight(text: string): InFlight | undefined {
  const [, reads, writes] = /^\s*(\d+)\s+(\d+)\s*$/.exec(text) ?? [];
  return reads === undefined ? undefined : { reads: Number(reads), writes: Number(writes) };
}

/** `hctxN/tags` (`hctx_tags_show`): the busy tags of its first bitmap. */
export function parseBusyTags(text: string): number | undefined {
  const busy = /^busy=(\d+)$/m.exec(text)?.[1];
  return busy === undefined ? undefined : Number(busy);
}

function readOrNothing(path: string): string | undefined {
  try {
    return readSmallFile(path);
  } catch (error) {
    if (error instanceof UblkError) return undefined;
    throw error;
  }
}
