/**
 * The zones of a disk in memory: conditions, write pointers, and the limits of open and active zones.
 * It is the state machine of ZBC, ZAC and ZNS, without read-only and offline zones.
 *
 * @module
 */

import { EIO, EOVERFLOW, ETOOMANYREFS } from "../uapi/errno.ts";
import { assert, UblkError } from "../uapi/error.ts";
import type { Zone, ZoneCondition } from "../disk/backend.ts";

const CONVENTIONAL = 0;
const EMPTY = 1;
const IMPLICITLY_OPEN = 2;
const EXPLICITLY_OPEN = 3;
const CLOSED = 4;
const FULL = 5;

const NAMES: readonly ZoneCondition[] = [
  "conventional",
  "empty",
  "implicitly-open",
  "explicitly-open",
  "closed",
  "full",
];

/** Number, size and limits of a disk's zones. */
export interface ZoneLayout {
  /** The number of zones. */
  readonly count: number;
  /** The size of each zone in bytes. */
  readonly size: number;
  /** The number of conventional zones, which are the first ones and have no write pointer. */
  readonly conventional: number;
  /** The maximum number of open zones; 0 for no limit. */
  readonly maxOpen: number;
  /** The maximum number of zones that are open or closed; 0 for no limit. */
  readonly maxActive: number;
}

/**
 * The conditions of zones. Each method succeeds in full, or throws and changes nothing.
 *
 * An error is a `UblkError` with the errno that the block layer uses for it: EIO, `ETOOMANYREFS`
 * (limit of open zones) or `EOVERFLOW` (limit of active zones).
 */
export class ZoneStates {
  readonly #layout: ZoneLayout;
  readonly #conditions: Uint8Array<ArrayBuffer>;
  readonly #written: Float64Array<ArrayBuffer>;
  #implicit = 0;
  #explicit = 0;
  #closed = 0;
  /** The zone that was last closed because another one was opened. */
  #lastClosed: number;

  /** Makes the states of zones that are all empty. */
  constructor(layout: ZoneLayout) {
    assert(
      layout.conventional <= layout.count,
      "no more zones have no write pointer than there are",
    );
    assert(layout.count > 0 && layout.size > 0, "there are zones");
    this.#layout = layout;
    this.#conditions = new Uint8Array(layout.count)
      .fill(CONVENTIONAL, 0, layout.conventional)
      .fill(EMPTY, layout.conventional);
    this.#written = new Float64Array(layout.count);
    this.#lastClosed = layout.count - 1;
  }

  /** A zone in the form of a zone report. */
  zone(zone: number): Zone {
    return { condition: NAMES[this.#conditions[zone]], written: this.#written[zone] };
  }

  /** Whether the zone accepts writes anywhere. */
  isConventional(zone: number): boolean {
    return zone < this.#layout.conventional;
  }

  /** Bytes from a zone's start to its write pointer. */
  written(zone: number): number {
    return this.#written[zone];
  }

  /**
   * Moves a zone's write pointer past a write at that pointer.
   *
   * @param at Offset of the write in bytes from the zone's start.
   */
  write(zone: number, at: number, bytes: number): void {
    this.#checkSequential(zone);
    const condition = this.#conditions[zone];
    const written = this.#written[zone];
    if (condition === FULL) throw refused(zone, "it is full");
    if (at !== written) {
      throw refused(zone, `written at ${at}, not at its write pointer ${written}`);
    }
    if (written + bytes > this.#layout.size) {
      throw refused(zone, `${this.#layout.size - written} bytes are left, not ${bytes}`);
    }
    if (condition !== IMPLICITLY_OPEN && condition !== EXPLICITLY_OPEN) {
      this.#makeRoom(zone);
      this.#become(zone, IMPLICITLY_OPEN);
    }
    this.#written[zone] = written + bytes;
    assert(
      bytes > 0 && written + bytes <= this.#layout.size,
      "the pointer moves on, within its zone",
    );
    if (written + bytes === this.#layout.size) this.#become(zone, FULL);
  }

  /** Opens a zone explicitly. */
  open(zone: number): void {
    this.#checkSequential(zone);
    const condition = this.#conditions[zone];
    if (condition === FULL) throw refused(zone, "it is full");
    if (condition === EMPTY || condition === CLOSED) this.#makeRoom(zone);
    this.#become(zone, EXPLICITLY_OPEN);
  }

  /** Closes an open zone. A zone without written data becomes empty. */
  close(zone: number): void {
    this.#checkSequential(zone);
    const condition = this.#conditions[zone];
    if (condition === EMPTY || condition === FULL) {
      throw refused(zone, `it is ${NAMES[condition]} and cannot be closed`);
    }
    this.#become(zone, this.#written[zone] === 0 ? EMPTY : CLOSED);
  }

  /** Makes a zone full. */
  finish(zone: number): void {
    this.#checkSequential(zone);
    const condition = this.#conditions[zone];
    if (condition === EMPTY || condition === CLOSED) this.#makeRoom(zone);
    this.#written[zone] = this.#layout.size;
    this.#become(zone, FULL);
  }

  /**
   * Empties a zone.
   *
   * @returns Whether it was not empty.
   */
  reset(zone: number): boolean {
    this.#checkSequential(zone);
    const wasWritten = this.#written[zone] > 0;
    this.#written[zone] = 0;
    this.#become(zone, EMPTY);
    return wasWritten;
  }

  #checkSequential(zone: number): void {
    if (!this.isConventional(zone)) return;
    throw refused(zone, "it is conventional and has no write pointer");
  }

  #become(zone: number, condition: number): void {
    this.#count(this.#conditions[zone], -1);
    this.#count(condition, 1);
    this.#conditions[zone] = condition;
  }

  #count(condition: number, by: number): void {
    if (condition === IMPLICITLY_OPEN) this.#implicit += by;
    else if (condition === EXPLICITLY_OPEN) this.#explicit += by;
    else if (condition === CLOSED) this.#closed += by;
    assert(this.#implicit >= 0 && this.#explicit >= 0 && this.#closed >= 0, "zones are counted");
  }

  /** Makes room for another open zone, if necessary by closing one. */
  #makeRoom(zone: number): void {
    const { maxOpen, maxActive } = this.#layout;
    const open = this.#implicit + this.#explicit;
    const isActive = this.#conditions[zone] === CLOSED;
    if (!isActive && maxActive > 0 && open + this.#closed >= maxActive) {
      throw refused(zone, `${maxActive} zones are active, and no more may be`, EOVERFLOW);
    }
    if (maxOpen === 0 || open < maxOpen) return;
    if (this.#implicit === 0) {
      throw refused(zone, `${maxOpen} zones are open, and no more may be`, ETOOMANYREFS);
    }
    this.#closeOne();
    assert(this.#implicit + this.#explicit < maxOpen, "another zone may be opened now");
  }

  /** Closes an implicitly open zone, in round-robin order as null_blk does. */
  #closeOne(): void {
    const { count, conventional } = this.#layout;
    do {
      if (++this.#lastClosed === count) this.#lastClosed = conventional;
    } while (this.#conditions[this.#lastClosed] !== IMPLICITLY_OPEN);
    this.#become(this.#lastClosed, CLOSED);
  }
}

function refused(zone: number, reason: string, errno: number = EIO): UblkError {
  return new UblkError("SYSCALL_FAILED", { operation: `zone ${zone}`, reason, errno });
}
