/**
 * Counts the requests of a disk, and prints the counts at its end.
 *
 * @module
 */

import { O_CREAT, O_TRUNC, O_WRONLY } from "../../uring/file.ts";
import { closeFd, openFile, writeText } from "../../uring/libc.ts";
import type { Backend, OpenContext, ShareContext, Sharing } from "../../disk/backend.ts";
import { formatSize } from "../../disk/size.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { type Observer, Observing } from "./observing.ts";
import { OPERATION_NAMES } from "../../disk/operations.ts";
import { checkOptions, type Wrapper } from "../../disk/wrapper.ts";

/** Each thread has its own counters, in memory that all threads share. */
export const sharing: Sharing = "per-queue";

/** Options of {@linkcode stats}. */
export interface StatsOptions {
  /**
   * The file to which counts are written.
   *
   * @default Standard error, which is the log of a background server
   */
  readonly file?: string;
}

/**
 * The same disk, with its requests counted at this wrapper's place in the stack: requests, bytes,
 * errors and times per operation. The counts are written as a table when serving ends.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`. When served: if the file cannot be written.
 *
 * @example The requests that reach the disk behind a cache
 * ```ts
 * import { cache, file, stats } from "@ublk/ublk";
 *
 * cache(stats(file("disk.img"), { file: "/tmp/behind.txt" }));
 * ```
 */
export function stats(inner: BackendSpec, options: StatsOptions = {}): BackendSpec {
  return { module: import.meta.url, options: checkOptions(wrapper, options), inner: [inner] };
}

/** Per operation: requests, bytes, errors, total microseconds, microseconds of the longest request. */
const FIELDS = 5;
const ROW = FIELDS * OPERATION_NAMES.length;
/** The maximum number of threads that serve a device (`UBLK_MAX_NR_QUEUES`). */
const MAX_ROWS = 4096;

/** State that the threads share. */
interface Shared {
  /** The index of the next free row, followed by the rows. */
  readonly counts: SharedArrayBuffer;
  /** The descriptor that the table is written to. */
  readonly fd: number;
}

const HEADER_BYTES = 8;
const STDERR = 2;

/** Opens the file early, so that a mistake is found early. */
export function share(options: unknown, { claim }: Pick<ShareContext, "claim">): Shared {
  const { file } = options as StatsOptions;
  if (file !== undefined) claim(file, "text");
  return {
    counts: new SharedArrayBuffer(HEADER_BYTES + MAX_ROWS * ROW * 8),
    fd: file === undefined ? STDERR : openFile(file, O_WRONLY | O_CREAT | O_TRUNC, 0o644),
  };
}

/** Writes the table after every thread has ended. */
export function unshare(shared: unknown): void {
  const { counts, fd } = shared as Shared;
  try {
    writeText(fd, tableOf(new Float64Array(counts, HEADER_BYTES)));
  } finally {
    if (fd !== STDERR) closeFd(fd);
  }
}

/** Opens the wrapper around the inner disk. */
export function open(
  _options: unknown,
  { inner: [disk], shared }: Pick<OpenContext, "inner" | "shared">,
): Backend {
  return new Observing(disk, new Counter((shared as Shared).counts));
}

class Counter implements Observer {
  readonly #row: Float64Array;

  constructor(counts: SharedArrayBuffer) {
    const index = Atomics.add(new Int32Array(counts, 0, 1), 0, 1);
    this.#row = new Float64Array(counts, HEADER_BYTES + (index % MAX_ROWS) * ROW * 8, ROW);
  }

  seen(
    op: number,
    _offset: number,
    length: number,
    _fua: boolean,
    us: number,
    errno: number,
  ): void {
    const row = this.#row;
    const at = op * FIELDS;
    row[at]++;
    if (errno === 0) row[at + 1] += length;
    else row[at + 2]++;
    row[at + 3] += us;
    if (us > row[at + 4]) row[at + 4] = us;
  }
}

function tableOf(counts: Float64Array): string {
  const lines = ["operation  requests    bytes       errors  mean ms   longest ms"];
  for (const [op, name] of OPERATION_NAMES.entries()) {
    const [requests, bytes, errors, us, longest] = totals(counts, op * FIELDS);
    if (requests === 0) continue;
    lines.push([
      name.padEnd(10),
      String(requests).padEnd(11),
      formatSize(bytes).padEnd(11),
      String(errors).padEnd(7),
      (us / requests / 1000).toFixed(3).padEnd(9),
      (longest / 1000).toFixed(3),
    ].join(" "));
  }
  return lines.join("\n") + "\n";
}

function totals(counts: Float64Array, at: number): number[] {
  const sums = new Array(FIELDS).fill(0);
  for (let row = 0; row < counts.length; row += ROW) {
    for (let field = 0; field < FIELDS - 1; field++) sums[field] += counts[row + at + field];
    sums[FIELDS - 1] = Math.max(sums[FIELDS - 1], counts[row + at + FIELDS - 1]);
  }
  return sums;
}

/** `stats` on a command line. */
export const wrapper: Wrapper = {
  name: "stats",
  summary: "counts requests, and reports at the end",
  options: [
    {
      name: "file",
      kind: "path",
      first: true,
      help: "The file for the counts. Default: the log.",
    },
  ],
  spec: (inner, given) => stats(inner, given as StatsOptions),
};
