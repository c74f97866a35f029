/**
 * Helpers of the suite of misbehaving backends.
 *
 * @module
 */

import { bundleWorkers, programPath } from "../bundles.ts";

bundleWorkers();

/** Runs a program with its messages in English. */
export async function run(
  program: string,
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const output = await new Deno.Command(program, { args, env: { LC_ALL: "C" }, stdin: "null" })
    .output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code: output.code, stdout: text(output.stdout), stderr: text(output.stderr) };
}

/** Whether a path is there. A look at a node is no access to the device behind it. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch {
    return false;
  }
}

/** Resolves after so many milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A child process that serves a misbehaving backend. */
export interface ChildServer extends AsyncDisposable {
  /** Its disk. */
  readonly path: string;
  /** The server's side of it. */
  readonly charPath: string;
  /** Has it stop its device. */
  stop(): Promise<void>;
  /** How the device closed; resolves when the process has ended. */
  closed(): Promise<{ reason: string; code?: string }>;
  /** Ends the process by a signal; resolves with what it wrote to stderr. */
  end(signal: Deno.Signal): Promise<string>;
}

/** Where the backend of a {@linkcode ChildServer} runs. */
export type Kind = "synchronous" | "asynchronous" | "object";

/** Starts one; resolves once its disk can be opened. */
export async function serveInChild(
  kind: Kind,
  manner: string,
  operation: string,
  deadlineMs: number,
): Promise<ChildServer> {
  const script = programPath("tests/e2e/_misbehaving_server.ts");
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script, kind, manner, operation, `${deadlineMs}`],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(child.stderr).text();
  const stdin = child.stdin.getWriter();
  const stdout = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const path = (await stdout.read()).value?.trim();
  if (path === undefined) throw new Error(`the server did not start: ${await stderr}`);
  let ended = false;
  const end = async (signal?: Deno.Signal) => {
    if (!ended && signal !== undefined) child.kill(signal);
    await child.status;
    ended = true;
    await stdout.cancel();
    await stdin.close().catch(() => {});
    return await stderr;
  };
  return {
    path,
    charPath: path.replace("ublkb", "ublkc"),
    stop: () => stdin.write(new TextEncoder().encode("stop\n")),
    closed: async () => {
      const last = JSON.parse((await stdout.read()).value ?? "null");
      await end();
      return last;
    },
    end,
    [Symbol.asyncDispose]: async () => void await end("SIGKILL"),
  };
}
