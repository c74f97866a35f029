/**
 * What a process holds: descriptors, threads, mappings, devices.
 *
 * @module
 */

import { ublkNodes } from "./_disk.ts";

/** Numbers of what is held, and the nodes of devices. */
export interface Held {
  /** Descriptors of rings, eventfds and ublk's own files: exactly what this project opens. */
  readonly own: string[];
  /** Descriptors in all. */
  readonly descriptors: number;
  /** Threads. */
  readonly threads: number;
  /** Mappings in all. */
  readonly mappings: number;
  /** Mappings of rings and descriptors of requests. */
  readonly ownMappings: number;
  /** Devices of the whole machine. */
  readonly nodes: string[];
}

/** Looks at this process. */
export function held(): Held {
  const targets: string[] = [];
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      targets.push(Deno.readLinkSync(`/proc/self/fd/${name}`));
    } catch (error) {
      // The descriptor by which the folder was read.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  const maps = Deno.readTextFileSync("/proc/self/maps").trim().split("\n");
  const isOwn = (target: string) => /io_uring|eventfd|\/dev\/ublk/.test(target);
  return {
    own: targets.filter(isOwn).sort(),
    descriptors: targets.length,
    threads: [...Deno.readDirSync("/proc/self/task")].length,
    mappings: maps.length,
    ownMappings: maps.filter(isOwn).length,
    nodes: ublkNodes(),
  };
}

/** The part that is this project's alone and must be exactly as before. */
export function exactly({ own, ownMappings, nodes }: Held): Partial<Held> {
  return { own, ownMappings, nodes };
}

/** Waits until at most so many threads are left: one that has ended takes a moment to go. */
export async function threadsAtMost(threads: number, timeoutMs = 15_000): Promise<number> {
  const end = performance.now() + timeoutMs;
  let now = held().threads;
  while (now > threads && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    now = held().threads;
  }
  return now;
}
