/**
 * Disks opened in this thread whose server may be killed, and what tests do with them.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import type { RecoveredDevice } from "../disk/load.ts";
import { OpenedDisk } from "../disk/opened.ts";
import type { BackendSpec } from "../disk/spec.ts";
import { closeFd } from "../uring/libc.ts";

/** An open stack. */
export interface Stack extends AsyncDisposable {
  /** The outermost backend. */
  readonly backend: Backend;
  /** Ends as a server that is killed does: nothing more is written. */
  kill(): void;
}

/** Opens a stack, which is closed when it is disposed of. */
export async function openStack(
  spec: BackendSpec,
  queue = 0,
  recovered?: RecoveredDevice,
): Promise<Stack> {
  const disk = await OpenedDisk.open(structuredClone(spec), { queue, recovered });
  let alive = true;
  return {
    backend: disk.backend,
    kill: () => void (alive = false),
    [Symbol.asyncDispose]: () => alive ? disk.close() : disk.unshare(),
  };
}

/** Ends a server as `kill -9` does: writes nothing more, and closes its files. */
export function endAsKilled(stack: Stack, paths: readonly string[]): void {
  stack.kill();
  if (paths.length === 0) return;
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      if (paths.includes(Deno.readLinkSync(`/proc/self/fd/${name}`))) closeFd(Number(name));
    } catch (error) {
      // The descriptor of the listing itself.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** Reads bytes. */
export async function readBytes(disk: Backend, offset: number, length: number) {
  const buffer = new Uint8Array(length).fill(0xa5);
  await disk.readAt(buffer, offset);
  return buffer;
}

/** Fills a range with one value. */
export async function fill(disk: Backend, value: number, offset: number, length: number) {
  await disk.writeAt(new Uint8Array(length).fill(value), offset, { fua: false });
}
