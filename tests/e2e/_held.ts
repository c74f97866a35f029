/**
 * What a process holds: descriptors, threads, mappings, devices.
 *
 * @module
 */

import { assertEquals, equal } from "@std/assert";
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

/**
 * What this process holds once that has come to rest: a Worker's thread goes some time after it
 * was ended, with the descriptors that Deno gave it.
 */
export async function settled(timeoutMs = 10_000): Promise<Held> {
  const end = performance.now() + timeoutMs;
  let last = held();
  for (let same = 0; same < 4 && performance.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const now = held();
    same = now.descriptors === last.descriptors && now.threads === last.threads ? same + 1 : 0;
    last = now;
  }
  return last;
}

/** Asserts that nothing is held that was not before, as soon as all has come to rest. */
export async function assertAsBefore(before: Held, message?: string): Promise<void> {
  const end = performance.now() + 60_000;
  while (!equal(exactly(held()), exactly(before)) && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assertEquals(exactly(held()), exactly(before), message);
}

/** The part that is this project's alone and must be exactly as before. */
function exactly({ own, ownMappings, nodes }: Held): Partial<Held> {
  return { own, ownMappings, nodes };
}
