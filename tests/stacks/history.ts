/**
 * What a disk may hold: for each sector, the writes of which one must be what a reader sees, and
 * those of which one must be there after a loss of power.
 *
 * Requests that were under way at the same time may have been done in either order; one that
 * failed may have been done or not. Everything else is settled: a write that was answered is seen
 * by whoever asks later, what was seen once stays until it is written again, and what was seen
 * when a flush began is durable once the flush was answered.
 *
 * @module
 */

import { SECTOR_BYTES } from "../fake_request.ts";

const WORDS = SECTOR_BYTES / 4;

/** The contents that say which write they are of; 0 are zeroes. */
export function contentOf(id: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(WORDS);
  if (id !== 0) { for (let at = 0; at < WORDS; at++) words[at] = id + at * 0x0100_0193; }
  return new Uint8Array(words.buffer);
}

/** A sector of a discarded range, which may read as anything. */
export const ANYTHING = -1;
/** Not the contents of any one write. */
export const TORN = -2;

/** Which write the contents are of. */
export function idOf(bytes: Uint8Array): number {
  const words = new Uint32Array(bytes.slice().buffer);
  const id = words[0];
  for (let at = 0; at < WORDS; at++) {
    if (words[at] !== (id === 0 ? 0 : (id + at * 0x0100_0193) >>> 0)) return TORN;
  }
  return id;
}

/** A write of one sector. */
export interface Written {
  readonly id: number;
  readonly start: number;
  /** Infinity while it is under way. */
  end: number;
}

/** Candidates at the start of a request. */
type Snapshot = readonly (readonly Written[])[];

/** One sector. */
class Sector {
  /** A reader who begins now sees one of these. */
  seen: Written[];
  /** After a loss of power one of these is there. */
  durable: Written[];
  /** All of this life: what a reader sees may have been written over before its answer comes. */
  readonly all: Written[] = [];
  underWay = 0;
  /** When a write of it last began or ended. */
  changed = 0;

  constructor(id: number) {
    const first = { id, start: -1, end: -1 };
    this.seen = [first];
    this.durable = [first];
  }
}

/** What was found where it should not be. */
export class Violation extends Error {}

/** The history of a disk. Sectors count from its start. */
export class History {
  readonly #sectors: Sector[];
  #now = 0;

  /** A disk that has these contents. */
  constructor(ids: readonly number[]) {
    this.#sectors = ids.map((id) => new Sector(id));
  }

  /** A write of contents, one for each sector from `from` on. @returns What tells of its end. */
  write(from: number, ids: readonly number[]): (ok: boolean, fua: boolean) => void {
    const start = ++this.#now;
    const writes = ids.map((id, index) => {
      const sector = this.#sectors[from + index];
      const written: Written = { id, start, end: Infinity };
      sector.seen.push(written);
      sector.durable.push(written);
      sector.all.push(written);
      sector.underWay++;
      sector.changed = start;
      return { sector, written };
    });
    return (ok, fua) => {
      const end = ++this.#now;
      for (const { sector, written } of writes) {
        written.end = end;
        sector.underWay--;
        sector.changed = end;
        const notBefore = (other: Written) => other.end >= start;
        if (ok) sector.seen = sector.seen.filter(notBefore);
        if (ok && fua) sector.durable = sector.durable.filter(notBefore);
      }
    };
  }

  /** A read of sectors. @returns What checks its contents, as their identifiers. */
  read(from: number, count: number): (ids: readonly number[]) => void {
    const start = ++this.#now;
    const snapshot = this.#snapshot(from, count);
    return (ids) => {
      for (const [index, id] of ids.entries()) {
        const sector = this.#sectors[from + index];
        const possible = snapshot[index].concat(sector.all.filter((one) => one.start > start));
        expectOne(possible, id, from + index, "reads as");
        if (sector.underWay > 0 || sector.changed > start) continue;
        if (sector.seen.some((one) => one.id === ANYTHING)) continue;
        sector.seen = sector.seen.filter((one) => one.id === id);
      }
    };
  }

  /** A flush. @returns What tells that it has succeeded. */
  flush(): () => void {
    const start = ++this.#now;
    const snapshot = this.#snapshot(0, this.#sectors.length);
    return () => {
      for (const [index, sector] of this.#sectors.entries()) {
        const seen = snapshot[index];
        sector.durable = sector.durable.filter((one) => one.start > start || seen.includes(one));
      }
    };
  }

  #snapshot(from: number, count: number): Snapshot {
    return this.#sectors.slice(from, from + count).map(({ seen }) => seen.slice());
  }

  /**
   * Goes on with what the next server finds. `which` says for each sector whether it must be what
   * was seen or what was durable; where there was power all the time, no more is durable than was.
   */
  restart(
    ids: readonly number[],
    which: (sector: number) => "seen" | "durable",
    power: boolean,
  ): void {
    for (const [index, id] of ids.entries()) {
      const sector = this.#sectors[index];
      const kind = which(index);
      const possible = sector[kind];
      const words = kind === "seen" ? "was answered, and is then" : "was durable, and is then";
      expectOne(possible, id, index, words);
      sector.seen = possible.filter((one) => one.id === id || one.id === ANYTHING);
      if (!power) sector.durable = sector.seen;
    }
  }
}

function expectOne(possible: readonly Written[], id: number, sector: number, words: string): void {
  if (possible.some((one) => one.id === id || one.id === ANYTHING)) return;
  const names = possible.map((one) => nameOf(one.id)).join(" or ");
  throw new Violation(`sector ${sector} ${words} ${nameOf(id)}, and not ${names}`);
}

function nameOf(id: number): string {
  if (id === TORN) return "no one write's";
  return id === 0 ? "zeroes" : id === ANYTHING ? "anything" : id.toString(16);
}
