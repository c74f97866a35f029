/**
 * Measures the CPU time of a server per request, on this machine's own kernel and without ublk.
 *
 * Our loops and handlers serve a client in another process through this machine's io_uring. A futex
 * wait takes the place of FETCH and a futex wake that of the answer (`bed/slots.ts`), so that
 * sleeping, waking and caches are real. A server in C does the same. See `docs/benchmarks.md`.
 *
 * @module
 */

import { TextLineStream } from "@std/streams";
import type { Kind } from "./bed/kinds.ts";
import { allocatedBytes, COUNTING_FLAGS, settle } from "./garbage.ts";
import { BED_BYTES } from "./bed/slots.ts";
import { monotonicUs } from "../uring/libc.ts";
import { formatSpread, formatTable, spread } from "./table.ts";

/** The amount of work. */
export interface HardwarePlan {
  /** Samples of each server, taken in turn. */
  readonly rounds: number;
  /** Requests before the first sample: all code of the server is compiled then. */
  readonly warm: number;
  /** Requests of a sample. */
  readonly requests: number;
  /** Requests during which garbage is measured; 0: it is not. */
  readonly garbageRequests: number;
  /** For so many milliseconds the disk's own timers, sockets and fetches are measured. */
  readonly probeMs: number;
}

/** A server: the one in C, or ours with a disk that answers in one of the ways. */
export type Server = "C" | Kind;

/** All servers, in the order of the table. */
export const SERVERS: readonly Server[] = [
  ...["C", "synchronous", "unflagged", "async", "awaits", "timer", "fetch"] as const,
];
/** Requests in flight. */
export const DEPTHS: readonly number[] = [1, 32];
/** Those whose requests wait for something: they get a twentieth of the requests. */
const WAITING: readonly Server[] = ["timer", "fetch"];
/**
 * Server and client share a CPU. On two, most of the time is that of an idle CPU's waking, which in a
 * virtual machine is many times the server's.
 */
const ON_ONE_CPU: readonly string[] = ["--cpu-list", "0"];
/** Those whose garbage is measured. */
const PROMPT: readonly Server[] = ["synchronous", "unflagged", "async", "awaits"];
/** With it, the server also tells how late its timers, sockets and fetches are. */
const PROBED: Server = "async";

/** One sample. */
export interface HardwareSample {
  readonly server: Server;
  readonly depth: number;
  readonly operation: "read" | "write";
  /** Wall-clock microseconds per request. */
  readonly wallUs: number;
  /** Microseconds of CPU per request, by the names of the server's threads. */
  readonly cpuUs: Readonly<Record<string, number>>;
  /** The median of the latencies, in microseconds. */
  readonly p50Us: number;
  /** The 99th percentile of the latencies, in microseconds. */
  readonly p99Us: number;
}

/**
 * How late a disk's own work is under full load: timers of 1 ms, reads of what another process sent
 * through a socket, and a `fetch` of a byte from another process.
 */
export interface Lateness {
  readonly depth: number;
  /** Of timers, reads and fetches. */
  readonly kinds: readonly {
    /** The median of the 99th percentiles of each half of a second, in milliseconds. */
    readonly p99Ms: number;
    /** The latest of all, in milliseconds. */
    readonly mostMs: number;
    /** Their number. */
    readonly count: number;
  }[];
}

/** The garbage of one server. */
export interface Garbage {
  readonly server: Server;
  readonly depth: number;
  /** Bytes per READ. */
  readonly bytes: number;
}

/** The samples, the garbage, and what the disk's own work suffered. */
export interface HardwareRecord {
  readonly samples: HardwareSample[];
  readonly garbage: Garbage[];
  readonly lateness: Lateness[];
}

/** A running server, and its client. */
class Bed implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #file: string;
  readonly #client: string;
  readonly #server: Server;
  readonly #depth: number;
  /** The lines that the server has printed so far. */
  readonly lines: string[] = [];
  /** Aborted when the server ends, since its client would wait for it for ever. */
  readonly #end = new AbortController();

  constructor(
    programs: string,
    server: Server,
    depth: number,
    urls: readonly string[],
    flags: readonly string[] = [],
  ) {
    [this.#server, this.#depth, this.#client] = [server, depth, `${programs}/client`];
    this.#file = Deno.makeTempFileSync({ dir: "/dev/shm", prefix: "ublk-bed-" });
    Deno.truncateSync(this.#file, BED_BYTES);
    const script = new URL("bed/server.ts", import.meta.url).pathname;
    const words = server === "C" ? [`${programs}/server`, this.#file, `${depth}`] : [
      Deno.execPath(),
      "run",
      "-A",
      "--no-check",
      ...flags,
      script,
      this.#file,
      `${depth}`,
      server,
      ...urls,
    ];
    this.#child = new Deno.Command("taskset", {
      args: [...ON_ONE_CPU, ...words],
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#read();
  }

  async #read(): Promise<void> {
    const lines = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) this.lines.push(line);
    this.#end.abort();
  }

  /** Resolves once the server has armed all its slots. */
  async ready(): Promise<void> {
    while (!this.lines.includes("ready")) {
      this.#check();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Throws if the server has ended. */
  #check(): void {
    if (!this.#end.signal.aborted) return;
    throw new Error(`the bed's server (${this.#server}) ended: see above`);
  }

  /** Has the client make requests. */
  async run(requests: number, operation: "read" | "write"): Promise<HardwareSample> {
    this.#check();
    const before = cpuNs(this.#child.pid);
    const { success, stdout } = await new Deno.Command("taskset", {
      args: [...ON_ONE_CPU, this.#client, this.#file, `${this.#depth}`, `${requests}`, operation],
      stderr: "inherit",
      signal: this.#end.signal,
    }).output();
    this.#check();
    if (!success) throw new Error("the bed's client failed: see above");
    const cpuUs: Record<string, number> = {};
    for (const [thread, [name, ns]] of cpuNs(this.#child.pid)) {
      const spentUs = (ns - (before.get(thread)?.[1] ?? 0)) / 1e3;
      cpuUs[name] = (cpuUs[name] ?? 0) + spentUs / requests;
    }
    const [ns, p50, p99] = new TextDecoder().decode(stdout).split(" ").map(Number);
    return {
      ...{ server: this.#server, depth: this.#depth, operation, cpuUs },
      ...{ wallUs: ns / 1e3 / requests, p50Us: p50 / 1e3, p99Us: p99 / 1e3 },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#end.signal.aborted) this.#child.kill("SIGKILL");
    await this.#child.status;
    await Deno.remove(this.#file);
  }
}

/** By thread: its name, and the nanoseconds of CPU so far. */
function cpuNs(pid: number): Map<string, [name: string, ns: number]> {
  const found = new Map<string, [string, number]>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const dir = `/proc/${pid}/task/${name}`;
    try {
      const [ns] = Deno.readTextFileSync(`${dir}/schedstat`).split(" ");
      found.set(name, [Deno.readTextFileSync(`${dir}/comm`).trim(), Number(ns)]);
    } catch {
      // The thread has ended.
    }
  }
  return found;
}

/** Compiles the programs in C. Returns their folder, which the caller removes. */
async function build(): Promise<string> {
  const programs = await Deno.makeTempDir({ prefix: "ublk-bed-" });
  for (const name of ["client", "server"]) {
    const source = new URL(`bed/${name}.c`, import.meta.url).pathname;
    const { success } = await new Deno.Command("gcc", {
      args: ["-O2", "-Wall", "-o", `${programs}/${name}`, source],
      stdout: "inherit",
      stderr: "inherit",
    }).output().catch((error) => {
      throw new Error(`gcc does not start (${error.message}): apt-get install gcc libc6-dev`);
    });
    if (!success) throw new Error("gcc could not compile the bed's programs: see above");
  }
  return programs;
}

/** Answers each byte from a socket with the time, and each request of a fetch with a byte. */
function startPeers(): AsyncDisposable & { urls: string[] } {
  const echo = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const serveEcho = async () => {
    for await (const connection of echo) {
      answerTimes(connection).catch(() => {});
    }
  };
  serveEcho();
  const options = { port: 0, hostname: "127.0.0.1", onListen() {} };
  const web = Deno.serve(options, () => new Response("x"));
  return {
    urls: [`http://127.0.0.1:${web.addr.port}/`, `${(echo.addr as Deno.NetAddr).port}`],
    async [Symbol.asyncDispose]() {
      echo.close();
      await web.shutdown();
    },
  };
}

/** Answers each byte with the time of the answer, so that only its receiver's lateness counts. */
async function answerTimes(connection: Deno.Conn): Promise<void> {
  const byte = new Uint8Array(1);
  const time = new Float64Array(1);
  while (await connection.read(byte) !== null) {
    time[0] = monotonicUs();
    await connection.write(new Uint8Array(time.buffer));
  }
}

/** Measures all servers, in turn at each depth. */
export async function measureHardware(
  plan: HardwarePlan,
  servers: readonly Server[] = SERVERS,
  depths: readonly number[] = DEPTHS,
): Promise<HardwareRecord> {
  const record: HardwareRecord = { samples: [], garbage: [], lateness: [] };
  const programs = await build();
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(programs, { recursive: true }));
  const { urls } = stack.use(startPeers());
  const share = (server: Server, requests: number) =>
    WAITING.includes(server) ? Math.ceil(requests / 20) : requests;
  for (const depth of depths) {
    await using beds = new AsyncDisposableStack();
    const running = servers.map((server) => {
      return { server, bed: beds.use(new Bed(programs, server, depth, urls.slice(0, 1))) };
    });
    for (const { server, bed } of running) {
      await bed.ready();
      for (const operation of ["read", "write"] as const) {
        await bed.run(share(server, plan.warm), operation);
      }
    }
    for (let round = 0; round < plan.rounds; round++) {
      for (const { server, bed } of running) {
        for (const operation of ["read", "write"] as const) {
          record.samples.push(await bed.run(share(server, plan.requests), operation));
        }
      }
    }
    for (const server of servers.filter((each) => PROMPT.includes(each))) {
      if (plan.garbageRequests === 0) continue;
      record.garbage.push({ server, depth, bytes: await garbage(plan, programs, server, depth) });
    }
    record.lateness.push(await lateness(plan, programs, depth, urls));
  }
  return record;
}

/** Bytes of garbage per request that moves no data. */
async function garbage(
  plan: HardwarePlan,
  programs: string,
  server: Server,
  depth: number,
): Promise<number> {
  const flags = [`--v8-flags=${COUNTING_FLAGS}`];
  await using bed = new Bed(programs, server, depth, ["still"], flags);
  await bed.ready();
  await bed.run(plan.garbageRequests, "read");
  await settle();
  const before = bed.lines.length;
  await bed.run(plan.garbageRequests, "read");
  await settle();
  return allocatedBytes(bed.lines.slice(before)) / plan.garbageRequests;
}

async function lateness(
  plan: HardwarePlan,
  programs: string,
  depth: number,
  urls: readonly string[],
): Promise<Lateness> {
  await using bed = new Bed(programs, PROBED, depth, urls);
  await bed.ready();
  await bed.run(plan.warm, "read");
  const before = bed.lines.length;
  // The server tells twice a second.
  for (const endMs = performance.now() + plan.probeMs; performance.now() < endMs;) {
    await bed.run(plan.requests, "read");
  }
  const probes = bed.lines.slice(before).map((line) => line.split(" ").map(Number));
  const kinds = [0, 3, 6].map((at) => ({
    p99Ms: spread(probes.length > 0 ? probes.map((probe) => probe[at]) : [0]).median,
    mostMs: Math.max(0, ...probes.map((probe) => probe[at + 1])),
    count: probes.reduce((sum, probe) => sum + probe[at + 2], 0),
  }));
  return { depth, kinds };
}

/** The tables of a record. Ratios are to C's, at the same depth and operation, by neighbours. */
export function hardwareTables({ samples, garbage, lateness }: HardwareRecord): string {
  const total = ({ cpuUs }: HardwareSample) =>
    Object.values(cpuUs).reduce((sum, us) => sum + us, 0);
  const groups = Map.groupBy(samples, (s) => `${s.operation}, depth ${s.depth}, ${s.server}`);
  const median = (group: HardwareSample[], value: (sample: HardwareSample) => number) =>
    spread(group.map(value)).median;
  const rows = [...groups.values()].map((group) => {
    const { server, operation, depth } = group[0];
    const c = groups.get(`${operation}, depth ${depth}, C`);
    const ratios = c?.map((sample, round) => total(group[round]) / total(sample));
    const names = Object.keys(group[0].cpuUs);
    return [
      server,
      `${operation}, depth ${depth}`,
      formatSpread(spread(group.map(total))),
      ratios === undefined || server === "C" ? "–" : formatSpread(spread(ratios)),
      median(group, ({ wallUs }) => wallUs).toFixed(2),
      median(group, ({ p50Us }) => p50Us).toFixed(1),
      median(group, ({ p99Us }) => p99Us).toFixed(1),
      names.map((name) => [name, median(group, ({ cpuUs }) => cpuUs[name] ?? 0)] as const)
        .filter(([, us]) => us >= 0.01)
        .map(([name, us]) => `${name} ${us.toFixed(2)}`).join(", "),
    ];
  });
  const made = garbage.map(({ server, depth, bytes }) => {
    return [server, `read, depth ${depth}`, bytes.toFixed(0)];
  });
  const late = lateness.map(({ depth, kinds }) => [
    `${PROBED}, depth ${depth}`,
    ...kinds.map(({ p99Ms, mostMs, count }) =>
      `${p99Ms.toFixed(1)} / ${mostMs.toFixed(1)} of ${count}`
    ),
  ]);
  return [
    formatTable(
      ["server", "4 KiB", "CPU µs", "× C", "wall µs", "p50 µs", "p99 µs", "CPU µs by thread"],
      rows,
    ),
    formatTable(["server", "4 KiB", "garbage, bytes"], made),
    formatTable(
      ["late under full load, p99 / latest, ms", "timer", "read of a socket", "fetch"],
      late,
    ),
  ].join("\n\n");
}
