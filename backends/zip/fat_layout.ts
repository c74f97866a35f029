/**
 * The layout of a FAT32 volume: the sizes of its clusters and tables, and the clusters of each folder
 * and file. Each is contiguous, folders first, so that its first cluster describes it completely.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { formatSize } from "../../disk/size.ts";
import type { Tree } from "./tree.ts";

/** Sectors before the first table, as in `mkfs.fat`. */
export const RESERVED_SECTORS = 32;
/** Copies of the table. */
export const FATS = 2;
/** Number of the first cluster. */
export const FIRST_CLUSTER = 2;
/** Bytes of a directory entry. */
export const ENTRY_BYTES = 32;

/** With fewer clusters it would be FAT16. 16 more, because some implementations miscount. */
const MIN_CLUSTERS = 65525 + 16;
/** Larger numbers have other meanings. */
const MAX_CLUSTERS = 0x0fff_fff5 - FIRST_CLUSTER;
const MAX_SECTORS = 2 ** 32 - 1;
/** Bytes of a cluster: at least a page, and at most what every implementation can read. */
const MIN_CLUSTER_BYTES = 4096;
const MAX_CLUSTER_BYTES = 32768;

/** The sizes of a volume's parts. */
interface Geometry {
  readonly clusterBytes: number;
  /** Clusters in use. */
  readonly used: number;
  readonly clusters: number;
  readonly fatSectors: number;
  /** The position of the first cluster. */
  readonly dataAt: number;
  readonly size: number;
}

/** The layout of a tree. Its items are the folders by number, followed by the files by index. */
export class FatLayout {
  /** Bytes of a logical sector. */
  readonly sectorBytes: number;
  /** Bytes of a cluster. */
  readonly clusterBytes: number;
  /** Bytes of the volume. */
  readonly size: number;
  /** Sectors of a table. */
  readonly fatSectors: number;
  /** The position of the first cluster, in bytes. */
  readonly dataAt: number;
  /** The number of clusters. */
  readonly clusters: number;
  /** The number of clusters in use, which are the first ones. */
  readonly used: number;
  /** The first cluster of each item, and after them the first free cluster. Empty items have none. */
  readonly #firsts: Uint32Array<ArrayBuffer>;

  /** @throws {UblkError} `INVALID_ARGUMENT` if it is more than FAT32 can hold. */
  constructor(tree: Tree, sectorBytes: number) {
    const geometry = geometryFor(tree, sectorBytes);
    this.sectorBytes = sectorBytes;
    this.clusterBytes = geometry.clusterBytes;
    this.size = geometry.size;
    this.fatSectors = geometry.fatSectors;
    this.dataAt = geometry.dataAt;
    this.clusters = geometry.clusters;
    this.used = geometry.used;
    const items = itemsOf(tree);
    this.#firsts = new Uint32Array(items + 1);
    let next = FIRST_CLUSTER;
    for (let item = 0; item < items; item++) {
      this.#firsts[item] = next;
      next += Math.ceil(bytesOf(tree, item) / this.clusterBytes);
    }
    this.#firsts[items] = next;
  }

  /** The first cluster of an item; 0 for an empty one. */
  firstOf(item: number): number {
    return this.#firsts[item + 1] === this.#firsts[item] ? 0 : this.#firsts[item];
  }

  /** The last cluster of an item that is not empty. */
  lastOf(item: number): number {
    return this.#firsts[item + 1] - 1;
  }

  /** The item that a used cluster belongs to. */
  itemAt(cluster: number): number {
    // The last of the items that start at or before it; earlier ones at the same cluster are empty.
    let [low, high] = [0, this.#firsts.length - 2];
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#firsts[middle] <= cluster) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function itemsOf(tree: Tree): number {
  return tree.folderCount + tree.files.length;
}

function bytesOf(tree: Tree, item: number): number {
  return item < tree.folderCount
    ? tree.entries[item] * ENTRY_BYTES
    : tree.fileBytes(item - tree.folderCount);
}

/** The geometry with the smallest clusters whose number is not too large. */
function geometryFor(tree: Tree, sectorBytes: number): Geometry {
  let size = 0;
  for (let clusterBytes = MIN_CLUSTER_BYTES; clusterBytes <= MAX_CLUSTER_BYTES; clusterBytes *= 2) {
    let used = 0;
    for (let item = 0; item < itemsOf(tree); item++) {
      used += Math.ceil(bytesOf(tree, item) / clusterBytes);
    }
    const clusters = Math.max(MIN_CLUSTERS, used);
    // A multiple of four, so that the clusters start at a multiple of a page.
    const fatSectors = Math.ceil((clusters + FIRST_CLUSTER) * 4 / sectorBytes / 4) * 4;
    const dataAt = (RESERVED_SECTORS + FATS * fatSectors) * sectorBytes;
    size = dataAt + clusters * clusterBytes;
    if (used > MAX_CLUSTERS || size / sectorBytes > MAX_SECTORS) continue;
    return { clusterBytes, used, clusters, fatSectors, dataAt, size };
  }
  throw new UblkError("INVALID_ARGUMENT", {
    operation: "a FAT32 volume",
    reason: `${formatSize(size)} is more than it can hold`,
    hint: "use larger blocks (block size 4096), or split the archive",
  });
}
