/**
 * Compares disks by sampling them in turn, so that every sample has a neighbour taken under the same
 * conditions.
 *
 * @module
 */

import { attributesOf, type Disk, startDisk } from "./disks.ts";
import { fio } from "./fio.ts";
import type { Cell, DiskName, GuestPlan, GuestRecord, IoRecord } from "./plan.ts";
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

/** MiB of disks that are filled first: a RAM disk allocates its memory, a volume has no holes. */
const FILLED: Partial<Record<DiskName, number>> = { "ublk-mem": 64, "ublk-volume": 48 };

/** Warms up the JIT compiler for a server's loop. */
async function warm(disk: Disk, cells: readonly Cell[], warmIos: number): Promise<void> {
  const mebibytes = FILLED[disk.name];
  if (mebibytes !== undefined) {
    const args = [`of=${disk.path}`, "bs=1M", `count=${mebibytes}`, "oflag=direct"];
    await run("dd", ["if=/dev/zero", ...args]);
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
