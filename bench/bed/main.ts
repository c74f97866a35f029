/**
 * The bed on real hardware: what a request costs a server on this machine's own kernel, without ublk.
 *
 * Our loops and handlers serve a client in another process through this machine's io_uring. A futex
 * wait takes the place of FETCH and a futex wake that of the answer, so that sleeping, waking and
 * caches are real. A server in C does the same. See `docs/benchmarks.md`.
 *
 * @module
 */

import { TextLineStream } from "@std/streams";
import { formatSpread, formatTable, spread } from "../table.ts";
import type { Kind } from "./kinds.ts";
import { BED_BYTES } from "./slots.ts";

/** The amount of work. */
export interface BedPlan {
  /** Samples of each server, taken in turn. */
  readonly rounds: number;
  /** Requests before the first sample: all code of the server is compiled then. */
  readonly warm: number;
  /** Requests of a sample. */
  readonly requests: number;
}

/** What a server of the bed does: in C, or in TypeScript in one of the ways. */
export type Server = "c" | Kind;

/** One sample. */
export interface BedSample {
  readonly server: Server;
  readonly depth: number;
  readonly operation: "read" | "write";
  /** Wall-clock microseconds per request. */
  readonly wallUs: number;
  /** Microseconds of CPU per request, of all the server's threads. */
  readonly cpuUs: number;
  /** The same by the names of the threads. */
  readonly cpuUsByThread: Readonly<Record<string, number>>;
  /** Latencies, in microseconds. */
  readonly p50Us: number;
  readonly p99Us: number;
}

/** A running server, and its client. */
export class Bed implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #file: string;
  readonly #client: string;
  readonly #server: Server;
  readonly #depth: number;
  /** What the server has printed. */
  readonly lines: string[] = [];

  private constructor(
    child: Deno.ChildProcess,
    file: string,
    client: string,
    server: Server,
    depth: number,
  ) {
    [this.#child, this.#file, this.#client] = [child, file, client];
    [this.#server, this.#depth] = [server, depth];
  }

  /** Starts a server that has armed all its slots. `programs` is the folder of {@linkcode build}. */
  static async start(
    programs: string,
    server: Server,
    depth: number,
    { v8Flags, url }: { v8Flags?: string; url?: string } = {},
  ): Promise<Bed> {
    const file = await Deno.makeTempFile({ dir: "/dev/shm", prefix: "ublk-bed-" });
    await Deno.truncate(file, BED_BYTES);
    const script = new URL("server.ts", import.meta.url).pathname;
    const [program, ...args] = server === "c" ? [`${programs}/server`, file, `${depth}`] : [
      ...[Deno.execPath(), "run", "-A", "--no-check"],
      ...(v8Flags === undefined ? [] : [`--v8-flags=${v8Flags}`]),
      ...[script, file, `${depth}`, server, url ?? ""],
    ];
    const child = new Deno.Command(program, { args, stdout: "piped", stderr: "inherit" }).spawn();
    const bed = new Bed(child, file, `${programs}/client`, server, depth);
    await bed.#ready();
    return bed;
  }

  async #ready(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const read = async () => {
      const lines = this.#child.stdout.pipeThrough(new TextDecoderStream())
        .pipeThrough(new TextLineStream());
      for await (const line of lines) {
        this.lines.push(line);
        if (line === "ready") resolve();
      }
      reject(new Error(`the bed's server (${this.#server}) ended`));
    };
    read();
    await promise;
  }

  /** Has the client make requests. */
  async run(requests: number, operation: "read" | "write"): Promise<BedSample> {
    const before = cpuNs(this.#child.pid);
    const { success, stdout } = await new Deno.Command(this.#client, {
      args: [this.#file, `${this.#depth}`, `${requests}`, operation],
      stderr: "inherit",
    }).output();
    if (!success) throw new Error("the bed's client failed");
    const after = cpuNs(this.#child.pid);
    const [ns, p50, p99] = new TextDecoder().decode(stdout).split(" ").map(Number);
    const cpuUsByThread: Record<string, number> = {};
    let cpuUs = 0;
    for (const [thread, [name, spent]] of after) {
      const us = (spent - (before.get(thread)?.[1] ?? 0)) / 1e3 / requests;
      cpuUsByThread[name] = (cpuUsByThread[name] ?? 0) + us;
      cpuUs += us;
    }
    return {
      ...{ server: this.#server, depth: this.#depth, operation, cpuUs, cpuUsByThread },
      ...{ wallUs: ns / 1e3 / requests, p50Us: p50 / 1e3, p99Us: p99 / 1e3 },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
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
export async function build(): Promise<string> {
  const programs = await Deno.makeTempDir({ prefix: "ublk-bed-" });
  for (const name of ["client", "server"]) {
    const source = new URL(`${name}.c`, import.meta.url).pathname;
    const { success } = await new Deno.Command("gcc", {
      args: ["-O2", "-Wall", "-o", `${programs}/${name}`, source],
      stdout: "inherit",
      stderr: "inherit",
    }).output();
    if (!success) throw new Error("gcc could not compile the bed's programs: see above");
  }
  return programs;
}

/** Measures some servers at one depth, in turn. */
export async function measureBed(
  plan: BedPlan,
  servers: readonly Server[],
  depth: number,
): Promise<BedSample[]> {
  const programs = await build();
  const samples: BedSample[] = [];
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(programs, { recursive: true }));
  const web = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    () => new Response("x"),
  );
  stack.defer(() => web.shutdown());
  const url = `http://127.0.0.1:${web.addr.port}/`;
  const beds: Bed[] = [];
  for (const server of servers) {
    beds.push(stack.use(await Bed.start(programs, server, depth, { url })));
  }
  for (const [nth, bed] of beds.entries()) {
    const slow = servers[nth] === "timer" || servers[nth] === "fetch";
    await bed.run(slow ? plan.warm / 20 : plan.warm, "read");
    await bed.run(slow ? plan.warm / 20 : plan.warm, "write");
  }
  for (let round = 0; round < plan.rounds; round++) {
    for (const [nth, bed] of beds.entries()) {
      const slow = servers[nth] === "timer" || servers[nth] === "fetch";
      const requests = slow ? plan.requests / 20 : plan.requests;
      samples.push(await bed.run(requests, "read"), await bed.run(requests, "write"));
    }
  }
  return samples;
}

/** A table of samples; ratios are to C's at the same depth and operation, by medians. */
export function bedTable(samples: readonly BedSample[]): string {
  const groups = Map.groupBy(samples, (s) => `${s.depth} ${s.operation} ${s.server}`);
  const rows = [...groups].map(([key, group]) => {
    const { depth, operation, server } = group[0];
    const c = groups.get(`${depth} ${operation} c`);
    const cpu = spread(group.map(({ cpuUs }) => cpuUs));
    const ratio = c === undefined ? "–" : (cpu.median / spread(c.map((s) => s.cpuUs)).median)
      .toFixed(2);
    void key;
    return [
      server,
      `${operation}, depth ${depth}`,
      formatSpread(cpu, 2),
      ratio,
      spread(group.map(({ wallUs }) => wallUs)).median.toFixed(2),
      spread(group.map(({ p50Us }) => p50Us)).median.toFixed(1),
      spread(group.map(({ p99Us }) => p99Us)).median.toFixed(1),
      Object.entries(group[0].cpuUsByThread).filter(([, us]) => us > 0.02)
        .map(([name, us]) => `${name} ${us.toFixed(2)}`).join(", "),
    ];
  });
  return formatTable(
    ["server", "4 KiB", "CPU µs", "× C", "wall µs", "p50 µs", "p99 µs", "CPU by thread, µs"],
    rows,
  );
}

if (import.meta.main) {
  const servers = Deno.args[2] !== undefined ? Deno.args[2].split(",") as Server[] : [
    ...["c", "synchronous", "unflagged", "async", "awaits", "timer", "fetch"] as const,
  ];
  const n = Number(Deno.args[0] ?? 60_000);
  for (const depth of (Deno.args[1] ?? "1,32").split(",").map(Number)) {
    const plan = { rounds: 3, warm: n, requests: n };
    console.log(bedTable(await measureBed(plan, servers, depth)));
  }
}
