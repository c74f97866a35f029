/**
 * A strict reader of FAT32 volumes. It follows the tables and requires that both are equal, that every
 * long name belongs to its short name, and that every cluster has one owner.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";

/** A file or folder of the volume. */
export interface Found {
  /** The path from the root. */
  readonly path: string;
  /** The short name, with a dot before the extension. */
  readonly short: string;
  /** Contents; undefined for a folder. */
  readonly data: Uint8Array | undefined;
  /** Date and time in MS-DOS format. */
  readonly dosTime: number;
}

/** A volume while it is read. */
interface Volume {
  readonly sectorBytes: number;
  readonly clusterBytes: number;
  readonly dataAt: number;
  readonly clusters: number;
  readonly root: number;
  readonly fat: DataView;
  readonly owners: Map<number, string>;
  read(offset: number, bytes: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** Reads all files and folders of a volume. */
export async function readFat32(
  read: (offset: number, bytes: number) => Promise<Uint8Array<ArrayBuffer>>,
  size: number,
): Promise<Found[]> {
  const boot = new DataView((await read(0, 512)).buffer);
  assertEquals(boot.getUint16(510, true), 0xaa55);
  const sectorBytes = boot.getUint16(11, true);
  const reserved = boot.getUint16(14, true) * sectorBytes;
  const fatBytes = boot.getUint32(36, true) * sectorBytes;
  const clusterBytes = boot.getUint8(13) * sectorBytes;
  assertEquals(boot.getUint32(32, true) * sectorBytes, size);
  assertEquals(boot.getUint8(16), 2);
  const dataAt = reserved + 2 * fatBytes;
  const clusters = Math.floor((size - dataAt) / clusterBytes);
  assert(clusters >= 65525, "otherwise it is FAT16");
  assert((clusters + 2) * 4 <= fatBytes, "the table covers the volume");
  const copy = await read(boot.getUint16(50, true) * sectorBytes, 2 * sectorBytes);
  assertEquals(copy, await read(0, 2 * sectorBytes), "the copy of the boot sectors");
  const fat = await read(reserved, fatBytes);
  assertEquals(await read(reserved + fatBytes, fatBytes), fat, "the copy of the table");
  const volume: Volume = {
    ...{ sectorBytes, clusterBytes, dataAt, clusters, read },
    root: boot.getUint32(44, true),
    fat: new DataView(fat.buffer),
    owners: new Map(),
  };
  const found: Found[] = [];
  await readFolder(volume, volume.root, "", 0, found);
  const used = Array.from({ length: clusters }, (_, index) => index + 2)
    .filter((cluster) => volume.fat.getUint32(cluster * 4, true) !== 0);
  assertEquals(used.length, volume.owners.size, "every cluster in use has an owner");
  const info = new DataView((await read(boot.getUint16(48, true) * sectorBytes, 512)).buffer);
  assertEquals(info.getUint32(488, true), clusters - used.length, "free clusters");
  return found;
}

/**
 * The upper case of a name, equal for names that FAT considers equal. FAT converts unit by unit: `ß` has
 * no upper case of one unit and does not equal `ss`, unlike with `toUpperCase()` of the whole name.
 */
function upperCase(name: string): string {
  return Array.from({ length: name.length }, (_, at) => {
    const upper = name[at].toUpperCase();
    return upper.length === 1 ? upper : name[at];
  }).join("");
}

async function readChain(volume: Volume, first: number, owner: string) {
  const parts: Uint8Array[] = [];
  for (let cluster = first; cluster < 0x0fff_fff8;) {
    assert(cluster >= 2 && cluster < volume.clusters + 2, `${owner} has cluster ${cluster}`);
    assertEquals(volume.owners.get(cluster), undefined, `cluster ${cluster} of ${owner}`);
    volume.owners.set(cluster, owner);
    const at = volume.dataAt + (cluster - 2) * volume.clusterBytes;
    parts.push(await volume.read(at, volume.clusterBytes));
    cluster = volume.fat.getUint32(cluster * 4, true);
  }
  return new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}

async function readFolder(
  volume: Volume,
  first: number,
  path: string,
  parent: number,
  found: Found[],
): Promise<void> {
  const bytes = await readChain(volume, first, `${path}/`);
  const view = new DataView(bytes.buffer);
  const shorts = new Set<string>();
  const longs = new Set<string>();
  let long: { text: string; sum: number; left: number } | undefined;
  for (let at = 0; at < bytes.length && bytes[at] !== 0; at += 32) {
    const attributes = bytes[at + 11];
    if (attributes === 0x0f) {
      const number = bytes[at] & 0x3f;
      if (bytes[at] & 0x40) long = { text: "", sum: bytes[at + 13], left: number + 1 };
      assert(long !== undefined && long.left === number + 1, "parts of a long name are in order");
      assertEquals(bytes[at + 13], long.sum);
      const units = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30]
        .map((place) => view.getUint16(at + place, true));
      const end = units.indexOf(0);
      if (end >= 0) assert(units.slice(end + 1).every((unit) => unit === 0xffff), "padding");
      long.text = String.fromCharCode(...(end < 0 ? units : units.slice(0, end))) + long.text;
      long.left = number;
      continue;
    }
    const raw = bytes.subarray(at, at + 11);
    const text = new TextDecoder().decode(raw);
    if (attributes & 0x08) continue;
    const cluster = view.getUint16(at + 20, true) << 16 | view.getUint16(at + 26, true);
    if (text.startsWith(".")) {
      assertEquals(cluster, text.trim() === "." ? first : parent === volume.root ? 0 : parent);
      continue;
    }
    assertEquals(/^[A-Z0-9$%'\-_@~`!(){}^#& ]{11}$/.test(text), true, text);
    const [stem, extension] = [text.slice(0, 8).trimEnd(), text.slice(8).trimEnd()];
    const short = extension === "" ? stem : `${stem}.${extension}`;
    if (long !== undefined) {
      assertEquals(long.left, 1);
      let sum = 0;
      for (const byte of raw) sum = ((sum & 1) << 7) + (sum >> 1) + byte & 0xff;
      assertEquals(sum, long.sum, "the long name belongs to this short one");
    }
    const name = long?.text ?? short;
    long = undefined;
    for (const [names, one] of [[shorts, short], [longs, upperCase(name)]] as const) {
      assert(!names.has(one), `${one} twice in ${path}/`);
      names.add(one);
    }
    const size = view.getUint32(at + 28, true);
    const dosTime = (view.getUint16(at + 24, true) << 16 | view.getUint16(at + 22, true)) >>> 0;
    const itemPath = `${path}/${name}`;
    if (attributes & 0x10) {
      found.push({ path: itemPath, short, data: undefined, dosTime });
      await readFolder(volume, cluster, itemPath, first, found);
      continue;
    }
    const chain = size === 0 ? new Uint8Array() : await readChain(volume, cluster, itemPath);
    if (size === 0) assertEquals(cluster, 0);
    assertEquals(chain.length, Math.ceil(size / volume.clusterBytes) * volume.clusterBytes);
    assert(chain.subarray(size).every((byte) => byte === 0), "zeroes behind the end");
    found.push({ path: itemPath, short, data: chain.slice(0, size), dosTime });
  }
}
