import { assertEquals, assertRejects } from "@std/assert";
import { run, Scratch } from "../../tests/scratch.ts";
import { UblkError } from "../../uapi/error.ts";
import { crc32 } from "./gpt_table.ts";
import { readPartitions } from "./partition_table.ts";

const MIB = 1 << 20;
const SECTOR = 512;

/** A disk of 16 MiB with a GPT of two partitions, made by sfdisk. */
const GPT: Uint8Array<ArrayBuffer> = (() => {
  using scratch = new Scratch();
  const path = scratch.file("disk", 16 * MIB);
  run("sh", "-c", `printf 'label: gpt\\nsize=1MiB\\nsize=2MiB\\n' | sfdisk -q "$0"`, path);
  return Deno.readFileSync(path);
})();

function partsOf(bytes: Uint8Array<ArrayBuffer>, blockSize = SECTOR) {
  const read = (offset: number, count: number) =>
    Promise.resolve(bytes.slice(offset, offset + count));
  return readPartitions({ blockSize, size: bytes.length, read });
}

const RESTORE = "its copy at the end is sound; restore it with `sgdisk -e`";
const PROTECTION =
  "the GPT has no protective MBR in the disk's first block; restore it with `sgdisk";

/** Kinds of damage: a name, the change to the disk, and the error. */
const DAMAGE: [
  string,
  (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer> | void,
  string,
][] = [
  // This was once mistaken for a table with another block size.
  ["a first copy that was wiped", (disk) => void disk.fill(0, SECTOR, 34 * SECTOR), RESTORE],
  ["a header that was changed", (disk) => void (disk[SECTOR + 40] ^= 9), RESTORE],
  ["entries that were changed", (disk) => void (disk[2 * SECTOR + 32] ^= 9), RESTORE],
  ["an MBR that was wiped", (disk) => void disk.fill(0, 0, SECTOR), PROTECTION],
  ["a protective entry elsewhere", (disk) => void (disk[446 + 8] = 2), PROTECTION],
  [
    "an MBR and a first copy that were wiped",
    (disk) => void disk.fill(0, 0, 34 * SECTOR),
    "its copy at the end is sound; restore it with `gdisk`",
  ],
  [
    "both copies wiped",
    (disk) => void disk.fill(0, SECTOR, 34 * SECTOR).fill(0, 15 * MIB),
    "block 1 has no header, and there is no sound copy at the end",
  ],
  [
    "a disk that was cut off",
    (disk) => disk.slice(0, 12 * MIB),
    "the GPT is of a disk of 16 MiB (16777216 bytes), and this one has 12 MiB; the disk or image " +
    "was cut off",
  ],
  [
    "a disk that is all zeroes",
    (disk) => void disk.fill(0),
    "the disk has no partition table; serve it as a whole",
  ],
];

for (const [name, damage, words] of DAMAGE) {
  Deno.test(`a GPT's reader tells of ${name}`, async () => {
    const disk = GPT.slice();
    await assertRejects(() => partsOf(damage(disk) ?? disk), UblkError, words);
  });
}

Deno.test("a GPT's reader tells of blocks of another size", async () => {
  await assertRejects(
    () => partsOf(GPT.slice(), 4096),
    UblkError,
    "the GPT was made for blocks of 512 bytes, not 4096; give --block-size 512",
  );
});

Deno.test("a GPT's reader names a command that would not harm the copy of larger blocks", async () => {
  // sgdisk assumes that a file has blocks of 512 bytes: it overwrote the sound copy.
  const disk = new Uint8Array(64 * 4096);
  const header = new Uint8Array(92);
  const view = new DataView(header.buffer);
  header.set(new TextEncoder().encode("EFI PART"));
  view.setUint32(12, 92, true);
  for (const [at, block] of [[24, 63], [32, 1], [40, 3], [48, 60], [72, 61]]) {
    view.setBigUint64(at, BigInt(block), true);
  }
  view.setUint32(80, 4, true);
  view.setUint32(84, 128, true);
  view.setUint32(88, crc32(new Uint8Array(4 * 128)), true);
  view.setUint32(16, crc32(header), true);
  disk.set(header, 63 * 4096);
  disk.set([0xee, 0, 0, 0, 1, 0, 0, 0, 63], 446 + 4);
  disk.set([0x55, 0xaa], 510);
  await assertRejects(() => partsOf(disk, 4096), UblkError, "(losetup -b 4096)");
  disk.fill(0, 0, 512);
  await assertRejects(() => partsOf(disk, 4096), UblkError, "(losetup -b 4096): answer 1");
});

Deno.test("a GPT's reader takes a table whose copy is not at the end: the disk has grown", async () => {
  const disk = new Uint8Array(20 * MIB);
  disk.set(GPT);
  assertEquals([...(await partsOf(disk)).keys()], [1, 2]);
  // The copy is looked for in the last block, and at the place that the first copy names.
  disk[2 * SECTOR + 32] ^= 9;
  await assertRejects(() => partsOf(disk), UblkError, RESTORE);
});

Deno.test("crc32 is that of the books", () => {
  assertEquals(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
});
