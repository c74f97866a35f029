/** Tests that need several NUMA nodes. Their step of the test run boots a guest with two. */

import { assertEquals } from "@std/assert";
import { sh } from "../e2e/_disk.ts";
import { runCommand } from "../integration/_run_command.ts";

const ublk = (...args: string[]) => runCommand("ublk", args);

Deno.test("the buffers of a queue are on the NUMA node of its thread", async () => {
  // The thread of the first queue is on the second node, and vice versa.
  const ran = await ublk(
    ...["add", "--json", "-t", "null", "--data-path", "copy", "-q", "2", "--affinity", "2:0"],
  );
  assertEquals([ran.code, ran.stderr], [0, ""]);
  const device: { pid: number; path: string } = JSON.parse(ran.stdout);
  await using _device = {
    [Symbol.asyncDispose]: async () => void await ublk("del", "--force", "-a"),
  };
  const write = (cpu: number) =>
    sh("taskset -c $cpu dd if=/dev/zero of=$disk bs=64K count=100 oflag=direct status=none", {
      cpu: `${cpu}`,
      disk: device.path,
    });
  /** Pages of our mappings on each node; these are the ones without huge pages. */
  const pages = async () => {
    const maps = await Deno.readTextFile(`/proc/${device.pid}/smaps`);
    const ownMappings = maps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).filter((map) =>
      / nh( |$)/m.test(map)
    )
      .map((map) => map.split("-")[0]);
    const lines = (await Deno.readTextFile(`/proc/${device.pid}/numa_maps`)).split("\n")
      .filter((line) => ownMappings.includes(line.split(" ")[0]));
    const on = (node: number) =>
      lines.map((line) => Number(new RegExp(` N${node}=(\\d+)`).exec(line)?.[1] ?? 0))
        .reduce((sum, count) => sum + count, 0);
    return [on(0), on(1)];
  };
  const before = await pages();
  await write(0);
  const first = await pages();
  await write(2);
  const second = await pages();
  const context = JSON.stringify({ before, first, second });
  // A queue of this size touches at least 128 pages at its first writes. Other pages in such mappings
  // vary by a few.
  const grown = (from: number[], to: number[]) => to.map((count, node) => count - from[node] > 64);
  assertEquals(grown(before, first), [false, true], context);
  assertEquals(grown(first, second), [true, false], context);
});
