/**
 * A virtual FAT32 volume: its boot sectors, tables and folders are computed when they are read.
 * Source: Microsoft's FAT specification of 2000 (fatgen103).
 *
 * ```
 * boot sector, FSInfo, their copies | FAT | FAT copy | clusters: folders, files; the rest free
 * ```
 *
 * Every folder and file is contiguous, so a table entry is the number of the next cluster, or the end.
 *
 * @module
 */

import {
  ATTR_ARCHIVE,
  ATTR_DIRECTORY,
  ATTR_READ_ONLY,
  ATTR_VOLUME_ID,
  EntryWriter,
} from "./fat_entries.ts";
import { FatLayout, FATS, FIRST_CLUSTER, RESERVED_SECTORS } from "./fat_layout.ts";
import { withShortNames } from "./names.ts";
import { ROOT, type Tree } from "./tree.ts";

const BACKUP_SECTOR = 6;
const END_OF_CHAIN = 0x0fff_ffff;
const encoder = new TextEncoder();

/** A run of bytes of the volume that come from one source. */
export type Piece =
  /** Boot sectors and tables. */
  | { readonly kind: "table"; readonly bytes: number }
  /** The entries of a folder, from byte `at` on. */
  | {
    readonly kind: "folder";
    readonly folder: number;
    readonly at: number;
    readonly bytes: number;
  }
  /** The contents of a member, from byte `at` on. */
  | { readonly kind: "file"; readonly member: number; readonly at: number; readonly bytes: number }
  /** Zeroes. */
  | { readonly kind: "free"; readonly bytes: number };

/** A FAT32 volume that contains a tree. */
export class Fat32 {
  /** Bytes of the volume. */
  readonly size: number;
  /** Bytes of a cluster. */
  readonly clusterBytes: number;
  readonly #tree: Tree;
  readonly #layout: FatLayout;
  readonly #label: Uint8Array<ArrayBuffer>;
  readonly #reserved: Uint8Array<ArrayBuffer>;

  /**
   * Lays out a tree.
   *
   * @param label The volume's name, cut to eleven characters.
   * @throws {UblkError} `INVALID_ARGUMENT` if it is more than FAT32 can hold.
   */
  constructor(tree: Tree, label: string, sectorBytes: number) {
    this.#tree = tree;
    this.#layout = new FatLayout(tree, sectorBytes);
    this.size = this.#layout.size;
    this.clusterBytes = this.#layout.clusterBytes;
    this.#label = labelOf(label);
    this.#reserved = bootSectors(this.#layout, this.#label, serialOf(tree, this.#layout));
  }

  /** The piece at an offset, of at most `most` bytes. */
  pieceAt(offset: number, most: number): Piece {
    const { dataAt, used } = this.#layout;
    if (offset < dataAt) return { kind: "table", bytes: Math.min(most, dataAt - offset) };
    const within = offset - dataAt;
    const cluster = FIRST_CLUSTER + Math.floor(within / this.clusterBytes);
    if (cluster >= FIRST_CLUSTER + used) return { kind: "free", bytes: most };
    const item = this.#layout.itemAt(cluster);
    const at = within - (this.#layout.firstOf(item) - FIRST_CLUSTER) * this.clusterBytes;
    const end = (this.#layout.lastOf(item) + 1 - FIRST_CLUSTER) * this.clusterBytes;
    const bytes = Math.min(most, end - within);
    const fileIndex = item - this.#tree.folderCount;
    if (fileIndex < 0) return { kind: "folder", folder: item, at, bytes };
    const remaining = this.#tree.fileBytes(fileIndex) - at;
    // Between the end of the file and the end of its last cluster.
    if (remaining <= 0) return { kind: "free", bytes };
    return {
      kind: "file",
      member: this.#tree.files[fileIndex],
      at,
      bytes: Math.min(bytes, remaining),
    };
  }

  /** Fills the buffer with boot sectors and tables from `offset` on, without passing their end. */
  readTables(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    const reserved = this.#reserved.length;
    const fatBytes = this.#layout.fatSectors * this.#layout.sectorBytes;
    let done = 0;
    if (offset < reserved) {
      const piece = this.#reserved.subarray(offset, offset + buffer.length);
      buffer.set(piece);
      done = piece.length;
    }
    while (done < buffer.length) {
      const at = (offset + done - reserved) % fatBytes;
      const bytes = Math.min(buffer.length - done, fatBytes - at);
      this.#readFat(buffer.subarray(done, done + bytes), at);
      done += bytes;
    }
  }

  /** Fills the buffer with the table from byte `at` on. Requests are whole blocks of whole entries. */
  #readFat(buffer: Uint8Array<ArrayBuffer>, at: number): void {
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    const end = FIRST_CLUSTER + this.#layout.used;
    let cluster = at / 4;
    let last = -1;
    for (let to = 0; to < buffer.length; to += 4, cluster++) {
      if (cluster < FIRST_CLUSTER) {
        // The media byte, and the flags of a clean unmount.
        view.setUint32(to, cluster === 0 ? 0x0fff_fff8 : END_OF_CHAIN, true);
      } else if (cluster >= end) {
        view.setUint32(to, 0, true);
      } else {
        if (cluster > last) last = this.#layout.lastOf(this.#layout.itemAt(cluster));
        view.setUint32(to, cluster === last ? END_OF_CHAIN : cluster + 1, true);
      }
    }
  }

  /** The directory entries of a folder. */
  folderBytes(folder: number): Uint8Array<ArrayBuffer> {
    const tree = this.#tree;
    const writer = new EntryWriter(tree.entries[folder]);
    const time = tree.timeOf(folder);
    if (folder === ROOT) {
      writer.entry(this.#label, ATTR_VOLUME_ID, 0, 0, time);
    } else {
      const parent = tree.parentOf(folder);
      // FAT uses cluster 0 for a parent that is the root.
      const parentCluster = parent === ROOT ? 0 : this.#layout.firstOf(parent);
      const cluster = this.#layout.firstOf(folder);
      writer.entry(encoder.encode(".".padEnd(11)), ATTR_DIRECTORY, cluster, 0, time);
      writer.entry(
        encoder.encode("..".padEnd(11)),
        ATTR_DIRECTORY,
        parentCluster,
        0,
        tree.timeOf(parent),
      );
    }
    const { folders, firstFile, names } = tree.list(folder);
    for (const [index, name] of withShortNames(names).entries()) {
      if (index < folders.length) {
        const one = folders[index];
        writer.named(name, ATTR_DIRECTORY, this.#layout.firstOf(one), 0, tree.timeOf(one));
        continue;
      }
      const fileIndex = firstFile + index - folders.length;
      const first = this.#layout.firstOf(tree.folderCount + fileIndex);
      const dosTime = tree.members.dosTime[tree.files[fileIndex]];
      writer.named(name, ATTR_ARCHIVE | ATTR_READ_ONLY, first, tree.fileBytes(fileIndex), dosTime);
    }
    return writer.bytes;
  }
}

/** The boot sector, FSInfo, and their copies. */
function bootSectors(
  layout: FatLayout,
  label: Uint8Array<ArrayBuffer>,
  serial: number,
): Uint8Array<ArrayBuffer> {
  const sector = layout.sectorBytes;
  const bytes = new Uint8Array(RESERVED_SECTORS * sector);
  const view = new DataView(bytes.buffer);
  const text = (at: number, words: string) => bytes.set(encoder.encode(words), at);
  bytes.set([0xeb, 0x58, 0x90]); // BS_jmpBoot
  text(3, "ublk    "); // BS_OEMName
  view.setUint16(11, sector, true); // BPB_BytsPerSec
  view.setUint8(13, layout.clusterBytes / sector); // BPB_SecPerClus
  view.setUint16(14, RESERVED_SECTORS, true); // BPB_RsvdSecCnt
  view.setUint8(16, FATS); // BPB_NumFATs
  view.setUint8(21, 0xf8); // BPB_Media: not removable
  view.setUint16(24, 63, true); // BPB_SecPerTrk
  view.setUint16(26, 255, true); // BPB_NumHeads
  view.setUint32(32, layout.size / sector, true); // BPB_TotSec32
  view.setUint32(36, layout.fatSectors, true); // BPB_FATSz32
  view.setUint32(44, FIRST_CLUSTER, true); // BPB_RootClus
  view.setUint16(48, 1, true); // BPB_FSInfo
  view.setUint16(50, BACKUP_SECTOR, true); // BPB_BkBootSec
  view.setUint8(64, 0x80); // BS_DrvNum
  view.setUint8(66, 0x29); // BS_BootSig: the next three fields are present
  view.setUint32(67, serial, true); // BS_VolID
  bytes.set(label, 71); // BS_VolLab
  text(82, "FAT32   "); // BS_FilSysType
  view.setUint16(510, 0xaa55, true);
  view.setUint32(sector, 0x41615252, true); // FSI_LeadSig
  view.setUint32(sector + 484, 0x61417272, true); // FSI_StrucSig
  const free = layout.clusters - layout.used;
  view.setUint32(sector + 488, free, true); // FSI_Free_Count
  view.setUint32(sector + 492, free === 0 ? 0xffff_ffff : FIRST_CLUSTER + layout.used, true);
  view.setUint32(sector + 508, 0xaa550000, true); // FSI_TrailSig
  bytes.copyWithin(BACKUP_SECTOR * sector, 0, 2 * sector);
  return bytes;
}

function labelOf(label: string): Uint8Array<ArrayBuffer> {
  const clean = label.toUpperCase().replaceAll(/[^A-Z0-9_-]/g, "_").slice(0, 11);
  return encoder.encode((clean || "ARCHIVE").padEnd(11));
}

/** A serial number derived from the contents, so that a volume keeps its identity. */
function serialOf(tree: Tree, layout: FatLayout): number {
  let serial = tree.folderCount + tree.files.length;
  const add = (word: number) => serial = Math.imul(serial, 31) + word | 0;
  for (let folder = 0; folder < tree.folderCount; folder++) {
    add(tree.timeOf(folder) ^ layout.firstOf(folder));
  }
  for (const [fileIndex, member] of tree.files.entries()) {
    add(tree.members.crc32[member] ^ layout.firstOf(tree.folderCount + fileIndex));
  }
  return serial >>> 0;
}
