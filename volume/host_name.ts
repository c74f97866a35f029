/**
 * The name of this machine, for words that people read.
 *
 * @module
 */

import { smallText } from "../uring/file.ts";

/** The machine's name; empty if it cannot be read. */
export function hostName(): string {
  try {
    return smallText("/proc/sys/kernel/hostname")?.trim() ?? "";
  } catch {
    return "";
  }
}
