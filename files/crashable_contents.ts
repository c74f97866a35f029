/**
 * The contents of one file in memory: what a reader sees, what is durable, and for each sector what
 * it may be after a loss of power.
 *
 * The rules, which are the worst that a journalling filesystem over a disk with a cache does:
 *
 * - A sector (512 bytes) is never torn. Each is what was durable or any version written since, in
 *   no order: the last write is torn, and later ones are there before earlier ones.
 * - Lengths, holes and zeroed ranges are metadata, and the journal keeps their order: of those since
 *   the last sync the first ones are there. What was written after one that is not there is not there
 *   either; what was written before one that is there is gone.
 * - A write that makes the file longer may have done so before its data: then that reads as zeroes.
 * - Of a block of the filesystem that is not zeroed as a whole, the part is data, as if written.
 * - A failed sync has written some of it, also earlier versions. The rest is lost: it is read until
 *   the page cache drops it, and no later sync writes it. The metadata may be durable, or wait for
 *   the next sync with what was written.
 *
 * @module
 */

import { ENOSPC } from "../uapi/errno.ts";
import type { Dice } from "../uapi/dice.ts";
import { fileError } from "./file_error.ts";

/** Bytes that are never torn. */
export const SECTOR_BYTES = 512;
/** The unit of space. */
export const SPACE_BYTES = 4096;

/** The space of a filesystem, in units of {@linkcode SPACE_BYTES}. */
export interface Space {
  /** What nobody has. */
  free: number;
}

/** What a loss of power leaves of what was not synced. */
export type Remains =
  /** Nothing: what is durable. */
  | "none"
  /** All of it. */
  | "all"
  /** What was done up to a moment; the last of it in part. */
  | "first"
  /** All lengths and holes, and no data. */
  | "metadata"
  /** Any of it that the rules allow. */
  | "any";

/** All of them. */
export const REMAINS: readonly Remains[] = ["none", "all", "first", "metadata", "any", "any"];

/** Contents of a sector; undefined is a hole. */
type Sector = Uint8Array | undefined;

/** A version of a sector that is not durable. */
interface Version {
  /** When it was made, in the order of all changes of the file. */
  readonly order: number;
  readonly sector: Sector;
  /** It is the work of a change of metadata. */
  readonly isMetadata: boolean;
}

/** A length that is not durable. */
interface Length {
  readonly order: number;
  readonly bytes: number;
  /** It was set, and is not the end of a write. */
  readonly isSet: boolean;
}

/** The contents of one file. */
export class Contents {
  readonly #space: Space;
  #bytes = 0;
  #durableBytes = 0;
  readonly #seen = new Map<number, Uint8Array>();
  readonly #durable = new Map<number, Uint8Array>();
  /** By sector, in their order. */
  readonly #versions = new Map<number, Version[]>();
  #lengths: Length[] = [];
  /** When metadata changed. */
  #metadata: number[] = [];
  #order = 0;
  /** Sectors of which the page cache shows what the disk has lost. */
  readonly #lost = new Set<number>();
  /** Units that have their space. */
  readonly #units = new Set<number>();
  /** Those that may not have it after a loss of power. */
  readonly #newUnits = new Set<number>();

  /** An empty file on a filesystem. */
  constructor(space: Space) {
    this.#space = space;
  }

  /** Its length. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Its space in bytes. */
  get allocatedBytes(): number {
    return this.#units.size * SPACE_BYTES;
  }

  /** Reads what is seen. @returns Bytes; 0 at the end. */
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
   * Writes as much as there is room for.
   *
   * @returns Bytes.
   * @throws {UblkError} ENOSPC where there is none.
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

  /** Sets its length. */
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
   * Gives a range its space.
   *
   * @throws {UblkError} ENOSPC where there is not enough; what it took it keeps, as ext4 does.
   */
  reserve(offset: number, length: number): void {
    if (this.#takeSpace(offset, offset + length) < offset + length) {
      throw fileError("fallocate", ENOSPC);
    }
  }

  /** Makes a range read as zeroes, and gives the space of whole units back if it may. */
  zero(offset: number, length: number, givesBack: boolean): void {
    const order = this.#changeMetadata();
    this.#clear(offset, offset + length, order, SPACE_BYTES);
    if (!givesBack) return;
    const end = Math.floor((offset + length) / SPACE_BYTES);
    for (let unit = Math.ceil(offset / SPACE_BYTES); unit < end; unit++) this.#giveUnit(unit);
  }

  /** Makes all of it durable but for what was lost before. */
  sync(): void {
    for (const [sector, versions] of this.#versions) {
      const last = versions.at(-1);
      if (last !== undefined) put(this.#durable, sector, last.sector);
    }
    this.#settle();
  }

  /** A sync that fails: some of it is durable, and the rest is lost. */
  failSync(dice: Dice): void {
    for (const [sector, versions] of this.#versions) {
      const first = 1 + versions.findLastIndex(({ isMetadata }) => isMetadata);
      if (first === versions.length || dice.draw(3) === 0) continue;
      // Writeback had come no further than one of these.
      versions.length = first + dice.draw(versions.length - first);
      this.#lost.add(sector);
    }
    if (dice.draw(2) === 0) this.sync();
  }

  /** The page cache drops what is clean: what was lost is not seen any more. */
  dropLost(): void {
    for (const sector of this.#lost) {
      const last = this.#versions.get(sector)?.at(-1);
      put(this.#seen, sector, last === undefined ? this.#durable.get(sector) : last.sector);
    }
    this.#lost.clear();
  }

  /** The machine loses its power. */
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
    // What was given back may be there again.
    for (const sector of this.#seen.keys()) this.#takeUnit(unitOf(sector));
    this.#newUnits.clear();
  }

  /** Gives all its space back: it has no name any more, and nobody has it open. */
  release(): void {
    for (const unit of [...this.#units]) this.#giveUnit(unit);
  }

  /** Up to which change the metadata is there. */
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
    // Ends of writes between it and the next that was set.
    const rest = this.#lengths.slice(set + 1);
    const next = rest.findIndex((one) => one.isSet);
    const ends = next < 0 ? rest : rest.slice(0, next);
    const there = remains === "first" ? ends.filter((one) => one.order <= cut) : ends;
    const count = remains === "any" ? dice.draw(there.length + 1) : there.length;
    return count === 0 ? from : there[count - 1].bytes;
  }

  /** Nothing is behind the end. */
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
   * A range reads as zeroes from now on: by a change of metadata, but for units of so many bytes that
   * are not in it as a whole. Those are written.
   */
  #clear(from: number, to: number, order: number, unitBytes = SECTOR_BYTES): void {
    const first = Math.floor(from / SECTOR_BYTES);
    const last = Math.ceil(to / SECTOR_BYTES);
    // Of a range that may be far longer than what it has.
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

  /** Takes space up to where there is none. @returns The end of what has it. */
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

/** Which version of a sector a loss of power leaves, metadata being there up to `cut`; -1: none. */
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
