/**
 * `ublk-nbd`, nbdkit and others' clients as programs.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { commandLine, ROOT } from "./_run_command.ts";

/** `nbdsh` and others find the system's Python only there. */
export const ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: `/usr/bin:/usr/sbin:/bin:/sbin:${Deno.env.get("PATH")}`,
  LC_ALL: "C",
};

const READY_MS = 30_000;

/** A running server. */
export class Serving implements AsyncDisposable {
  readonly child: Deno.ChildProcess;
  /** What it has written to stderr so far. */
  log = "";
  /** The first lines of stdout. */
  out = "";
  readonly #read: Promise<unknown>;

  constructor([program, ...args]: readonly string[], cwd: string = ROOT) {
    this.child = new Deno.Command(program, {
      ...{ args, cwd, env: ENVIRONMENT, stdin: "null", stdout: "piped", stderr: "piped" },
    }).spawn();
    const read = async (
      stream: ReadableStream<Uint8Array<ArrayBuffer>>,
      take: (text: string) => void,
    ) => {
      for await (const text of stream.pipeThrough(new TextDecoderStream())) take(text);
    };
    this.#read = Promise.all([
      read(this.child.stdout, (text) => this.out += text),
      read(this.child.stderr, (text) => this.log += text),
    ]);
  }

  /** Waits until a socket accepts connections. */
  async at(path: string): Promise<this> {
    const endMs = performance.now() + READY_MS;
    for (;;) {
      try {
        (await Deno.connect({ transport: "unix", path })).close();
        return this;
      } catch {
        assert(performance.now() < endMs, `no server at ${path}: ${this.log}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  /** Waits until it has printed that it serves. */
  async announced(): Promise<this> {
    const endMs = performance.now() + READY_MS;
    while (!this.out.endsWith("\n")) {
      assert(performance.now() < endMs, `it announces nothing: ${this.log}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return this;
  }

  /** Ends it by a signal, and returns its exit code. */
  async end(signal: Deno.Signal = "SIGTERM"): Promise<number> {
    try {
      this.child.kill(signal);
    } catch {
      // It has ended by itself.
    }
    const [{ code }] = await Promise.all([this.child.status, this.#read]);
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

/** `ublk-nbd` at a socket. */
export async function ublkNbd(path: string, ...args: readonly string[]): Promise<Serving> {
  return await new Serving(commandLine("ublk-nbd", [`--listen=unix:${path}`, ...args])).announced();
}

/** nbdkit at a socket. */
export async function nbdkit(path: string, ...args: readonly string[]): Promise<Serving> {
  return await new Serving(["nbdkit", "--foreground", "--unix", path, ...args]).at(path);
}

/** Runs a client, and returns what it printed; it must succeed. */
export async function client(program: string, ...args: readonly string[]): Promise<string> {
  const { code, out } = await clientEnd(program, ...args);
  assertEquals(code, 0, `${program} ${args.join(" ")}: ${out}`);
  return out;
}

/** Runs a client, and returns how it ended and all that it printed. */
export async function clientEnd(program: string, ...args: readonly string[]) {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    ...{ args: [...args], env: ENVIRONMENT, stdin: "null", signal: AbortSignal.timeout(120_000) },
  }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** The URI of an export at a socket. */
export const uriAt = (path: string, name = ""): string => `nbd+unix:///${name}?socket=${path}`;
