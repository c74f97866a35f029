/**
 * The command `ublk-mem` as a child process: started, and gone for certain in the end.
 *
 * @module
 */
import { BY_TASK } from "../cmd/line/args.ts";
import config from "../deno.json" with { type: "json" };
import { DemoError, lastLine, run, spawn } from "./program.ts";

/** The project's folder. */
export const PROJECT: string = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** Start-up, and the way out, each on a slow machine with much to do. */
const START_MS = 60_000;
const STOP_MS = 30_000;

/** What `ublk-mem --json` tells. */
export interface DiskInfo {
  readonly id: number;
  readonly path: string;
  readonly charPath: string;
  readonly size: number;
  readonly queues: number;
  readonly depth: number;
}

type Task = "ublk-mem" | "ublk";

/** The words of a task of deno.json, after `deno`: what the demo runs is what a person would. */
function taskWords(task: Task): string[] {
  return config.tasks[task].command.split(" ").slice(1).filter((word) => word !== BY_TASK);
}

/** Runs the command `ublk`. */
export function ublk(args: readonly string[], signal?: AbortSignal): Promise<string> {
  const options = { cwd: PROJECT, signal, limitMs: START_MS };
  return run(Deno.execPath(), [...taskWords("ublk"), ...args], options).catch((error) => {
    // The line begins with the program's name already.
    if (error instanceof DemoError) error.message = error.message.replace(/^deno run: /, "");
    throw error;
  });
}

/** A `ublk-mem` that serves. */
export class Server {
  readonly #child: Deno.ChildProcess;
  readonly #stderr: Promise<string>;
  #info: DiskInfo | undefined;
  #ended: Deno.CommandStatus | undefined;

  private constructor(args: readonly string[]) {
    this.#child = spawn(Deno.execPath(), [...taskWords("ublk-mem"), ...args], PROJECT);
    this.#stderr = new Response(this.#child.stderr).text();
    this.#child.status.then((status) => this.#ended = status);
  }

  /** Starts it; resolves once the disk can be opened. With a failure nothing is left. */
  static async start(args: readonly string[], signal?: AbortSignal): Promise<Server> {
    signal?.throwIfAborted();
    const server = new Server([...args, "--json"]);
    try {
      await server.#ready(signal);
      return server;
    } catch (error) {
      await server.end();
      throw error;
    }
  }

  /** The disk. */
  get disk(): DiskInfo {
    if (this.#info === undefined) throw new DemoError("ublk-mem: the disk is not there yet");
    return this.#info;
  }

  async #ready(signal?: AbortSignal): Promise<void> {
    const tooLate = AbortSignal.timeout(START_MS);
    const either = signal ? AbortSignal.any([signal, tooLate]) : tooLate;
    const { promise: aborted, resolve: abort } = Promise.withResolvers<undefined>();
    either.addEventListener("abort", () => abort(undefined));
    const line = await Promise.race([firstLine(this.#child.stdout), aborted]);
    signal?.throwIfAborted();
    if (line === undefined) throw new DemoError(`ublk-mem: no disk after ${START_MS / 1000} s`);
    if (line !== "") {
      this.#info = JSON.parse(line);
      return;
    }
    throw new DemoError(lastLine(await this.#stderr) || "ublk-mem: it ended without a word");
  }

  /** Asks it to stop, and checks that it did so as it should. */
  async stop(): Promise<void> {
    if (await this.#interrupt()) {
      const code = this.#ended?.code;
      if (code === 0) return;
      throw new DemoError(lastLine(await this.#stderr) || `ublk-mem: exit status ${code}`);
    }
    throw new DemoError(`ublk-mem: still there ${STOP_MS / 1000} s after SIGINT`);
  }

  /** Ends it by all means, and deletes what it leaves. Never throws. */
  async end(): Promise<void> {
    if (this.#ended?.code === 0) return;
    if (await this.#interrupt()) {
      if (this.#ended?.code === 0 || this.#info === undefined) return;
    } else {
      this.#signal("SIGKILL");
    }
    if (this.#info === undefined) return;
    await ublk(["del", "--force", "-n", `${this.#info.id}`]).catch(() => {
      // It went with its server.
    });
  }

  /** Whether it ended in time after a SIGINT. */
  async #interrupt(): Promise<boolean> {
    this.#signal("SIGINT");
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tooLong = new Promise<void>((resolve) => timer = setTimeout(resolve, STOP_MS));
    await Promise.race([this.#child.status, tooLong]);
    clearTimeout(timer);
    return this.#ended !== undefined;
  }

  #signal(name: Deno.Signal): void {
    try {
      this.#child.kill(name);
    } catch {
      // It has ended by itself.
    }
  }
}

/** The first line of a stream, or "" if it has none; the rest is read and dropped. */
async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { done, value } = await reader.read();
    if (done) return text;
    text += value;
  }
  (async () => {
    while (!(await reader.read()).done);
  })();
  return text.split("\n")[0];
}
