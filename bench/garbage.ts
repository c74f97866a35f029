/**
 * Measures whether the steady state creates garbage: V8 prints every collection, and those during I/O
 * are counted.
 *
 * V8's young generation is set to the minimum, 1 MiB, so that little escapes notice: one boxed number
 * per I/O makes 4 MB in 250,000 I/Os, and so several collections.
 *
 * @module
 */

import { startOurs } from "./disks.ts";
import { fio } from "./fio.ts";
import type { Cell, GcRecord } from "./plan.ts";

const V8_FLAGS = "--trace-gc,--min-semi-space-size=1,--max-semi-space-size=1";
/** `[123:0x7f…] 45 ms: Scavenge …`: the process, the isolate, the time. */
const COLLECTION = /^\[\d+:(0x[0-9a-f]+)(?::\d+)?\].* ms: /;

/** Counts the collections of one disk's server during `ios` I/Os, after a warm-up of half as many. */
export async function countCollections(
  disk: "ublk-null" | "ublk-mem",
  cells: readonly Cell[],
  ios: number,
): Promise<GcRecord> {
  const size = disk === "ublk-mem" ? ["--size", "64M"] : [];
  await using served = await startOurs(disk, size, V8_FLAGS);
  const { lines } = served.server;
  const each = Math.ceil(ios / cells.length);
  for (const cell of cells) await fio(served.path, cell, Math.ceil(each / 2));
  await settle();
  const mark = lines.length;
  for (const cell of cells) await fio(served.path, cell, each);
  await settle();
  const during = lines.slice(mark).filter((line) => COLLECTION.test(line));
  return {
    type: "gc",
    disk,
    ios: each * cells.length,
    before: byIsolate(lines.slice(0, mark)),
    duringIo: byIsolate(during),
    lines: during,
  };
}

/** Counts collections by the isolate's address. */
export function byIsolate(lines: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of lines) {
    const isolate = line.match(COLLECTION)?.[1];
    if (isolate !== undefined) counts[isolate] = (counts[isolate] ?? 0) + 1;
  }
  return counts;
}

/**
 * V8's flags for {@linkcode allocatedBytes}. With one thread V8 optimises at once; on a busy machine
 * slow code would run for long otherwise, and that allocates more.
 */
export const COUNTING_FLAGS =
  "--trace-gc-nvp,--min-semi-space-size=1,--max-semi-space-size=1,--single-threaded";

/** Bytes that one isolate allocated from the first to the last of the collections printed. */
export function allocatedBytes(lines: readonly string[]): number {
  return lines.flatMap((line) => line.match(/"allocated":(\d+)/)?.[1] ?? []).slice(1)
    .reduce((sum, bytes) => sum + Number(bytes), 0);
}

/** Waits until printed lines have arrived. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 200));
}
