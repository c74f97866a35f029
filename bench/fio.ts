/**
 * The client: fio, with its io_uring engine and O_DIRECT, doing a given number of I/Os.
 *
 * It counts I/Os rather than seconds so that every sample is the same work, at the same offsets (its
 * generator's seed is fixed), and takes no clock readings per I/O, which would water down what is
 * compared.
 *
 * @module
 */

import type { Cell } from "./plan.ts";
import { run } from "./process.ts";

/** How the client is told to work; for the conditions of a table. */
export const CLIENT = "fio, ioengine=io_uring, direct=1, bs=4k, gtod_reduce=1, one job";

/** Does that many I/Os on a disk. Returns I/Os per second of the local clock. */
export async function fio(path: string, cell: Cell, ios: number): Promise<number> {
  const out = await run("fio", [
    ...["--name=bench", `--filename=${path}`, "--direct=1", "--ioengine=io_uring", "--bs=4k"],
    ...[`--rw=${cell.access}`, `--iodepth=${cell.depth}`, `--number_ios=${ios}`],
    // Without a map of the blocks done, a run may be longer than the disk and never stops to look.
    ...[
      "--norandommap",
      "--randrepeat=1",
      "--random_generator=tausworthe64",
      `--io_size=${ios * 4096}`,
    ],
    ...["--gtod_reduce=1", "--thread", "--allow_file_create=0", "--output-format=json"],
  ]);
  // Notes of fio's may come before the JSON.
  const { jobs: [job] } = JSON.parse(out.slice(out.indexOf("{\n")));
  const { total_ios, runtime, iops } = job[cell.access.slice("rand".length)];
  if (job.error !== 0 || total_ios < ios) {
    throw new Error(`fio did ${total_ios} of ${ios} I/Os, error ${job.error}`);
  }
  // Short runs are over within the milliseconds that fio counts in.
  return runtime > 0 ? total_ios * 1000 / runtime : iops || ios * 1000;
}
