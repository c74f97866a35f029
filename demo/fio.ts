/**
 * Runs fio briefly, and formats its figures.
 *
 * @module
 */
import { DemoError, run } from "./program.ts";
import { grouped, megabytes } from "./story.ts";

/** The figures of a run. */
export interface Measured {
  /** Requests per second. */
  readonly iops: number;
  /** Bytes per second. */
  readonly bandwidthBytes: number;
  /** Median latency. */
  readonly p50Us: number;
  /** 99th percentile of the latency. */
  readonly p99Us: number;
}

/** Reads or writes 4 KiB at random offsets, bypassing the page cache. */
export async function measure(
  path: string,
  kind: "randread" | "randwrite",
  runtimeSeconds: number,
  signal?: AbortSignal,
): Promise<Measured> {
  const output = await run("fio", [
    "--name=demo",
    `--filename=${path}`,
    `--rw=${kind}`,
    "--allow_file_create=0",
    "--ioengine=libaio",
    "--direct=1",
    "--bs=4k",
    "--iodepth=32",
    "--time_based",
    `--runtime=${runtimeSeconds}`,
    "--output-format=json",
  ], { signal, limitMs: (runtimeSeconds + 60) * 1000 });
  // fio may print notes before the JSON.
  const job = JSON.parse(output.slice(output.indexOf("{"))).jobs[0];
  if (job.error !== 0) throw new DemoError(`fio: error ${job.error} in ${kind}`);
  const { iops, bw_bytes, clat_ns } = job[kind === "randread" ? "read" : "write"];
  return {
    iops,
    bandwidthBytes: bw_bytes,
    p50Us: clat_ns.percentile["50.000000"] / 1000,
    p99Us: clat_ns.percentile["99.000000"] / 1000,
  };
}

/** Formats the figures as one line. */
export function figures(name: string, { iops, bandwidthBytes, p50Us, p99Us }: Measured): string {
  return `${name.padEnd(5)}  ${grouped(iops).padStart(7)} IOPS  ` +
    `${megabytes(bandwidthBytes).padStart(8)}/s  ` +
    `latency p50 ${grouped(p50Us)} µs, p99 ${grouped(p99Us)} µs`;
}
