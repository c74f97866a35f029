/**
 * A FAT32 volume that is nowhere: where everything of it would be, and the bytes of its boot sectors,
 * tables and folders, made when they are read. Source: Microsoft's FAT specification of 2000
 * (fatgen103).
 *
 * ```
 * boot sector, FSInfo, their copies | FAT | FAT again | clusters: root, folders, files; the rest free
 * ```
 *
 * Everything is in one piece, so that a table entry is the number of the next cluster, or the end.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { formatSize } from "../size.ts";
import { entriesOf, UNITS_PER_ENTRY } from "./names.ts";
import { entriesIn, type FileNode, type FolderNode } from "./tree.ts";

/** Sectors before the first table, as `mkfs.fat` has them. */
const RESERVED_SECTORS = 32;
const BACKUP_SECTOR = 6;
const FATS = 2;
/** The first cluster's number. */
const FIRST_CLUSTER = 2;
/** With fewer clusters it would be FAT16; a few more, since some implementations count wrongly. */
const MIN_CLUSTERS = 65525 + 16;
/** Numbers from here on mean something else. */
const MAX_CLUSTERS = 0x0fff_fff5 - FIRST_CLUSTER;
const MAX_SECTORS = 2 ** 32 - 1;
const END_OF_CHAIN = 0x0fff_ffff;
/** Bytes of a cluster: no less than a page, and no more than everybody can read. */
const MIN_CLUSTER_BYTES = 4096;
const MAX_CLUSTER_BYTES = 32768;
const ENTRY_BYTES = 32;

const ATTR_READ_ONLY = 0x01;
const ATTR_VOLUME_ID = 0x08;
const ATTR_DIRECTORY = 0x10;
const ATTR_ARCHIVE = 0x20;
const ATTR_LONG_NAME = 0x0f;

/** A folder or file and the clusters that it has, one after the other. */
export interface Extent {
  /** Whose they are. */
  readonly node: FolderNode | FileNode;
  /** The first of them. */
  readonly first: number;
  /** How many; at least one. */
  readonly count: number;
}

/** What is at a place of the volume. */
export type Piece =
  /** Made from the layout. */
  | { readonly kind: "table"; readonly bytes: number }
  /** A folder, from a byte of its entries on. */
  | {
    readonly kind: "folder";
    readonly node: FolderNode;
    readonly at: number;
    readonly bytes: number;
  }
  /** A file, from a byte of its contents on. */
  | { readonly kind: "file"; readonly node: FileNode; readonly at: number; readonly bytes: number }
  /** Nothing: zeroes. */
  | { readonly kind: "free"; readonly bytes: number };

/** Where everything is. */
export class Fat32 {
  /** Bytes of the volume. */
  readonly size: number;
  /** Bytes of a cluster. */
  readonly clusterBytes: number;
  readonly #sectorBytes: number;
  readonly #fatBytes: number;
  readonly #dataAt: number;
  readonly #clusters: number;
  readonly #used: number;
  /** In the order of their clusters, without a gap from the first cluster on. */
  readonly #extents: readonly Extent[];
  readonly #firsts: ReadonlyMap<FolderNode | FileNode, number>;
  readonly #label: Uint8Array<ArrayBuffer>;
  readonly #reserved: Uint8Array<ArrayBuffer>;

  /**
   * Lays a tree out.
   *
   * @param label What the volume is called, as far as its eleven letters go.
   * @throws {UblkError} `INVALID_ARGUMENT` where it is more than FAT32 can hold.
   */
  constructor(root: FolderNode, label: string, sectorBytes: number) {
    this.#sectorBytes = sectorBytes;
    const geometry = geometryFor(root, sectorBytes);
    this.clusterBytes = geometry.clusterBytes;
    this.#extents = extentsOf(root, this.clusterBytes);
    this.#firsts = new Map(this.#extents.map(({ node, first }) => [node, first]));
    this.#used = geometry.used;
    this.#clusters = geometry.clusters;
    this.#fatBytes = geometry.fatSectors * sectorBytes;
    this.#dataAt = geometry.dataAt;
    this.size = geometry.size;
    this.#label = labelOf(label);
    this.#reserved = this.#bootSectors(geometry.fatSectors);
  }

  /** The boot sector, FSInfo, and their copies. */
  #bootSectors(fatSectors: number): Uint8Array<ArrayBuffer> {
    const sector = this.#sectorBytes;
    const bytes = new Uint8Array(RESERVED_SECTORS * sector);
    const view = new DataView(bytes.buffer);
    const text = (at: number, words: string) => bytes.set(new TextEncoder().encode(words), at);
    bytes.set([0xeb, 0x58, 0x90]); // BS_jmpBoot
    text(3, "ublk    "); // BS_OEMName
    view.setUint16(11, sector, true); // BPB_BytsPerSec
    view.setUint8(13, this.clusterBytes / sector); // BPB_SecPerClus
    view.setUint16(14, RESERVED_SECTORS, true); // BPB_RsvdSecCnt
    view.setUint8(16, FATS); // BPB_NumFATs
    view.setUint8(21, 0xf8); // BPB_Media: not removable
    view.setUint16(24, 63, true); // BPB_SecPerTrk
    view.setUint16(26, 255, true); // BPB_NumHeads
    view.setUint32(32, this.size / sector, true); // BPB_TotSec32
    view.setUint32(36, fatSectors, true); // BPB_FATSz32
    view.setUint32(44, FIRST_CLUSTER, true); // BPB_RootClus
    view.setUint16(48, 1, true); // BPB_FSInfo
    view.setUint16(50, BACKUP_SECTOR, true); // BPB_BkBootSec
    view.setUint8(64, 0x80); // BS_DrvNum
    view.setUint8(66, 0x29); // BS_BootSig: the next three are there
    view.setUint32(67, serialOf(this.#extents), true); // BS_VolID
    bytes.set(this.#label, 71); // BS_VolLab
    text(82, "FAT32   "); // BS_FilSysType
    view.setUint16(510, 0xaa55, true);
    view.setUint32(sector, 0x41615252, true); // FSI_LeadSig
    view.setUint32(sector + 484, 0x61417272, true); // FSI_StrucSig
    const free = this.#clusters - this.#used;
    view.setUint32(sector + 488, free, true); // FSI_Free_Count
    view.setUint32(sector + 492, free === 0 ? 0xffff_ffff : FIRST_CLUSTER + this.#used, true);
    view.setUint32(sector + 508, 0xaa550000, true); // FSI_TrailSig
    bytes.copyWithin(BACKUP_SECTOR * sector, 0, 2 * sector);
    return bytes;
  }

  /** What is at a byte of the volume, and how many bytes of the `most` that are asked for. */
  pieceAt(offset: number, most: number): Piece {
    if (offset < this.#dataAt) {
      return { kind: "table", bytes: Math.min(most, this.#dataAt - offset) };
    }
    const within = offset - this.#dataAt;
    const cluster = FIRST_CLUSTER + Math.floor(within / this.clusterBytes);
    if (cluster >= FIRST_CLUSTER + this.#used) return { kind: "free", bytes: most };
    const { node, first, count } = this.#extentAt(cluster);
    const at = within - (first - FIRST_CLUSTER) * this.clusterBytes;
    const bytes = Math.min(most, count * this.clusterBytes - at);
    if ("folders" in node) return { kind: "folder", node, at, bytes };
    const left = node.member.bytes - at;
    // Behind its end, up to the end of its last cluster.
    return left <= 0
      ? { kind: "free", bytes }
      : { kind: "file", node, at, bytes: Math.min(bytes, left) };
  }

  #extentAt(cluster: number): Extent {
    return this.#extents[lastNotAfter(this.#extents, cluster)];
  }

  /** Fills the buffer from a byte of the boot sectors and tables on, within them. */
  readTables(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    const reserved = this.#reserved.length;
    let done = 0;
    if (offset < reserved) {
      const piece = this.#reserved.subarray(offset, offset + buffer.length);
      buffer.set(piece);
      done = piece.length;
    }
    while (done < buffer.length) {
      const at = (offset + done - reserved) % this.#fatBytes;
      const bytes = Math.min(buffer.length - done, this.#fatBytes - at);
      this.#readFat(buffer.subarray(done, done + bytes), at);
      done += bytes;
    }
  }

  /** The table from a byte on. Requests are whole blocks, so entries are whole too. */
  #readFat(buffer: Uint8Array<ArrayBuffer>, at: number): void {
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    const end = FIRST_CLUSTER + this.#used;
    let cluster = at / 4;
    let index = lastNotAfter(this.#extents, Math.max(cluster, FIRST_CLUSTER));
    for (let to = 0; to < buffer.length; to += 4, cluster++) {
      if (cluster < FIRST_CLUSTER) {
        // The media again, and: it was unmounted in order.
        view.setUint32(to, cluster === 0 ? 0x0fff_fff8 : END_OF_CHAIN, true);
      } else if (cluster >= end) {
        view.setUint32(to, 0, true);
      } else {
        let { first, count } = this.#extents[index];
        if (cluster >= first + count) ({ first, count } = this.#extents[++index]);
        view.setUint32(to, cluster === first + count - 1 ? END_OF_CHAIN : cluster + 1, true);
      }
    }
  }

  /** A folder's entries. */
  folderBytes(folder: FolderNode): Uint8Array<ArrayBuffer> {
    const writer = new EntryWriter(entriesIn(folder));
    if (folder.parent === undefined) {
      writer.entry(this.#label, ATTR_VOLUME_ID, 0, 0, folder.dosTime);
    } else {
      // The root counts as cluster 0 here.
      const above = folder.parent.parent === undefined ? 0 : this.#firsts.get(folder.parent)!;
      const dots = (name: string) => new TextEncoder().encode(name.padEnd(11));
      const own = this.#firsts.get(folder)!;
      writer.entry(dots("."), ATTR_DIRECTORY, own, 0, folder.dosTime);
      writer.entry(dots(".."), ATTR_DIRECTORY, above, 0, folder.parent.dosTime);
    }
    for (const one of folder.folders) {
      if (!one.name.isShort) writer.longName(one.name.long, one.name.short);
      writer.entry(one.name.short, ATTR_DIRECTORY, this.#firsts.get(one)!, 0, one.dosTime);
    }
    for (const file of folder.files) {
      if (!file.name.isShort) writer.longName(file.name.long, file.name.short);
      const { bytes } = file.member;
      const attributes = ATTR_ARCHIVE | ATTR_READ_ONLY;
      // An empty file has no cluster.
      const first = this.#firsts.get(file) ?? 0;
      writer.entry(file.name.short, attributes, first, bytes, file.dosTime);
    }
    return writer.bytes;
  }
}

/** The index of the last extent that begins at a cluster or before it. */
function lastNotAfter(extents: readonly Extent[], cluster: number): number {
  let low = 0;
  let high = extents.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (extents[middle].first <= cluster) low = middle;
    else high = middle - 1;
  }
  return low;
}

function* nodesOf(folder: FolderNode): Generator<FolderNode | FileNode> {
  yield folder;
  for (const one of folder.folders) yield* nodesOf(one);
  yield* folder.files;
}

function clustersOf(node: FolderNode | FileNode, clusterBytes: number): number {
  const bytes = "folders" in node ? entriesIn(node) * ENTRY_BYTES : node.member.bytes;
  return Math.ceil(bytes / clusterBytes);
}

function usedClusters(root: FolderNode, clusterBytes: number): number {
  let used = 0;
  for (const node of nodesOf(root)) used += clustersOf(node, clusterBytes);
  return used;
}

/** How large its parts are. */
interface Geometry {
  readonly clusterBytes: number;
  /** Clusters that something is in. */
  readonly used: number;
  readonly clusters: number;
  readonly fatSectors: number;
  /** Where the first cluster is. */
  readonly dataAt: number;
  readonly size: number;
}

/** That with the smallest clusters of which there are not too many. */
function geometryFor(root: FolderNode, sectorBytes: number): Geometry {
  let size = 0;
  for (let clusterBytes = MIN_CLUSTER_BYTES; clusterBytes <= MAX_CLUSTER_BYTES; clusterBytes *= 2) {
    const used = usedClusters(root, clusterBytes);
    const clusters = Math.max(MIN_CLUSTERS, used);
    // In fours, so that the clusters begin at a multiple of a page.
    const fatSectors = Math.ceil((clusters + FIRST_CLUSTER) * 4 / sectorBytes / 4) * 4;
    const dataAt = (RESERVED_SECTORS + FATS * fatSectors) * sectorBytes;
    size = dataAt + clusters * clusterBytes;
    if (used > MAX_CLUSTERS || size / sectorBytes > MAX_SECTORS) continue;
    return { clusterBytes, used, clusters, fatSectors, dataAt, size };
  }
  throw tooLarge(size);
}

function tooLarge(bytes: number): UblkError {
  return new UblkError("INVALID_ARGUMENT", {
    operation: "a FAT32 volume",
    reason: `${formatSize(bytes)} are more than it can hold`,
    hint: "use greater blocks (block size 4096), or split the archive",
  });
}

function extentsOf(root: FolderNode, clusterBytes: number): Extent[] {
  const extents: Extent[] = [];
  let first = FIRST_CLUSTER;
  for (const node of nodesOf(root)) {
    const count = clustersOf(node, clusterBytes);
    if (count === 0) continue;
    extents.push({ node, first, count });
    first += count;
  }
  return extents;
}

function labelOf(label: string): Uint8Array<ArrayBuffer> {
  const clean = label.toUpperCase().replaceAll(/[^A-Z0-9_-]/g, "_").slice(0, 11);
  return new TextEncoder().encode((clean || "ARCHIVE").padEnd(11));
}

/** The same for the same contents, so that a volume is known again. */
function serialOf(extents: readonly Extent[]): number {
  let serial = extents.length;
  for (const { node, first } of extents) {
    const crc = "folders" in node ? node.dosTime : node.member.crc32;
    serial = Math.imul(serial, 31) + (crc ^ first) | 0;
  }
  return serial >>> 0;
}

/** Writes directory entries, one after the other. */
class EntryWriter {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = 0;

  constructor(entries: number) {
    this.bytes = new Uint8Array(entries * ENTRY_BYTES);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** An entry with a short name. */
  entry(name: Uint8Array, attributes: number, first: number, size: number, dosTime: number): void {
    const [view, at] = [this.#view, this.#at];
    this.bytes.set(name, at);
    view.setUint8(at + 11, attributes);
    view.setUint16(at + 14, dosTime & 0xffff, true); // DIR_CrtTime
    view.setUint16(at + 16, dosTime >>> 16, true); // DIR_CrtDate
    view.setUint16(at + 18, dosTime >>> 16, true); // DIR_LstAccDate
    view.setUint16(at + 20, first >>> 16, true); // DIR_FstClusHI
    view.setUint16(at + 22, dosTime & 0xffff, true); // DIR_WrtTime
    view.setUint16(at + 24, dosTime >>> 16, true); // DIR_WrtDate
    view.setUint16(at + 26, first & 0xffff, true); // DIR_FstClusLO
    view.setUint32(at + 28, size, true); // DIR_FileSize
    this.#at += ENTRY_BYTES;
  }

  /** The entries before one that has a long name: its last part first. */
  longName(long: string, short: Uint8Array): void {
    let sum = 0;
    for (const byte of short) sum = ((sum & 1) << 7) + (sum >> 1) + byte & 0xff;
    const parts = entriesOf({ long, short: new Uint8Array(11), isShort: false }) - 1;
    for (let part = parts; part > 0; part--) {
      const [view, at] = [this.#view, this.#at];
      view.setUint8(at, part === parts ? part | 0x40 : part);
      view.setUint8(at + 11, ATTR_LONG_NAME);
      view.setUint8(at + 13, sum);
      for (const [index, place] of UNIT_PLACES.entries()) {
        const unit = (part - 1) * UNITS_PER_ENTRY + index;
        // One 0 behind its end, and then all ones.
        const value = unit < long.length
          ? long.charCodeAt(unit)
          : unit === long.length
          ? 0
          : 0xffff;
        view.setUint16(at + place, value, true);
      }
      this.#at += ENTRY_BYTES;
    }
  }
}

/** Where the UTF-16 units of a long name's entry are. */
const UNIT_PLACES = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
