/**
 * Counts how often the threads of a process wake.
 *
 * @module
 */

import { sleep } from "./_command.ts";

/** Longer than any period that a server might have, but that of a service manager's watchdog. */
const WINDOW_MS = 6_000;
/**
 * Deno's own threads end some seconds after they were last needed, and wake for that; and V8 collects
 * the garbage of each isolate a few times, for half a minute after its last work: on a machine with
 * other work, for longer.
 */
const WINDOWS = 30;

/** How often each thread of a process has slept so far. */
export function sleeps(pid: number): Map<string, number> {
  const found = new Map<string, number>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    let status: string;
    try {
      status = Deno.readTextFileSync(`/proc/${pid}/task/${name}/status`);
    } catch {
      continue; // It has ended.
    }
    const thread = /^Name:\s+(.*)$/m.exec(status)![1];
    // The kernel's own worker for a process's rings looks every five seconds whether it is needed.
    if (thread.startsWith("iou-wrk")) continue;
    found.set(`${thread} ${name}`, Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)![1]));
  }
  return found;
}

/** The threads of which one woke, in each of some windows, until there was none. */
export async function wakings(pid: number): Promise<string[][]> {
  const windows: string[][] = [];
  for (let window = 0; window < WINDOWS; window++) {
    const before = sleeps(pid);
    await sleep(WINDOW_MS);
    const woken = [...sleeps(pid)].filter(([thread, times]) => times !== before.get(thread));
    windows.push(woken.map(([thread, times]) => `${thread}: ${times - (before.get(thread) ?? 0)}`));
    if (woken.length === 0) break;
  }
  return windows;
}
