/**
 * Compares disks by sampling them in turn, so that every sample has a neighbour taken under the same
 * conditions.
 *
 * @module
 */

import { attributesOf, type Disk, startDisk } from "./disks.ts";
import { fio } from "./fio.ts";
import type { Cell, GuestPlan, GuestRecord, IoRecord } from "./plan.ts";
import { busiestNs, run, threadsNs } from "./process.ts";

/** Compares the disks of one group, by its index, in every cell. */
export async function compare(
  group: number,
  plan: GuestPlan,
  emit: (record: GuestRecord) => void,
): Promise<void> {
  const { disks: names, cells } = plan.groups[group];
  await using stack = new AsyncDisposableStack();
  const disks: Disk[] = [];
  for (const name of names) {
    const disk = stack.use(await startDisk(name, plan.kublk));
    disks.push(disk);
    emit({ type: "disk", disk: name, attributes: attributesOf(disk) });
    await warm(disk, cells, plan.warmIos);
  }
  for (const cell of cells) {
    for (let round = 0; round < plan.rounds; round++) {
      for (const disk of disks) {
        emit({ group, ...await sample(disk, cell, round, plan.ios[cell.depth]) });
      }
    }
  }
}

/** Warms up the JIT compiler for a server's loop, and allocates a RAM disk's memory. */
async function warm(disk: Disk, cells: readonly Cell[], warmIos: number): Promise<void> {
  if (disk.name === "ublk-mem") {
    const args = ["if=/dev/zero", `of=${disk.path}`, "bs=1M", "count=64", "oflag=direct"];
    await run("dd", args);
  }
  if (warmIos === 0) return;
  for (const cell of cells) await fio(disk.path, cell, warmIos);
}

async function sample(
  disk: Disk,
  cell: Cell,
  round: number,
  ios: number,
): Promise<Omit<IoRecord, "group">> {
  const { pid } = disk;
  const before = pid === undefined ? undefined : threadsNs(pid);
  const iops = await fio(disk.path, cell, ios);
  const serverNs = before === undefined ? undefined : busiestNs(pid!, before) / ios;
  return { type: "io", disk: disk.name, ...cell, round, iops, serverNs };
}
