/** The commands that a refusal of a damaged GPT names, typed as it says. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { readPartitions } from "../../backends/wrappers/partition_table.ts";
import { run, Scratch } from "../scratch.ts";

const SECTOR = 512;

async function attempt(path: string): Promise<string> {
  const bytes = Deno.readFileSync(path);
  const read = (offset: number, count: number) =>
    Promise.resolve(bytes.slice(offset, offset + count));
  try {
    const parts = await readPartitions({ blockSize: SECTOR, size: bytes.length, read });
    return `parts ${[...parts.keys()]}`;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What is damaged, what the refusal names, and how a shell types it. */
const REMEDIES: [string, (disk: Uint8Array) => void, RegExp, string][] = [
  [
    "its first copy wiped",
    (disk) => disk.fill(0, SECTOR, 34 * SECTOR),
    /restore it with `sgdisk -e`/,
    'sgdisk -e "$0"',
  ],
  [
    "its entries changed",
    (disk) => disk[2 * SECTOR + 32] ^= 9,
    /restore it with `sgdisk -e`/,
    'sgdisk -e "$0"',
  ],
  [
    "no protective MBR",
    (disk) => disk.fill(0, 0, SECTOR),
    /restore it with `sgdisk -e`/,
    'sgdisk -e "$0"',
  ],
  [
    "neither an MBR nor a first copy",
    (disk) => disk.fill(0, 0, 34 * SECTOR),
    /restore it with `gdisk` of the disk or image \(package gdisk\): answer 1 \(GPT\), then w/,
    `printf '1\\nw\\ny\\n' | gdisk "$0"`,
  ],
  [
    "both copies wiped",
    (disk) => disk.fill(0, SECTOR, 34 * SECTOR).fill(0, 15 << 20),
    /restore it from a backup of the table \(`sgdisk -l FILE`\)/,
    'sgdisk -l "$0.backup" "$0"',
  ],
];

for (const [name, damage, words, command] of REMEDIES) {
  Deno.test(`the remedy for a GPT with ${name} repairs it`, async () => {
    using scratch = new Scratch();
    const path = scratch.file("disk", 16 << 20);
    run("sh", "-c", `printf 'label: gpt\\nsize=1MiB\\nsize=2MiB\\n' | sfdisk -q "$0"`, path);
    run("sgdisk", "-b", `${path}.backup`, path);
    const sound = Deno.readFileSync(path);
    const broken = sound.slice();
    damage(broken);
    Deno.writeFileSync(path, broken);
    assertMatch(await attempt(path), words);
    run("sh", "-c", command, path);
    assertEquals(await attempt(path), "parts 1,2");
    // What the partitions have is as it was: here, zeroes.
    const parts = Deno.readFileSync(path).subarray(1 << 20, 4 << 20);
    assert(parts.every((byte) => byte === 0));
  });
}
