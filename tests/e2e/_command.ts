/**
 * Servers that run as commands, in child processes, for the tests of `cmd/`.
 *
 * @module
 */

import { assert } from "@std/assert";
import { commandLine, type CommandName, ROOT, runCommand } from "../integration/_run_command.ts";

/** How long a server gets for anything: the guest may be emulated, by a machine with other work. */
export const LIMIT_MS = 180_000;
/** How long a program's output may be open once it has ended: a child of its may have it too. */
const OUTPUT_MS = 5_000;

/** Resolves after some time. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Rejects when it takes longer than the limit. */
export async function within<T>(promise: Promise<T>, what: string, limitMs = LIMIT_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not done in ${limitMs} ms`)), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A command that runs. Disposing of it kills it and removes every device. */
export class Running implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;
  readonly #hasStdin: boolean;
  readonly #ignoresStderr: boolean;
  #stderr = "";
  #stdout = "";

  /** Starts program and arguments in the project's folder. */
  constructor(
    [program, ...args]: readonly string[],
    options: { stdin?: "piped"; ignoreStderr?: boolean } = {},
  ) {
    this.#hasStdin = options.stdin === "piped";
    this.#ignoresStderr = options.ignoreStderr === true;
    this.#child = new Deno.Command(program, {
      args,
      cwd: ROOT,
      stdin: options.stdin ?? "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#reading = Promise.all([
      this.#read(this.#child.stdout, (text) => this.#stdout += text),
      this.#ignoresStderr ? undefined : this.#read(
        this.#child.stderr,
        (text) => this.#stderr += text,
      ),
    ]);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>, take: (text: string) => void) {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) take(text);
  }

  /** Its number. */
  get pid(): number {
    return this.#child.pid;
  }

  /** What has come on stdout so far. */
  get stdout(): string {
    return this.#stdout;
  }

  /** What has come on stderr so far. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Resolves with the first line of stdout; rejects if the program ends without one. */
  async firstLine(): Promise<string> {
    const endMs = performance.now() + LIMIT_MS;
    let ended = false;
    this.#child.status.then(() => ended = true);
    while (!this.#stdout.includes("\n")) {
      if (ended) await this.#reading;
      assert(!ended && performance.now() < endMs, `no line on stdout; stderr: ${this.#stderr}`);
      await sleep(5);
    }
    return this.#stdout.split("\n")[0].trimEnd();
  }

  /** Types on its stdin. */
  async type(text: string): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(text));
    writer.releaseLock();
  }

  /** Sends a signal. */
  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /**
   * Resolves with the exit code, which for a signal is 128 and its number. What the program printed
   * is there by then.
   */
  async exitCode(limitMs = LIMIT_MS): Promise<number> {
    const { code } = await within(this.#child.status, "exit", limitMs);
    await within(this.#reading, "output", OUTPUT_MS).catch(() => {});
    return code;
  }

  /** Leaves nothing behind, however the test ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    if (this.#ignoresStderr) await this.#child.stderr.cancel();
    if (this.#hasStdin) await this.#child.stdin.close().catch(() => {});
    await this.#reading.catch(() => {});
    await deleteAll();
  }
}

/** Deletes every device and record, by a command that is only started where there are some. */
export async function deleteAll(): Promise<void> {
  if (nodes().length + records().length > 0) await runCommand("ublk", ["del", "--force", "-a"]);
}

/** Starts a command as its task in `deno.json` does. */
export function start(name: CommandName, ...args: string[]): Running {
  return new Running(commandLine(name, args));
}

/** Runs a program to its end. */
export async function run(program: string, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, stdin: "null" })
    .output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** The nodes of ublk devices there are. */
export function nodes(): string[] {
  return [...Deno.readDirSync("/dev")].map(({ name }) => name).filter((name) =>
    /^ublk[bc]\d/.test(name)
  ).sort();
}

/** What there is of records, sockets and logs of root's devices. */
export function records(): string[] {
  try {
    return [...Deno.readDirSync("/run/ublk")].map(({ name }) => name).sort();
  } catch {
    return [];
  }
}

/** The rows of `ublk list --json`. */
export async function list(): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await runCommand("ublk", ["list", "--json"]);
  assert(code === 0, stderr);
  return JSON.parse(stdout);
}

/**
 * Random reads and writes, many at a time, for longer than a server gets to end: it must end under
 * them. In threads, so that they go with the process when that is killed.
 */
export function heavyLoad(path: string): Running {
  return new Running([
    "fio",
    "--name=heavy",
    `--filename=${path}`,
    "--direct=1",
    "--rw=randrw",
    "--bs=4k",
    "--iodepth=32",
    "--numjobs=2",
    "--thread",
    "--ioengine=libaio",
    "--time_based",
    `--runtime=${2 * LIMIT_MS / 1000}`,
  ]);
}

/** Resolves once the disk's I/O counters move. */
export async function underLoad(path: string): Promise<void> {
  const file = `/sys/block/${path.split("/").at(-1)}/stat`;
  const endMs = performance.now() + LIMIT_MS;
  const inFlight = async () => Number((await Deno.readTextFile(file)).trim().split(/\s+/)[8]);
  while (await inFlight() < 8) {
    assert(performance.now() < endMs, "the load never arrived");
    await sleep(20);
  }
}
