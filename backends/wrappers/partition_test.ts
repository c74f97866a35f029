import { assertEquals, assertRejects } from "@std/assert";
import { KERNEL_ANSWERS } from "../../tests/partition_answers.ts";
import { ourAnswer, shortened, tableDisk } from "../../tests/partition_tables.ts";
import { Scratch } from "../../tests/scratch.ts";
import { OpenedDisk } from "../../disk/opened.ts";
import { fill } from "../../tests/stack.ts";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { file } from "../loop.ts";
import { partition } from "./partition.ts";
import { findPartition } from "./partition_table.ts";

// Opened once for the process, so that the sanitizer reports no leak.
openAllOfLibc();

const MIB = 1 << 20;
const SIZE = 16 * MIB;

/** Makes a table with sfdisk, which is the reference for its partitions. */
async function tableOf(path: string, script: string): Promise<[number, number, number][]> {
  const child = new Deno.Command("sfdisk", {
    args: ["--quiet", path],
    stdin: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(script));
  await writer.close();
  const { success, stderr } = await child.output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const { stdout } = await new Deno.Command("sfdisk", { args: ["--json", path] }).output();
  const { partitiontable: { partitions } } = JSON.parse(new TextDecoder().decode(stdout));
  return partitions
    // An extended partition is only a container.
    .filter(({ type }: { type: string }) => type !== "f" && type !== "5")
    .map(({ node, start, size }: { node: string; start: number; size: number }) => [
      Number(node.slice(path.length)),
      start * 512,
      size * 512,
    ]);
}

const TABLES: Record<string, string> = {
  "a GPT": "label: gpt\nsize=1MiB\nsize=2MiB\nsize=3MiB\n",
  "a GPT with a gap in its numbers": "label: gpt\n2 : size=1MiB\n7 : size=2MiB\n",
  "an MBR": "label: dos\nsize=1MiB\nsize=2MiB\n",
  "an MBR with logical partitions":
    "label: dos\nsize=1MiB\nsize=10MiB, type=f\nsize=1MiB\n5 : size=1MiB\n6 : size=2MiB\n7 : size=1MiB\n",
};

for (const [name, script] of Object.entries(TABLES)) {
  Deno.test(`partition finds each partition of ${name}, where sfdisk does`, async () => {
    using scratch = new Scratch();
    const path = scratch.file("disk", SIZE);
    const table = await tableOf(path, script);
    for (const [number, , bytes] of table) {
      await using stack = await OpenedDisk.open(partition(file(path), { number }));
      assertEquals(stack.backend.size, bytes, `partition ${number}`);
      await fill(stack.backend, number, 0, 512);
    }
    const bytes = Deno.readFileSync(path);
    for (const [number, start] of table) assertEquals(bytes[start], number, `${start}`);
  });
}

Deno.test("partition refuses a number that the table does not have, and names those it has", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", SIZE);
  await tableOf(path, "label: dos\nsize=1MiB\n4 : size=1MiB\n");
  await assertRejects(
    () => OpenedDisk.open(partition(file(path), { number: 9 })),
    UblkError,
    "the disk has no partition 9; it has 1, 4",
  );
});

Deno.test("partition refuses a disk without a table, and a filesystem's boot sector", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", SIZE);
  const bytes = new Uint8Array(SIZE);
  const refusal = "the disk has no partition table";
  await assertRejects(
    () => OpenedDisk.open(partition(file(path), { number: 1 })),
    UblkError,
    refusal,
  );
  // Both have the same signature, but a boot sector has code at the place of a table's flags.
  bytes.set([0x55, 0xaa], 510);
  bytes.set([0x0b, 0xfe, 0x83, 1, 1, 0, 0, 0, 0, 0, 0, 8], 446 + 16);
  Deno.writeFileSync(path, bytes);
  await assertRejects(
    () => OpenedDisk.open(partition(file(path), { number: 2 })),
    UblkError,
    refusal,
  );
});

Deno.test("partition ends with an image that was cut off, as the kernel lets it", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", SIZE);
  await tableOf(path, "label: dos\nsize=1MiB\nsize=8MiB\nsize=1MiB\n");
  Deno.truncateSync(path, 4 * MIB);
  for (const [number, bytes] of [[1, MIB], [2, 2 * MIB]]) {
    await using stack = await OpenedDisk.open(partition(file(path), { number }));
    assertEquals(stack.backend.size, bytes);
  }
  await assertRejects(
    () => OpenedDisk.open(partition(file(path), { number: 3 })),
    UblkError,
    "no partition 3; it has 1, 2",
  );
});

// The kind of an entry was once decided by its place. With the link first, partition 5 was the next
// table and everything after it, and a write overwrote both. Only the first of several extended
// partitions was read, and only the first of several partitions in one table.
for (let seed = 0; seed < KERNEL_ANSWERS.length; seed++) {
  Deno.test(`partition numbers as the kernel does, table ${seed}`, async () => {
    assertEquals(shortened(await ourAnswer(tableDisk(seed))), KERNEL_ANSWERS[seed]);
  });
}

/** A disk with an extended partition from sector 8 on, and a function that writes entries. */
function extendedDisk() {
  const disk = new Uint8Array(64 * 512);
  const view = new DataView(disk.buffer);
  const entry = (sector: number, index: number, type: number, first: number, blocks: number) => {
    const at = sector * 512 + 446 + index * 16;
    view.setUint8(at + 4, type);
    view.setUint32(at + 8, first, true);
    view.setUint32(at + 12, blocks, true);
    disk.set([0x55, 0xaa], sector * 512 + 510);
  };
  let reads = 0;
  const read = (offset: number, bytes: number) => {
    if (++reads > 1000) throw new Error("it goes round and round");
    return Promise.resolve(disk.slice(offset, offset + bytes));
  };
  entry(0, 0, 0x05, 8, 32);
  return { entry, source: { blockSize: 512, size: disk.length, read } };
}

Deno.test("partition comes to an end with a chain that is a loop", async () => {
  const { entry, source } = extendedDisk();
  entry(8, 0, 0x83, 1, 1);
  entry(8, 1, 0x05, 4, 8);
  entry(12, 0, 0x83, 1, 2);
  entry(12, 1, 0x05, 4, 8);
  assertEquals(await findPartition(source, 6), { start: 13 * 512, bytes: 1024 });
  await assertRejects(
    () => findPartition(source, 1000),
    UblkError,
    "the disk has no partition 1000; it has 252 up to 255",
  );
});

Deno.test("partition comes to an end with a loop of tables that have no partition", async () => {
  const { entry, source } = extendedDisk();
  entry(8, 0, 0x83, 1, 1);
  entry(8, 1, 0x05, 4, 8);
  entry(12, 1, 0x05, 4, 8);
  await assertRejects(
    () => findPartition(source, 6),
    UblkError,
    "the disk has no partition 6; it has 1, 5",
  );
});

Deno.test("partition goes on after a table without a partition, as the kernel does", async () => {
  const { entry, source } = extendedDisk();
  entry(8, 1, 0x05, 4, 8);
  entry(12, 0, 0x83, 1, 2);
  assertEquals(await findPartition(source, 5), { start: 13 * 512, bytes: 1024 });
});

Deno.test("partition takes the first table for 5 where a link is before the partition", async () => {
  const { entry, source } = extendedDisk();
  entry(8, 0, 0x05, 20, 10);
  entry(8, 1, 0x83, 1, 3);
  entry(28, 2, 0x0f, 24, 8);
  entry(28, 3, 0x07, 2, 2);
  entry(28, 0, 0x83, 1, 1);
  const at = (sector: number, sectors: number) => ({ start: sector * 512, bytes: sectors * 512 });
  assertEquals(await findPartition(source, 5), at(9, 3));
  assertEquals(await findPartition(source, 6), at(29, 1));
  assertEquals(await findPartition(source, 7), at(30, 2));
  // The extended partition itself has only room for a boot loader.
  assertEquals(await findPartition(source, 1), at(8, 2));
});
