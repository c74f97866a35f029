/**
 * Servers that have nothing to do: nothing in them wakes.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { runCommand } from "../integration/_run_command.ts";
import { Running, sleep } from "./_command.ts";
import { sh } from "./_disk.ts";

/** Longer than any period that a server might have, but that of a service manager's watchdog. */
const WINDOW_MS = 6_000;
/** Deno's own threads end some seconds after they were last needed, and wake for that. */
const WINDOWS = 6;

/** How often each thread of a process has slept so far. */
function sleeps(pid: number): Map<string, number> {
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
async function wakings(pid: number): Promise<string[][]> {
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

// With 32 devices the timers that emptied their logs took 16 million instructions a second.
Deno.test("nothing wakes in servers of idle disks, of whatever kind, and each answers at once", async () => {
  const script = new URL("./_idle_server.ts", import.meta.url).pathname;
  await using library = new Running([Deno.execPath(), "run", "-A", "--no-check", script]);
  const disks = (await library.firstLine()).split(" ");
  const added = await runCommand("ublk", ["add", "-t", "mem", "--size", "1M", "--json"]);
  assertEquals([added.code, added.stderr], [0, ""]);
  const { path, pid } = JSON.parse(added.stdout);
  const all = await Promise.all([pid, library.pid].map(wakings));
  for (const windows of all) assertEquals(windows.at(-1), [], JSON.stringify(windows));
  const read = `for disk in ${[path, ...disks].join(" ")}; do ` +
    "timeout 20 dd if=$disk of=/dev/null bs=4k count=1 iflag=direct; done";
  await sh(read);
  // Awake for as long as there was something to watch, and asleep again.
  const again = await wakings(library.pid);
  assert(again.length > 1, "the reads woke nobody");
  assertEquals(again.at(-1), [], JSON.stringify(again));
});
