/**
 * Compares `ublk-nbd` with nbdkit and qemu-nbd, over a Unix socket on this machine, by two clients: fio
 * with its nbd engine, and nbdcopy. The servers are sampled in turn.
 *
 * @module
 */

import {
  NBD_DISK_BYTES,
  type NbdServer,
  type NbdServerName,
  startNbdServer,
} from "./nbd_servers.ts";
import { processUs, run } from "./process.ts";
import { formatSpread, formatTable, pairwiseRatios, spread } from "./table.ts";

/** The amount of work. */
export interface NbdBenchPlan {
  /** Samples of each server and load. */
  readonly rounds: number;
  /** Requests of 4 KiB of a sample. */
  readonly requests: number;
  /** Passes over the disk of a sample of 256 KiB. */
  readonly passes: number;
  /** Samples before the first that counts: all code of the server is compiled then. */
  readonly warm: number;
}

/** A load, and its client. */
interface Load {
  readonly name: string;
  /** Its goal, as the ratio of ours to theirs. */
  readonly goal: string;
  /** Runs the client. @returns Requests that it has made. */
  readonly run: (uri: string, plan: NbdBenchPlan) => Promise<number>;
}

const KIB = 1024;
const LARGE = 256 * KIB;

const LOADS: readonly Load[] = [
  ...(["randread", "randwrite"] as const).map((access): Load => ({
    name: `fio, ${access.replace("rand", "random ")}, 4 KiB, depth 16`,
    goal: "≥ 0.8",
    run: (uri, { requests }) => fioNbd(uri, access, 4 * KIB, 16, requests),
  })),
  ...(["read", "write"] as const).map((access): Load => ({
    name: `fio, ${access}, 256 KiB, depth 4`,
    goal: "≥ 0.8",
    run: (uri, { passes }) => fioNbd(uri, access, LARGE, 4, passes * NBD_DISK_BYTES / LARGE),
  })),
  {
    name: "nbdcopy to nowhere, 256 KiB",
    goal: "≥ 0.8",
    async run(uri, { passes }) {
      // One connection, as fio has: what is compared is a server's work for one client.
      const how = ["--connections=1", "--requests=16", `--request-size=${LARGE}`];
      for (let pass = 0; pass < passes; pass++) await run("nbdcopy", [...how, uri, "null:"]);
      return passes * NBD_DISK_BYTES / LARGE;
    },
  },
];

/** Ours, and what it is compared with. */
const GROUPS: readonly (readonly [NbdServerName, ...NbdServerName[]])[] = [
  ["ublk-nbd, memory", "nbdkit, memory"],
  ["ublk-nbd, file", "nbdkit, file", "qemu-nbd, file"],
];

async function fioNbd(
  uri: string,
  access: string,
  bytes: number,
  depth: number,
  requests: number,
): Promise<number> {
  const out = await run("fio", [
    ...["--name=bench", "--ioengine=nbd", `--uri=${uri}`, `--size=${NBD_DISK_BYTES}`],
    ...[`--rw=${access}`, `--bs=${bytes}`, `--iodepth=${depth}`, `--number_ios=${requests}`],
    ...["--norandommap", "--random_generator=tausworthe64", `--io_size=${requests * bytes}`],
    ...["--gtod_reduce=1", "--thread", "--output-format=json"],
  ]);
  const { jobs: [job] } = JSON.parse(out.slice(out.indexOf("{\n")));
  const { total_ios } = job[access.replace("rand", "")];
  if (job.error !== 0 || total_ios < requests) {
    throw new Error(`fio did ${total_ios} of ${requests} requests, error ${job.error}`);
  }
  return total_ios;
}

/** One sample. */
export interface NbdSample {
  readonly load: string;
  readonly server: NbdServerName;
  /** Requests per second, with the client's start and end. */
  readonly rate: number;
  /** CPU of the server for a request, in microseconds. */
  readonly cpuUs: number;
}

async function sample(server: NbdServer, load: Load, plan: NbdBenchPlan): Promise<NbdSample> {
  const before = processUs(server.pid);
  const startMs = performance.now();
  const requests = await load.run(server.uri, plan);
  const seconds = (performance.now() - startMs) / 1e3;
  const cpuUs = (processUs(server.pid) - before) / requests;
  return { load: load.name, server: server.name, rate: requests / seconds, cpuUs };
}

/** Takes all samples. The folder is on the filesystem that the files are to be on. */
export async function measureNbd(plan: NbdBenchPlan, folder: string): Promise<NbdSample[]> {
  const samples: NbdSample[] = [];
  for (const names of GROUPS) {
    await using stack = new AsyncDisposableStack();
    const servers: NbdServer[] = [];
    for (const name of names) servers.push(stack.use(await startNbdServer(name, folder)));
    for (const load of LOADS) {
      for (let round = -plan.warm; round < plan.rounds; round++) {
        for (const server of servers) {
          const taken = await sample(server, load, plan);
          if (round >= 0) samples.push(taken);
        }
      }
    }
  }
  return samples;
}

/** The table. Ratios are of neighbours; one of CPU below 1 means that ours takes less. */
export function nbdTable(samples: readonly NbdSample[]): string {
  const of = (server: NbdServerName, { name }: Load) =>
    samples.filter((each) => each.server === server && each.load === name);
  const rows = GROUPS.flatMap(([ours, ...others]) =>
    others.flatMap((theirs) =>
      LOADS.map((load) => {
        const [our, their] = [of(ours, load), of(theirs, load)];
        const ratios = (value: (sample: NbdSample) => number) =>
          formatSpread(spread(pairwiseRatios(our.map(value), their.map(value))));
        const median = (list: NbdSample[], value: (sample: NbdSample) => number) =>
          spread(list.map(value)).median.toFixed(1);
        return [
          `${ours} : ${theirs}`,
          load.name,
          load.goal,
          ratios(({ rate }) => rate),
          ratios(({ cpuUs }) => cpuUs),
          `${median(our, ({ cpuUs }) => cpuUs)} : ${median(their, ({ cpuUs }) => cpuUs)}`,
        ];
      })
    )
  );
  const header = ["ours : theirs", "load", "goal", "rate", "CPU", "CPU µs of a request"];
  return formatTable(header, rows);
}
