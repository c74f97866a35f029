/**
 * Servers in child processes, for the suites of recovery.
 *
 * @module
 */

import { TextLineStream } from "@std/streams";
import { Control } from "../../ctrl/control.ts";
import { programPath } from "../bundles.ts";
import type { ServerTask } from "./_recoverable_server.ts";

/** A server that can be killed. */
export class ServerProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #stderr: Promise<string>;
  #ended = false;

  private constructor(task: ServerTask) {
    const script = programPath("tests/e2e/_recoverable_server.ts");
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", script, JSON.stringify(task)],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#stderr = new Response(this.#child.stderr).text();
    this.#stdin = this.#child.stdin.getWriter();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream()).getReader();
  }

  /** Starts one; resolves with it and its disk, or with what it says instead. */
  static async start(task: ServerTask): Promise<ServerProcess & { path: string }> {
    const server = new ServerProcess(task);
    const path = await server.line();
    return Object.assign(server, { path });
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    const { value } = await this.#lines.read();
    if (value === undefined) throw new Error(`the server said nothing: ${await this.#stderr}`);
    return value;
  }

  /** Has it stop its device. */
  async stop(): Promise<void> {
    await this.#stdin.write(new TextEncoder().encode("stop\n"));
  }

  /** How the device closed, by its own words; resolves when the process has ended. */
  async closed(): Promise<unknown> {
    const last = JSON.parse(await this.line());
    await this.end();
    return last;
  }

  /** Waits for its end, or causes it. */
  async end(signal?: Deno.Signal): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    if (signal !== undefined) this.#child.kill(signal);
    await this.#child.status;
    await this.#lines.cancel();
    await this.#stdin.close().catch(() => {});
    await this.#stderr;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGKILL");
  }
}

/** The N of a disk's path. */
export function idOf(path: string): number {
  const id = Number(/^\/dev\/ublkb(\d+)$/.exec(path)?.[1]);
  if (Number.isNaN(id)) throw new Error(`not a disk: ${path}`);
  return id;
}

/** A device's state, `UBLK_S_DEV_*`. */
export async function stateOf(id: number): Promise<number> {
  await using control = await Control.open();
  return (await control.getDevInfo(id)).state;
}

/** Resolves once a device has a state. */
export async function untilState(id: number, state: number): Promise<void> {
  await using control = await Control.open();
  const endMs = performance.now() + 180_000;
  while ((await control.getDevInfo(id)).state !== state) {
    if (performance.now() > endMs) throw new Error(`device ${id} never came to state ${state}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Deletes a device, whatever has become of its server. */
export async function forget(id: number): Promise<void> {
  await using control = await Control.open();
  await control.delDev(id).catch(() => {});
}
