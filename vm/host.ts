/**
 * What every file of this room needs from the host: the error type, one way to run a command, the
 * cache folder, and locks that die with their owner.
 *
 * @module
 */

/**
 * An operating error of the VM harness: one line that names the cause and the remedy. The command
 * line prints its message without a stack.
 */
export class VmError extends Error {
  override name = "VmError";
}

/** Says on stderr what is being done, so that stdout stays the guest's own. */
export function say(message: string): void {
  console.error(`vm: ${message}`);
}

/** Writes all of a chunk to this process's own stream: a pipe takes a part of a large one. */
export function passOn(chunk: Uint8Array, stream: "stdout" | "stderr"): void {
  for (let rest = chunk; rest.length > 0;) rest = rest.subarray(Deno[stream].writeSync(rest));
}

/** What {@link output} may be told. */
export interface OutputOptions {
  /** Folder to run in. */
  cwd?: string;
  /** Variables added to the environment. */
  env?: Record<string, string>;
  /** The sentence to begin an error with, such as "could not unpack x.deb". */
  failure?: string;
}

/**
 * Runs a program and returns its stdout. Throws {@link VmError} with the last line of its stderr
 * when it cannot be started or fails.
 */
export async function output(
  program: string,
  args: string[],
  options: OutputOptions = {},
): Promise<string> {
  const failure = options.failure ?? `${program} failed`;
  let result: Deno.CommandOutput;
  try {
    result = await new Deno.Command(program, {
      args,
      cwd: options.cwd,
      env: { LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive", ...options.env },
      stdin: "null",
    }).output();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new VmError(`${failure}: the program ${program} is not installed or not in PATH`);
    }
    throw error;
  }
  const text = new TextDecoder();
  if (result.success) return text.decode(result.stdout);
  const lines = text.decode(result.stderr).trim().split("\n");
  // apt prints warnings before and advice after what matters: prefer its "E:" lines.
  const told = lines.filter((line) => line.startsWith("E:")).at(0) ?? lines.at(-1) ?? "";
  throw new VmError(`${failure}: ${told || `${program} exited with ${result.code}`}`);
}

/** The folder for kernels and everything else that can be made again. */
export function cacheDir(): string {
  const own = Deno.env.get("UBLK_VM_CACHE");
  if (own) return own;
  const base = Deno.env.get("XDG_CACHE_HOME");
  if (base) return `${base}/ublk-vm`;
  const home = Deno.env.get("HOME");
  if (!home) {
    throw new VmError("no cache folder: neither UBLK_VM_CACHE, XDG_CACHE_HOME nor HOME is set");
  }
  return `${home}/.cache/ublk-vm`;
}

/** Whether a path exists. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Writes a file so that a reader sees the old one or the whole new one, never a part. */
export async function writeAtomically(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = `${path}.tmp-${Deno.pid}`;
  if (typeof data === "string") await Deno.writeTextFile(temporary, data);
  else await Deno.writeFile(temporary, data);
  await Deno.rename(temporary, path);
}

async function openLockFile(path: string): Promise<Deno.FsFile> {
  try {
    await Deno.mkdir(cacheDir(), { recursive: true });
    return await Deno.open(path, { write: true, create: true });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new VmError(`cannot write to the cache folder (set UBLK_VM_CACHE to another): ${why}`);
  }
}

/**
 * Holds the named lock of the cache folder until disposed. It is an flock, so the kernel drops it
 * when its owner dies, however it dies. `waiting` is said once when someone else has it, if there is something to say.
 *
 * `flock(1)` would need a child; `FsFile.lock` waits on a pool thread that nothing can interrupt,
 * so this polls `tryLock` and a Ctrl-C (through `signal`) ends the wait.
 */
export async function lock(
  name: string,
  waiting: string | undefined,
  signal?: AbortSignal,
): Promise<Disposable> {
  const file = await openLockFile(`${cacheDir()}/${name}.lock`);
  try {
    for (let said = false; !(await file.tryLock(true)); said = true) {
      if (!said && waiting !== undefined) say(waiting);
      signal?.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  } catch (error) {
    file.close();
    throw error;
  }
  return { [Symbol.dispose]: () => file.close() };
}
