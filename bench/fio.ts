/**
 * The client: fio, with its io_uring engine and O_DIRECT, performing a given number of I/Os.
 *
 * The number of I/Os is fixed rather than the time, so that every sample is the same work at the same
 * offsets (the generator's seed is fixed). fio does not read the clock per I/O, which would blur the
 * comparison.
 *
 * @module
 */

import type { Cell } from "./plan.ts";
import { run } from "./process.ts";

/** The client's options, printed among the conditions of a table. */
export const CLIENT = "fio, ioengine=io_uring, direct=1, bs=4k, gtod_reduce=1, one job";

/** Performs `ios` I/Os on a disk. Returns I/Os per second of the local clock. */
export async function fio(path: string, cell: Cell, ios: number): Promise<number> {
  const out = await run("fio", [
    ...["--name=bench", `--filename=${path}`, "--direct=1", "--ioengine=io_uring", "--bs=4k"],
    ...[`--rw=${cell.access}`, `--iodepth=${cell.depth}`, `--number_ios=${ios}`],
    // Without a map of visited blocks a run may exceed the disk's size, and saves the look-ups.
    ...[
      "--norandommap",
      "--randrepeat=1",
      "--random_generator=tausworthe64",
      `--io_size=${ios * 4096}`,
    ],
    ...["--gtod_reduce=1", "--thread", "--allow_file_create=0", "--output-format=json"],
  ]);
  // fio may print notes before the JSON.
  const { jobs: [job] } = JSON.parse(out.slice(out.indexOf("{\n")));
  const { total_ios, runtime, iops } = job[cell.access.slice("rand".length)];
  if (job.error !== 0 || total_ios < ios) {
    throw new Error(`fio did ${total_ios} of ${ios} I/Os, error ${job.error}`);
  }
  // Short runs end within fio's resolution of a millisecond.
  return runtime > 0 ? total_ios * 1000 / runtime : iops || ios * 1000;
}
