/**
 * Errnos: the numbers, and their names and texts for messages.
 *
 * `blk_errors.ts` lists those that reach a client of the block device.
 *
 * @module
 */

import { ERRNO } from "./errno_table.ts";

export * from "./errno_numbers.ts";

/** The row of each errno, by number; sparse. */
const ROWS: (readonly [number, string, string] | undefined)[] = [];
for (const row of ERRNO) ROWS[row[0]] = row;

/** The number of each errno by name. */
const NUMBERS: ReadonlyMap<string, number> = new Map(ERRNO.map(([number, name]) => [name, number]));

/** The name of an errno, positive or negative: "ENOSPC"; "errno 999" if there is none. */
export function errnoName(errno: number): string {
  return ROWS[Math.abs(errno)]?.[1] ?? `errno ${Math.abs(errno)}`;
}

/** The text of an errno, positive or negative: "No space left on device". */
export function errnoText(errno: number): string {
  return ROWS[Math.abs(errno)]?.[2] ?? `Unknown error ${Math.abs(errno)}`;
}

/** The positive number of an errno's name, or undefined if there is no such name. */
export function errnoNumber(name: string): number | undefined {
  return NUMBERS.get(name);
}
