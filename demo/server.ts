/**
 * Runs the command `ublk-mem` as a child process, and makes sure that it ends.
 *
 * @module
 */
import { BY_TASK } from "../cmd/line/args.ts";
import config from "../deno.json" with { type: "json" };
import { DemoError, lastLine, run, spawn } from "./program.ts";

/** The project's folder. */
export const PROJECT: string = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** Time limits of start and stop, long enough for a slow and busy machine. */
const START_MS = 60_000;
const STOP_MS = 30_000;

/** The output of `ublk-mem --json`. */
export interface DiskInfo {
  readonly id: number;
  readonly path: string;
  readonly charPath: string;
  readonly size: number;
  readonly queues: number;
  readonly depth: number;
}

type Task = "ublk-mem" | "ublk";

/** The arguments to `deno` of a task in deno.json, so that the demo runs what a user would. */
function taskWords(task: Task): string[] {
  return config.tasks[task].command.split(" ").slice(1).filter((word) => word !== BY_TASK);
}

/** Runs the command `ublk`. */
export function ublk(args: readonly string[], signal?: AbortSignal): Promise<string> {
  const options = { cwd: PROJECT, signal, limitMs: START_MS };
  return run(Deno.execPath(), [...taskWords("ublk"), ...args], options).catch((error) => {
    // The message already starts with the program's name.
    if (error instanceof DemoError) error.message = error.message.replace(/^deno run: /, "");
    throw error;
  });
}

/** A running `ublk-mem`. */
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

  /** Starts the server; resolves once the disk can be opened. A failure leaves nothing behind. */
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

  /** The served disk. */
  get disk(): DiskInfo {
    if (this.#info === undefined) throw new DemoError("ublk-mem: the disk does not exist yet");
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
    throw new DemoError(lastLine(await this.#stderr) || "ublk-mem: it ended without a message");
  }

  /** Asks the server to stop, and checks its exit status. */
  async stop(): Promise<void> {
    if (await this.#interrupt()) {
      const code = this.#ended?.code;
      if (code === 0) return;
      throw new DemoError(lastLine(await this.#stderr) || `ublk-mem: exit status ${code}`);
    }
    throw new DemoError(`ublk-mem: still running ${STOP_MS / 1000} s after SIGINT`);
  }

  /** Ends the server, by force if necessary, and deletes a leftover device. Never throws. */
  async end(): Promise<void> {
    if (this.#ended?.code === 0) return;
    if (await this.#interrupt()) {
      if (this.#ended?.code === 0 || this.#info === undefined) return;
    } else {
      this.#signal("SIGKILL");
    }
    if (this.#info === undefined) return;
    await ublk(["del", "--force", "-n", `${this.#info.id}`]).catch(() => {
      // The device disappeared with its server.
    });
  }

  /** Sends SIGINT. Resolves to whether the server ended in time. */
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
      // It has already ended.
    }
  }
}

/** The first line of a stream, or "" if there is none. Reads and drops the rest. */
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
