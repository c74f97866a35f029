/**
 * Servers that have nothing to do: nothing in them wakes.
 *
 * @module
 */

import { assertEquals, assertNotEquals } from "@std/assert";
import { programPath } from "../bundles.ts";
import { runCommand } from "../integration/_run_command.ts";
import { Running } from "./_command.ts";
import { sh } from "./_disk.ts";
import { sleeps, wakings } from "./_wakings.ts";

// With 32 devices the timers that emptied their logs took 16 million instructions a second.
Deno.test("nothing wakes in servers of idle disks, of whatever kind, and each answers at once", async () => {
  const script = programPath("tests/e2e/_idle_server.ts");
  await using library = new Running([Deno.execPath(), "run", "-A", "--no-check", script]);
  const disks = (await library.firstLine()).split(" ");
  const added = await runCommand("ublk", ["add", "-t", "mem", "--size", "1M", "--json"]);
  assertEquals([added.code, added.stderr], [0, ""]);
  const { path, pid } = JSON.parse(added.stdout);
  const all = await Promise.all([pid, library.pid].map((server) => wakings(server)));
  for (const windows of all) assertEquals(windows.at(-1), [], JSON.stringify(windows));
  const read = `for disk in ${[path, ...disks].join(" ")}; do ` +
    "timeout 20 dd if=$disk of=/dev/null bs=4k count=1 iflag=direct; done";
  const before = sleeps(library.pid);
  await sh(read);
  assertNotEquals(sleeps(library.pid), before, "the reads woke nobody");
  // Awake for as long as there is something to watch, and asleep again.
  const again = await wakings(library.pid);
  assertEquals(again.at(-1), [], JSON.stringify(again));
});
