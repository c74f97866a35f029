/**
 * What the end-to-end suites need of a disk: programs that use it, and a look at what is left.
 *
 * The tests serve the disks themselves, and whoever serves a disk must never touch it. So every
 * access here is a child process's; the test itself only lists nodes.
 *
 * @module
 */

import { openAllOfLibc } from "../../uring/libc.ts";
import { bundleWorkers } from "../bundles.ts";

// libc stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();
bundleWorkers();

/** How a script ended. */
export interface Ran {
  /** Its exit status. */
  readonly code: number;
  /** What it printed. */
  readonly stdout: string;
  /** What it complained about. */
  readonly stderr: string;
}

/** Runs a bash script that stops at the first failure, with `env` as its variables. */
export async function attempt(script: string, env: Record<string, string> = {}): Promise<Ran> {
  const output = await new Deno.Command("bash", {
    args: ["-euo", "pipefail", "-c", script],
    env: { ...env, LC_ALL: "C" },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code: output.code, stdout: text(output.stdout), stderr: text(output.stderr) };
}

/** Runs a bash script, throws what it complained about if it fails, and returns what it printed. */
export async function sh(script: string, env: Record<string, string> = {}): Promise<string> {
  const { code, stdout, stderr } = await attempt(script, env);
  if (code !== 0) throw new Error(`exit status ${code} of: ${script}\n${stdout}${stderr}`);
  return stdout.trim();
}

/** A folder that goes with everything in it. */
export async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "ublk-e2e-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** Writes `bytes` random bytes to a file. */
export async function writeRandom(path: string, bytes: number): Promise<void> {
  await sh('head -c "$bytes" /dev/urandom > "$path"', { path, bytes: `${bytes}` });
}

/** An attribute of a disk's queue, as sysfs shows it. */
export async function queueAttribute(device: { id: number }, name: string): Promise<string> {
  return await sh(`cat /sys/block/ublkb${device.id}/queue/${name}`);
}

/** Options of fio that every run here shares. */
export const FIO: string =
  "fio --name=job --direct=1 --ioengine=libaio --thread=0 --output-format=terse " +
  "--random_generator=tausworthe64 --randrepeat=1 --allow_file_create=0";

/** The nodes of ublk devices, block and char, sorted. */
export function ublkNodes(): string[] {
  return [...Deno.readDirSync("/dev")].map(({ name }) => name)
    .filter((name) => /^ublk[bc]\d+$/.test(name)).sort();
}

/** Resident memory of this process, in bytes. */
export function residentBytes(): number {
  return Number(Deno.readTextFileSync("/proc/self/statm").split(" ")[1]) * 4096;
}

/**
 * A test of what this kernel has; where it has not, there is no such test. That the lack is said in
 * one line is tested in `options_test.ts`, `resize_test.ts` and `ublk_test.ts`, on that kernel.
 */
export function testWhere(there: boolean, name: string, fn: () => Promise<void>): void {
  if (there) Deno.test(name, fn);
}
