/**
 * The contents of one file in memory: the bytes that readers see, the durable bytes, and for each
 * sector the versions that may remain after a power failure.
 *
 * The rules model the worst behaviour of a journalling filesystem on a disk with a cache:
 *
 * - A sector (512 bytes) is never torn. After a power failure each sector holds its durable version
 *   or any version written since, independently of other sectors. So writes may be torn, and later
 *   writes may survive without earlier ones.
 * - Lengths, holes and zeroed ranges are metadata, and the journal keeps their order: of the
 *   changes since the last sync, the first ones survive. For each range: data written after a
 *   change that is lost is lost too, and data written before a change that survives is gone.
 * - A write that extends the file may have changed the length before its data. The new part then
 *   reads as zeroes.
 * - If a range covers a block of the filesystem in part, zeroing that part is a write of data.
 * - A failed sync has written a part of the data, also earlier versions of a sector. The rest is lost:
 *   it can be read until the page cache drops it, and no later sync writes it. Metadata is durable,
 *   or left to the next sync with the data that was written.
 *
 * @module
 */

import { ENOSPC } from "../uapi/errno.ts";
import { assert } from "../uapi/error.ts";
import type { Dice } from "../uapi/dice.ts";
import { fileError } from "./file_error.ts";

/** Size of a sector, which is never torn, in bytes. */
export const SECTOR_BYTES = 512;
/** The unit of space allocation, in bytes. */
export const SPACE_BYTES = 4096;

/** The space of a filesystem, in units of {@linkcode SPACE_BYTES}. */
export interface Space {
  /** Number of free units. */
  free: number;
}

/** The part of the unsynced changes that survives a power failure. */
export type Remains =
  /** None of them: only the durable state remains. */
  | "none"
  /** All of them. */
  | "all"
  /** All changes up to a moment; the last one in part. */
  | "first"
  /** All lengths and holes, and no data. */
  | "metadata"
  /** Any combination that the rules allow. */
  | "any";

/** The outcomes to draw from. */
export const REMAINS: readonly Remains[] = ["none", "all", "first", "metadata", "any", "any"];

/** Contents of a sector; undefined for a hole. */
type Sector = Uint8Array | undefined;

/** A version of a sector that is not durable. */
interface Version {
  /** Position of the change among all changes of the file. */
  readonly order: number;
  readonly sector: Sector;
  /** The version comes from a change of metadata. */
  readonly isMetadata: boolean;
}

/** A length that is not durable. */
interface Length {
  readonly order: number;
  readonly bytes: number;
  /** The length was set explicitly; it is not the end of a write. */
  readonly isSet: boolean;
}

/** The contents of one file. */
export class Contents {
  readonly #space: Space;
  #bytes = 0;
  #durableBytes = 0;
  readonly #seen = new Map<number, Uint8Array>();
  readonly #durable = new Map<number, Uint8Array>();
  /** Versions that are not durable, by sector, in order. */
  readonly #versions = new Map<number, Version[]>();
  #lengths: Length[] = [];
  /** Positions of the metadata changes. */
  #metadata: number[] = [];
  #order = 0;
  /** Syncs that have failed. */
  syncFailures = 0;
  /** Sectors whose data is only in the page cache, because a failed sync lost it. */
  readonly #lost = new Set<number>();
  /** Units with allocated space. */
  readonly #units = new Set<number>();
  /** Units whose allocation may be lost in a power failure. */
  readonly #newUnits = new Set<number>();

  /** Makes an empty file on a filesystem. */
  constructor(space: Space) {
    this.#space = space;
  }

  /** The file's length in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The allocated space in bytes. */
  get allocatedBytes(): number {
    return this.#units.size * SPACE_BYTES;
  }

  /** Reads the visible bytes. @returns The number of bytes; 0 at the end. */
  read(buffer: Uint8Array, offset: number): number {
    const end = Math.min(offset + buffer.length, this.#bytes);
    for (let at = offset; at < end;) {
      const sector = Math.floor(at / SECTOR_BYTES);
      const start = sector * SECTOR_BYTES;
      const to = Math.min(end, start + SECTOR_BYTES);
      const bytes = this.#seen.get(sector);
      if (bytes === undefined) buffer.fill(0, at - offset, to - offset);
      else buffer.set(bytes.subarray(at - start, to - start), at - offset);
      at = to;
    }
    return Math.max(0, end - offset);
  }

  /**
   * Writes as many bytes as there is room for.
   *
   * @returns The number of bytes.
   * @throws {UblkError} ENOSPC if there is no room at all.
   */
  write(bytes: Uint8Array, offset: number): number {
    const end = this.#takeSpace(offset, offset + bytes.length);
    if (end <= offset) throw fileError("pwrite", ENOSPC);
    const order = ++this.#order;
    for (let at = offset; at < end;) {
      const sector = Math.floor(at / SECTOR_BYTES);
      const start = sector * SECTOR_BYTES;
      const to = Math.min(end, start + SECTOR_BYTES);
      const content = new Uint8Array(SECTOR_BYTES);
      if (to - at < SECTOR_BYTES) content.set(this.#seen.get(sector) ?? content);
      content.set(bytes.subarray(at - offset, to - offset), at - start);
      this.#change(sector, { order, sector: content, isMetadata: false });
      at = to;
    }
    if (end > this.#bytes) this.#setLength(end, order, false);
    return end - offset;
  }

  /** Sets the length. */
  truncate(bytes: number): void {
    const order = this.#changeMetadata();
    if (bytes < this.#bytes) {
      this.#clear(bytes, this.#bytes, order);
      const end = Math.ceil(bytes / SPACE_BYTES);
      for (const unit of [...this.#units]) if (unit >= end) this.#giveUnit(unit);
    }
    this.#setLength(bytes, order, true);
  }

  /**
   * Allocates the space of a range.
   *
   * @throws {UblkError} ENOSPC if there is not enough. As in ext4, a part may stay allocated.
   */
  reserve(offset: number, length: number): void {
    if (this.#takeSpace(offset, offset + length) < offset + length) {
      throw fileError("fallocate", ENOSPC);
    }
  }

  /** Zeroes a range, and frees the space of whole units if allowed. */
  zero(offset: number, length: number, givesBack: boolean): void {
    const order = this.#changeMetadata();
    this.#clear(offset, offset + length, order, SPACE_BYTES);
    if (!givesBack) return;
    const end = Math.floor((offset + length) / SPACE_BYTES);
    for (let unit = Math.ceil(offset / SPACE_BYTES); unit < end; unit++) this.#giveUnit(unit);
  }

  /** Makes everything durable except the data lost in a failed sync. */
  sync(): void {
    for (const [sector, versions] of this.#versions) {
      const last = versions.at(-1);
      if (last !== undefined) put(this.#durable, sector, last.sector);
    }
    this.#settle();
  }

  /**
   * Makes the sectors of a range durable, and nothing else. There must be no change of metadata that
   * this would have to wait for.
   */
  syncRange(offset: number, length: number): void {
    const hasMetadata = this.#metadata.length > 0 || this.#lengths.length > 0;
    assert(!hasMetadata, "bytes that the file has are written over");
    const end = Math.ceil((offset + length) / SECTOR_BYTES);
    for (let sector = Math.floor(offset / SECTOR_BYTES); sector < end; sector++) {
      const last = this.#versions.get(sector)?.at(-1);
      if (last === undefined) continue;
      put(this.#durable, sector, last.sector);
      this.#versions.delete(sector);
    }
  }

  /** Fails a sync: a part of the changes becomes durable, the rest is lost. */
  failSync(dice: Dice): void {
    this.syncFailures++;
    for (const [sector, versions] of this.#versions) {
      const first = 1 + versions.findLastIndex(({ isMetadata }) => isMetadata);
      if (first === versions.length || dice.draw(3) === 0) continue;
      // Writeback reached one of these versions, or none.
      versions.length = first + dice.draw(versions.length - first);
      this.#lost.add(sector);
    }
    if (dice.draw(2) === 0) this.sync();
  }

  /** Drops clean pages from the page cache: lost data becomes invisible. */
  dropLost(): void {
    for (const sector of this.#lost) {
      const last = this.#versions.get(sector)?.at(-1);
      put(this.#seen, sector, last === undefined ? this.#durable.get(sector) : last.sector);
    }
    this.#lost.clear();
  }

  /** Simulates a power failure. */
  crash(dice: Dice, remains: Remains): void {
    const newUnits = [...this.#newUnits];
    const cut = this.#cutOf(dice, remains);
    for (const [sector, versions] of this.#versions) {
      const index = pick(versions, cut, dice, remains);
      if (index >= 0) put(this.#durable, sector, versions[index].sector);
    }
    this.#bytes = this.#lengthAfter(cut, dice, remains);
    this.#settle();
    this.#lost.clear();
    this.#cutOff();
    this.#seen.clear();
    for (const [sector, bytes] of this.#durable) this.#seen.set(sector, bytes);
    for (const unit of newUnits) {
      if (!this.#hasData(unit) && dice.draw(2) === 0) this.#giveUnit(unit);
    }
    // Sectors that were freed may have come back.
    for (const sector of this.#seen.keys()) this.#takeUnit(unitOf(sector));
    this.#newUnits.clear();
  }

  /** Frees all space. For a file without a name that nobody has open. */
  release(): void {
    for (const unit of [...this.#units]) this.#giveUnit(unit);
  }

  /** The position up to which metadata changes survive. */
  #cutOf(dice: Dice, remains: Remains): number {
    if (remains === "none") return 0;
    if (remains === "first") return dice.draw(this.#order + 1);
    if (remains !== "any") return this.#order;
    const index = dice.draw(this.#metadata.length + 1);
    return index === 0 ? 0 : this.#metadata[index - 1];
  }

  #lengthAfter(cut: number, dice: Dice, remains: Remains): number {
    if (remains === "none") return this.#durableBytes;
    const set = this.#lengths.findLastIndex((one) => one.isSet && one.order <= cut);
    const from = set < 0 ? this.#durableBytes : this.#lengths[set].bytes;
    // Ends of writes between this length and the next one that was set explicitly.
    const rest = this.#lengths.slice(set + 1);
    const next = rest.findIndex((one) => one.isSet);
    const ends = next < 0 ? rest : rest.slice(0, next);
    const there = remains === "first" ? ends.filter((one) => one.order <= cut) : ends;
    const count = remains === "any" ? dice.draw(there.length + 1) : there.length;
    return count === 0 ? from : there[count - 1].bytes;
  }

  /** Removes everything beyond the end of the file. */
  #cutOff(): void {
    for (const [sector, bytes] of this.#durable) {
      const rest = this.#bytes - sector * SECTOR_BYTES;
      if (rest <= 0) this.#durable.delete(sector);
      else if (rest < SECTOR_BYTES) this.#durable.set(sector, bytes.slice().fill(0, rest));
    }
  }

  #settle(): void {
    this.#durableBytes = this.#bytes;
    this.#versions.clear();
    this.#lengths = [];
    this.#metadata = [];
    this.#newUnits.clear();
  }

  #changeMetadata(): number {
    const order = ++this.#order;
    this.#metadata.push(order);
    return order;
  }

  #setLength(bytes: number, order: number, isSet: boolean): void {
    this.#bytes = bytes;
    this.#lengths.push({ order, bytes, isSet });
  }

  #change(sector: number, version: Version): void {
    put(this.#seen, sector, version.sector);
    this.#lost.delete(sector);
    const versions = this.#versions.get(sector);
    if (versions === undefined) this.#versions.set(sector, [version]);
    else versions.push(version);
  }

  /**
   * Zeroes a range by a change of metadata. Units of `unitBytes` that it covers only in part are
   * zeroed by writes.
   */
  #clear(from: number, to: number, order: number, unitBytes = SECTOR_BYTES): void {
    const first = Math.floor(from / SECTOR_BYTES);
    const last = Math.ceil(to / SECTOR_BYTES);
    // Visit existing sectors only: the range may be far longer than the contents.
    const sectors = new Set([...this.#seen.keys(), ...this.#versions.keys(), ...this.#lost]);
    for (const sector of sectors) {
      if (sector < first || sector >= last) continue;
      const start = sector * SECTOR_BYTES;
      const isWhole = from <= start && to >= start + SECTOR_BYTES;
      let content: Sector;
      const seen = this.#seen.get(sector);
      if (!isWhole && seen !== undefined) {
        const at = Math.max(0, from - start);
        content = seen.slice().fill(0, at, Math.min(SECTOR_BYTES, to - start));
      }
      const unit = Math.floor(start / unitBytes) * unitBytes;
      const isMetadata = unitBytes === SECTOR_BYTES || from <= unit && to >= unit + unitBytes;
      this.#change(sector, { order, sector: content, isMetadata });
    }
  }

  /** Allocates space until none is left. @returns The end of the allocated range. */
  #takeSpace(from: number, to: number): number {
    const end = Math.ceil(to / SPACE_BYTES);
    for (let unit = Math.floor(from / SPACE_BYTES); unit < end; unit++) {
      if (!this.#units.has(unit) && this.#space.free <= 0) {
        return Math.max(from, unit * SPACE_BYTES);
      }
      this.#takeUnit(unit);
    }
    return to;
  }

  #takeUnit(unit: number): void {
    if (this.#units.has(unit)) return;
    this.#units.add(unit);
    this.#newUnits.add(unit);
    this.#space.free--;
  }

  #giveUnit(unit: number): void {
    if (!this.#units.delete(unit)) return;
    this.#newUnits.delete(unit);
    this.#space.free++;
  }

  #hasData(unit: number): boolean {
    const first = unit * SPACE_BYTES / SECTOR_BYTES;
    for (let sector = first; sector < first + SPACE_BYTES / SECTOR_BYTES; sector++) {
      if (this.#durable.has(sector)) return true;
    }
    return false;
  }
}

/** Index of the version of a sector that survives, if metadata survives up to `cut`; -1: none. */
function pick(
  versions: readonly Version[],
  cut: number,
  dice: Dice,
  remains: Remains,
): number {
  if (remains === "none") return -1;
  if (remains === "all") return versions.length - 1;
  if (remains === "first") {
    // The write at the cut is torn.
    const last = versions.findLastIndex(({ order }) => order <= cut);
    const isTorn = last >= 0 && versions[last].order === cut && !versions[last].isMetadata;
    return isTorn && dice.draw(2) === 0 ? last - 1 : last;
  }
  const least = versions.findLastIndex((one) => one.isMetadata && one.order <= cut);
  if (remains === "metadata") return least;
  const next = versions.findIndex((one) => one.isMetadata && one.order > cut);
  const end = next < 0 ? versions.length : next;
  return least + dice.draw(end - least);
}

function put(sectors: Map<number, Uint8Array>, sector: number, bytes: Sector): void {
  if (bytes === undefined) sectors.delete(sector);
  else sectors.set(sector, bytes);
}

function unitOf(sector: number): number {
  return Math.floor(sector * SECTOR_BYTES / SPACE_BYTES);
}
