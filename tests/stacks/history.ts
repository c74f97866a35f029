/**
 * A model of a disk's permitted contents: for each sector, the writes of which a reader must see one,
 * and those of which one must remain after a loss of power.
 *
 * Concurrent requests may take effect in either order, and a failed one may have taken effect or not.
 * Everything else is determined: later reads see an answered write, contents that were seen once stay
 * until they are overwritten, and contents seen when a flush started are durable once the flush was
 * answered.
 *
 * @module
 */

import { SECTOR_BYTES } from "../fake_request.ts";

const WORDS = SECTOR_BYTES / 4;

/** Contents that identify their write; id 0 is all zeroes. */
export function contentOf(id: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(WORDS);
  if (id !== 0) { for (let at = 0; at < WORDS; at++) words[at] = id + at * 0x0100_0193; }
  return new Uint8Array(words.buffer);
}

/** The id of a discarded sector, which may read as anything. */
export const ANYTHING = -1;
/** The id of contents that no single write produced. */
export const TORN = -2;

/** The id of the write that produced the contents. */
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
  /** Infinity while in flight. */
  end: number;
}

/** The candidates of each sector at the start of a request. */
type Snapshot = readonly (readonly Written[])[];

/** The state of one sector. */
class Sector {
  /** A read that starts now sees one of these. */
  seen: Written[];
  /** After a loss of power one of these remains. */
  durable: Written[];
  /** All writes of this life: what a read sees may be overwritten before its answer arrives. */
  readonly all: Written[] = [];
  inFlight = 0;
  /** Time at which a write of it last started or ended. */
  changed = 0;

  constructor(id: number) {
    const first = { id, start: -1, end: -1 };
    this.seen = [first];
    this.durable = [first];
  }
}

/** A violation of the model. */
export class Violation extends Error {}

/** The history of a disk. Sectors are counted from its start. */
export class History {
  readonly #sectors: Sector[];
  #now = 0;

  /** A disk with these contents. */
  constructor(ids: readonly number[]) {
    this.#sectors = ids.map((id) => new Sector(id));
  }

  /** Records the start of a write of sectors from `from` on. @returns A function that records its end. */
  write(from: number, ids: readonly number[]): (ok: boolean, fua: boolean) => void {
    const start = ++this.#now;
    const writes = ids.map((id, index) => {
      const sector = this.#sectors[from + index];
      const written: Written = { id, start, end: Infinity };
      sector.seen.push(written);
      sector.durable.push(written);
      sector.all.push(written);
      sector.inFlight++;
      sector.changed = start;
      return { sector, written };
    });
    return (ok, fua) => {
      const end = ++this.#now;
      for (const { sector, written } of writes) {
        written.end = end;
        sector.inFlight--;
        sector.changed = end;
        const notBefore = (other: Written) => other.end >= start;
        if (ok) sector.seen = sector.seen.filter(notBefore);
        if (ok && fua) sector.durable = sector.durable.filter(notBefore);
      }
    };
  }

  /** Records the start of a read. @returns A function that checks the ids of its contents. */
  read(from: number, count: number): (ids: readonly number[]) => void {
    const start = ++this.#now;
    const snapshot = this.#snapshot(from, count);
    return (ids) => {
      for (const [index, id] of ids.entries()) {
        const sector = this.#sectors[from + index];
        const possible = snapshot[index].concat(sector.all.filter((one) => one.start > start));
        expectOne(possible, id, from + index, "reads as");
        if (sector.inFlight > 0 || sector.changed > start) continue;
        if (sector.seen.some((one) => one.id === ANYTHING)) continue;
        sector.seen = sector.seen.filter((one) => one.id === id);
      }
    };
  }

  /** Records the start of a flush. @returns A function that records its success. */
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
   * Checks the contents that the next server finds, and continues with them. `which` selects for each
   * sector whether it must hold seen or durable contents. If the power never failed, the set of durable
   * contents stays as it was.
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
