/**
 * Opens a stack of backends in this thread, as a serving thread does, without ublk.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { loadBackend, type RecoveredDevice } from "../disk/load.ts";
import type { BackendSpec } from "../disk/spec.ts";
import { closeFd } from "../uring/libc.ts";

/** An open stack. */
export interface Stack extends AsyncDisposable {
  /** The outermost backend. */
  readonly backend: Backend;
  /** Whether each queue's thread would open its own backend. */
  readonly perQueue: boolean;
  /** Ends like a killed server: writes nothing more. */
  kill(): void;
}

/** Opens a stack, which is closed when it is disposed of. */
export async function openStack(
  spec: BackendSpec,
  queue = 0,
  recovered?: RecoveredDevice,
): Promise<Stack> {
  const loaded = await loadBackend(structuredClone(spec), recovered);
  const shared = await loaded.share();
  let alive = true;
  let backend: Backend;
  try {
    backend = await loaded.open(queue, structuredClone(shared));
  } catch (error) {
    await loaded.unshare(shared);
    throw error;
  }
  return {
    backend,
    perQueue: loaded.sharing === "per-queue",
    kill: () => void (alive = false),
    async [Symbol.asyncDispose]() {
      try {
        if (alive) await loaded.close();
      } finally {
        await loaded.unshare(shared);
      }
    },
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
