/**
 * Runs programs with a time limit, and ends all running ones on demand.
 *
 * Each program leads a process group of its own: its children (a VM, a test's servers) get the
 * signal too. It also means that a Ctrl-C at the terminal reaches only this process, which then
 * passes it on through {@link stopAll}.
 *
 * @module
 */
import { passOnLines } from "./lanes.ts";

/** The end of a program. */
export interface Ran {
  /** Exit code, or 128 + the signal's number if it was killed. */
  code: number;
  /** Whether it was ended by the time limit. */
  timedOut: boolean;
}

/** Time between SIGTERM and SIGKILL, in which a program may take down a VM or a device. */
const GRACE_MS = 15_000;

/** Time in which output may still arrive after the end of its program. */
const LINGER_MS = 10_000;

const running = new Set<Deno.ChildProcess>();

/** Whether this run is over: nothing is started any more. */
let isOver = false;

/**
 * Runs a program with this process's output, and without input. With a label its output comes by
 * whole lines, each with the label before it, as it must where others run at the same time.
 */
export async function run(
  program: string,
  args: readonly string[],
  limitMs: number,
  label?: string,
  lingerMs = LINGER_MS,
): Promise<Ran> {
  const stream = label === undefined ? "inherit" : "piped";
  const child = start(program, args, stream);
  if (label === undefined) return await ended(child, limitMs);
  return await ended(child, limitMs, {
    read: (stream) => passOnLines(stream, label),
    lingerMs,
  });
}

/** {@linkcode run} that keeps the program's output, both streams as they came. */
export async function runQuietly(
  program: string,
  args: readonly string[],
  limitMs: number,
  lingerMs = LINGER_MS,
): Promise<Ran & { output: string }> {
  const child = start(program, args, "piped");
  let output = "";
  const read = async (stream: Output) => {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) output += text;
  };
  const ran = await ended(child, limitMs, { read, lingerMs });
  return { ...ran, output };
}

function start(program: string, args: readonly string[], stream: "inherit" | "piped") {
  if (isOver) throw new Error("interrupted");
  return new Deno.Command(program, {
    ...{ args: [...args], stdin: "null", stdout: stream, stderr: stream, detached: true },
    env: Deno.stdout.isTerminal() ? { FORCE_COLOR: "1" } : { NO_COLOR: "1" },
  }).spawn();
}

type Output = ReadableStream<Uint8Array<ArrayBuffer>>;

/** Waits for the end of a program and of its output, and ends it when its time is up. */
async function ended(
  child: Deno.ChildProcess,
  limitMs: number,
  outputs?: { read(stream: Output): Promise<void>; lingerMs: number },
): Promise<Ran> {
  running.add(child);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    stop(child);
  }, limitMs);
  const abort = new AbortController();
  // Attached at once, so that a failure while the program runs is not an unhandled one.
  const reading = outputs && Promise.allSettled(
    [child.stdout, child.stderr].map((stream) => {
      return outputs.read(stream.pipeThrough(new TransformStream(), abort));
    }),
  );
  try {
    const { code } = await child.status;
    if (outputs === undefined) return { code, timedOut };
    // What it left behind in its group may hold its output open; so may a daemon, for ever.
    signal(child, "SIGKILL");
    const lingering = setTimeout(() => abort.abort(), outputs.lingerMs);
    const results = await reading!;
    clearTimeout(lingering);
    const failure = results.find((result) => result.status === "rejected");
    if (failure !== undefined && !abort.signal.aborted) throw failure.reason;
    return { code, timedOut };
  } finally {
    clearTimeout(timer);
    running.delete(child);
  }
}

/** Ends all running programs, by SIGTERM, or by SIGKILL if `force`; no other one starts any more. */
export function stopAll(force = false): void {
  isOver = true;
  for (const child of running) {
    if (force) signal(child, "SIGKILL");
    else stop(child);
  }
}

function stop(child: Deno.ChildProcess): void {
  signal(child, "SIGTERM");
  const timer = setTimeout(() => signal(child, "SIGKILL"), GRACE_MS);
  // End processes that the leader left behind in its group.
  child.status.finally(() => {
    clearTimeout(timer);
    signal(child, "SIGKILL");
  });
}

function signal(child: Deno.ChildProcess, name: "SIGTERM" | "SIGKILL"): void {
  try {
    Deno.kill(-child.pid, name);
  } catch (error) {
    // ESRCH: no process is left in the group.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
