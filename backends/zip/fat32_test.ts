import { assert, assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import type { Member } from "./archive.ts";
import { Fat32 } from "./fat32.ts";
import { MAX_FILE_BYTES, treeOf } from "./tree.ts";

function member(name: string, bytes: number): Member {
  const rest = { isFolder: false, storedBytes: bytes, method: 0, encrypted: false, crc32: 1 };
  return { name, bytes, dosTime: 0x5821_0000, ...rest };
}

function volume(sectorBytes: number, ...sizes: number[]) {
  const { root, leftOut } = treeOf(sizes.map((bytes, index) => member(`F${index}`, bytes)));
  assertEquals(leftOut.size, 0);
  return { root, fat: new Fat32(root, "a.label, long", sectorBytes) };
}

/** A directory entry of the root, by its index; 0 is the label. */
function entry({ fat, root }: ReturnType<typeof volume>, index: number) {
  const bytes = fat.folderBytes(root);
  const view = new DataView(bytes.buffer, index * 32, 32);
  return {
    name: new TextDecoder().decode(bytes.subarray(index * 32, index * 32 + 11)),
    cluster: view.getUint16(20, true) * 65536 + view.getUint16(26, true),
    bytes: view.getUint32(28, true),
  };
}

function tableEntry(fat: Fat32, sectorBytes: number, cluster: number): number {
  const at = 32 * sectorBytes + Math.floor(cluster * 4 / sectorBytes) * sectorBytes;
  const sector = new Uint8Array(sectorBytes);
  fat.readTables(sector, at);
  return new DataView(sector.buffer).getUint32(cluster * 4 % sectorBytes, true);
}

Deno.test("Fat32 has clusters as large as it takes, and files beyond the first 65536 of them", () => {
  for (const [files, clusterBytes] of [[20, 4096], [400, 8192], [510, 8192]] as const) {
    // 400 files of 4 GiB are more clusters of 4096 bytes than FAT32 has numbers for.
    const made = volume(512, ...Array.from({ length: files }, () => MAX_FILE_BYTES));
    assertEquals(made.fat.clusterBytes, clusterBytes);
    const each = Math.ceil(MAX_FILE_BYTES / made.fat.clusterBytes);
    const rootClusters = Math.ceil((files + 1) * 32 / made.fat.clusterBytes);
    for (const index of [0, 1, files - 1]) {
      const first = 2 + rootClusters + index * each;
      const { cluster, bytes } = entry(made, index + 1);
      assertEquals([cluster, bytes], [first, MAX_FILE_BYTES], `file ${index} of ${files}`);
      assertEquals(tableEntry(made.fat, 512, first), first + 1);
      assertEquals(tableEntry(made.fat, 512, first + each - 1), 0x0fff_ffff);
    }
    // The last byte of the last file, and the one behind it.
    const last = made.fat.size - made.fat.clusterBytes;
    const piece = made.fat.pieceAt(last, made.fat.clusterBytes);
    assert(piece.kind === "file");
    assertEquals(piece.at + piece.bytes, MAX_FILE_BYTES);
    assertEquals(made.fat.pieceAt(last + piece.bytes, 1).kind, "free");
  }
});

Deno.test("Fat32 refuses more than its 32 bits of sectors, which greater blocks may hold", () => {
  const sizes = Array.from({ length: 600 }, () => MAX_FILE_BYTES);
  const error = assertThrows(() => volume(512, ...sizes), UblkError, "more than it can hold");
  assert(error.message.includes("block size 4096"));
  assert(volume(4096, ...sizes).fat.size > 600 * MAX_FILE_BYTES);
});

Deno.test("Fat32 has a label of what its name allows, and serial numbers that differ", () => {
  const one = volume(512, 1000);
  assertEquals(entry(one, 0).name, "A_LABEL__LO");
  const serial = ({ fat }: ReturnType<typeof volume>) => {
    const boot = new Uint8Array(512);
    fat.readTables(boot, 0);
    return new DataView(boot.buffer).getUint32(67, true);
  };
  assertEquals(serial(volume(512, 1000)), serial(one));
  assert(serial(volume(512, 1000, 1)) !== serial(one));
});

Deno.test("treeOf leaves out what a full folder has no entry for", () => {
  const members = Array.from({ length: 70_000 }, (_, index) => member(`F${index}`, 0));
  const { root, leftOut } = treeOf(members);
  assertEquals(root.files.length, 65534);
  assertEquals([...leftOut.values()][0].length, 70_000 - 65534);
  assertEquals(new Fat32(root, "x", 512).folderBytes(root).length, 65535 * 32);
});
