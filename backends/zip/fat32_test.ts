import { assert, assertEquals, assertRejects } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { Fat32 } from "./fat32.ts";
import { Members } from "./members.ts";
import { MAX_FILE_BYTES, ROOT, Tree } from "./tree.ts";

async function treeOf(files: readonly (readonly [name: string, bytes: number])[]): Promise<Tree> {
  const members = new Members(files.length);
  for (const [name, bytes] of files) {
    const flags = { isFolder: name.endsWith("/"), isEncrypted: false, method: 0 };
    const numbers = { storedBytes: bytes, crc32: 1, headerAt: 0, dosTime: 0x5821_0000 };
    members.add({ name, bytes, ...flags, ...numbers });
  }
  return await Tree.of(members);
}

async function volume(sectorBytes: number, ...sizes: number[]) {
  const tree = await treeOf(sizes.map((bytes, index) => [`F${index}`, bytes]));
  assertEquals(tree.leftOut.size, 0);
  return { tree, fat: new Fat32(tree, "a.label, long", sectorBytes) };
}

type Volume = Awaited<ReturnType<typeof volume>>;

/** A directory entry of the root, by its index; 0 is the label. */
function entry({ fat }: Volume, index: number) {
  const bytes = fat.folderBytes(ROOT);
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

Deno.test("Fat32 makes clusters as large as needed, and places files beyond cluster 65536", async () => {
  for (const [files, clusterBytes] of [[20, 4096], [400, 8192], [510, 8192]] as const) {
    // 400 files of 4 GiB take more clusters of 4096 bytes than FAT32 can number.
    const made = await volume(512, ...Array.from({ length: files }, () => MAX_FILE_BYTES));
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
    // The last byte of the last file, and the one after it.
    const last = made.fat.size - made.fat.clusterBytes;
    const piece = made.fat.pieceAt(last, made.fat.clusterBytes);
    assert(piece.kind === "file");
    assertEquals(piece.at + piece.bytes, MAX_FILE_BYTES);
    assertEquals(made.fat.pieceAt(last + piece.bytes, 1).kind, "free");
  }
});

Deno.test("Fat32 refuses more than 2^32 sectors, which larger blocks can avoid", async () => {
  const sizes = Array.from({ length: 600 }, () => MAX_FILE_BYTES);
  const refused = () => volume(512, ...sizes);
  const error = await assertRejects(refused, UblkError, "more than it can hold");
  assert(error.message.includes("block size 4096"));
  assert((await volume(4096, ...sizes)).fat.size > 600 * MAX_FILE_BYTES);
});

Deno.test("Fat32 derives a valid label from the name, and distinct serial numbers", async () => {
  const one = await volume(512, 1000);
  assertEquals(entry(one, 0).name, "A_LABEL__LO");
  const serial = ({ fat }: Volume) => {
    const boot = new Uint8Array(512);
    fat.readTables(boot, 0);
    return new DataView(boot.buffer).getUint32(67, true);
  };
  assertEquals(serial(await volume(512, 1000)), serial(one));
  assert(serial(await volume(512, 1000, 1)) !== serial(one));
});

Deno.test("Tree keeps the time of each folder that is a member", async () => {
  const names = Array.from({ length: 1000 }, (_, index) => [`d${index}/`, 0] as const);
  const tree = await treeOf(names);
  for (let folder = 1; folder <= 1000; folder++) assertEquals(tree.timeOf(folder), 0x5821_0000);
});

Deno.test("Tree leaves out files and folders that do not fit into a full folder", async () => {
  const files = Array.from({ length: 70_000 }, (_, index) => [`F${index}`, 0] as const);
  const tree = await treeOf(files);
  assertEquals(tree.list(ROOT).names.length, 65535);
  const [left] = tree.leftOut.values();
  assertEquals(left, { first: "F65535", count: 70_000 - 65535 });
  assertEquals(new Fat32(tree, "x", 512).folderBytes(ROOT).length, 65536 * 32);

  const folders = Array.from({ length: 66_000 }, (_, index) => [`D${index}/x/file`, 5000] as const);
  const deep = await treeOf([...folders, ["last", 5000]]);
  // Their contents are left out too and take no clusters. So is a file beside them.
  assertEquals([...deep.leftOut.values()], [{ first: "D65535", count: 66_000 - 65535 + 1 }]);
  const clusters = (tree: Tree) => {
    const fat = new Fat32(tree, "x", 512);
    const boot = new Uint8Array(512);
    fat.readTables(boot, 0);
    const tableSectors = new DataView(boot.buffer).getUint32(36, true);
    return (fat.size - (32 + 2 * tableSectors) * 512) / 4096;
  };
  assertEquals(clusters(deep), 65536 * 32 / 4096 + 65535 * (1 + 1 + 2));
});
