/**
 * The test beds: guests for the benchmarks that need ublk.
 *
 * @module
 */

import { say, VmError } from "../vm/host.ts";
import type { KernelName } from "../vm/kernels.ts";
import { bootGuest } from "../vm/qemu.ts";
import { RECORD_MARK } from "./guest.ts";
import type { GuestPlan, GuestRecord } from "./plan.ts";

/** A test bed: a way of running a guest. */
export interface Bed {
  /** The bed's name. */
  readonly name: string;
  /** The meaning of its figures. */
  readonly meaning: string;
  /** Arguments of `bootGuest`. */
  readonly options: {
    readonly cpus: number;
    readonly accel?: string;
    readonly cpuModel?: string;
    readonly extraQemuArgs?: string[];
  };
}

/**
 * A bed in which one nanosecond of the guest's clock is one instruction. Throughput counts
 * instructions, whatever else the host is doing. `erms` and `fsrm` are hidden so that a copy takes
 * many instructions, as it takes many cycles, rather than one `rep movsb`.
 */
export const DETERMINISTIC: Bed = {
  name: "deterministic",
  meaning: "QEMU -icount shift=0,sleep=off, one CPU, -cpu max,-erms,-fsrm: the guest's clock " +
    "counts instructions, so throughput is cost in CPU alone, and medians repeat under load",
  options: {
    cpus: 1,
    accel: "tcg,thread=single",
    cpuModel: "max,-erms,-fsrm",
    extraQemuArgs: ["-icount", "shift=0,sleep=off"],
  },
};

/** An ordinary guest, with KVM if that works. */
export const WALL_CLOCK: Bed = {
  name: "wall clock",
  meaning: "an ordinary guest of two CPUs in real time: noisy, and slow where it is emulated",
  options: { cpus: 2 },
};

/** The kernel of the benchmarks. */
export const BENCH_KERNEL: KernelName = "7.2";

/** Options of {@linkcode measureOn}. */
export interface BedOptions {
  /**
   * Boot even while another guest runs.
   *
   * @default false
   */
  readonly parallel?: boolean;
  /** Ends the guest when aborted. */
  readonly signal?: AbortSignal;
}

// On a shared machine a full run has taken more than 20 minutes.
const TIMEOUT_MS = 60 * 60_000;
const SILENCE_MS = 5 * 60_000;

/** Runs a plan on a bed, and returns the records. */
export async function measureOn(
  bed: Bed,
  plan: GuestPlan,
  options: BedOptions = {},
): Promise<GuestRecord[]> {
  const resultsDir = await Deno.makeTempDir({ prefix: "ublk-bench-" });
  const records: GuestRecord[] = [];
  const complaints: string[] = [];
  try {
    say(`booting Linux ${BENCH_KERNEL} on the ${bed.name} bed`);
    const result = await bootGuest({
      alone: true,
      ...bed.options,
      ...options,
      kernel: BENCH_KERNEL,
      command: ["deno", "run", "-A", "--no-check", "bench/guest.ts", JSON.stringify(plan)],
      cwd: new URL("..", import.meta.url).pathname,
      env: { NO_COLOR: "1" },
      timeoutMs: TIMEOUT_MS,
      silenceMs: SILENCE_MS,
      resultsDir,
      onLine(line) {
        if (!line.startsWith(RECORD_MARK)) return void complaints.push(line);
        const record: GuestRecord = JSON.parse(line.slice(RECORD_MARK.length));
        records.push(record);
        say(progress(record));
      },
    });
    if (result.status !== 0) {
      const why = result.reason ?? `exit status ${result.status}`;
      throw new VmError(
        `the benchmark failed in the guest: ${why}\n${complaints.slice(-30).join("\n")}\n` +
          result.consoleTail,
      );
    }
    for (const line of result.kernelComplaints) say(`the kernel complained: ${line}`);
    const { name, whyNotKvm } = result.accelerator;
    records.push({
      type: "conditions",
      lines: [`${bed.name} bed: ${bed.meaning} (${name}${whyNotKvm ? `; ${whyNotKvm}` : ""})`],
    });
    return records;
  } finally {
    await Deno.remove(resultsDir, { recursive: true });
  }
}

function progress(record: GuestRecord): string {
  switch (record.type) {
    case "io": {
      const { disk, access, depth, round, iops, serverNs } = record;
      return `${disk} ${access} depth ${depth} round ${round}: ${Math.round(iops)} IOPS` +
        (serverNs === undefined ? "" : `, server ${Math.round(serverNs)} ns per I/O`);
    }
    case "start":
      return `start at depth ${record.depth}: ${Math.round(record.ms)} ms`;
    case "gc":
      return `${record.disk}: ${record.lines.length} collections during ${record.ios} I/Os`;
    case "disk":
      return `${record.disk}: ${JSON.stringify(record.attributes)}`;
    case "conditions":
      return record.lines.join("; ");
  }
}
