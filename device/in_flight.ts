/**
 * Requests that the kernel has handed out and not got back, as it counts them itself: those that a
 * server holds, and those that wait for it to look.
 *
 * Nothing of this touches a disk, so the process that serves it may ask too.
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

/** Those of a disk; undefined where the kernel does not tell, for there is no such disk. */
export function diskInFlight(id: number): InFlight | undefined {
  const text = readOrNothing(`/sys/block/ublkb${id}/inflight`);
  return text === undefined ? undefined : parseInFlight(text);
}

/**
 * Those of a hardware queue; undefined where the kernel does not tell: debugfs is not mounted, or
 * not for us to read.
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

/** `hctxN/tags` (`hctx_tags_show`): the tags that are in use, in the first of its bitmaps. */
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
