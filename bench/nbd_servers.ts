/**
 * The servers of NBD to compare, each over a Unix socket, with a disk of the same size.
 *
 * @module
 */

import { LineProcess } from "./process.ts";

/** A disk and its server. */
export type NbdServerName =
  | "ublk-nbd, memory"
  | "ublk-nbd, file"
  | "nbdkit, memory"
  | "nbdkit, file"
  | "qemu-nbd, file";

/** Larger than the CPU's caches. */
export const NBD_DISK_BYTES = 64 << 20;

const PROJECT = new URL("..", import.meta.url).pathname;
// Deno refuses a socket in /dev/shm to whoever has less.
const OURS = ["run", "--no-check", "-A", "cmd/ublk-nbd.ts"];

/** A running server. */
export interface NbdServer extends AsyncDisposable {
  readonly name: NbdServerName;
  /** Where clients find its disk. */
  readonly uri: string;
  /** Its process. */
  readonly pid: number;
}

/** Starts a server in a folder. It serves a file of its own there, or memory. */
export async function startNbdServer(name: NbdServerName, folder: string): Promise<NbdServer> {
  const key = name.replace(", ", "-");
  const [socket, file] = [`${folder}/${key}.sock`, `${folder}/${key}.img`];
  if (name.endsWith("file")) await Deno.writeFile(file, new Uint8Array(NBD_DISK_BYTES));
  const size = `${NBD_DISK_BYTES}`;
  const ours = [...OURS, "--quiet", "--listen", `unix:${socket}`];
  const words: Record<NbdServerName, [string, ...string[]]> = {
    "ublk-nbd, memory": [Deno.execPath(), ...ours, "-t", "mem", "--size", size],
    "ublk-nbd, file": [Deno.execPath(), ...ours, "-t", "loop", file],
    "nbdkit, memory": ["nbdkit", "-f", "-U", socket, "memory", size],
    "nbdkit, file": ["nbdkit", "-f", "-U", socket, "file", file],
    "qemu-nbd, file": ["qemu-nbd", "-f", "raw", "-k", socket, "-t", "-e", "4", file],
  };
  const [program, ...args] = words[name];
  const server = new LineProcess(program, args, PROJECT);
  while (!await answers(socket)) {
    if (server.hasEnded) throw new Error(`${name} ended before it served: see above`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return {
    name,
    uri: `nbd+unix:///?socket=${socket}`,
    pid: server.pid,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function answers(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch {
    return false;
  }
}
