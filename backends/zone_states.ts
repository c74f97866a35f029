/**
 * The zones of a disk in memory: conditions, write pointers, and the limits on how many may be open
 * and active. The state machine of ZBC, ZAC and ZNS without their zones that break.
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

/** What the zones of a disk are. */
export interface ZoneLayout {
  /** How many there are. */
  readonly count: number;
  /** Bytes of each. */
  readonly size: number;
  /** How many of them, the first ones, have no write pointer. */
  readonly conventional: number;
  /** The most that are open at a time; 0 for no limit. */
  readonly maxOpen: number;
  /** The most that are open or closed at a time; 0 for no limit. */
  readonly maxActive: number;
}

/**
 * The conditions of zones. Each method does what it says in full, or throws and changes nothing.
 *
 * An error is a `UblkError` with the errno that the block layer has for it: EIO, `ETOOMANYREFS`
 * (the limit of open zones) or `EOVERFLOW` (of active ones).
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

  /** All empty. */
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

  /** A zone as a report has it. */
  zone(zone: number): Zone {
    return { condition: NAMES[this.#conditions[zone]], written: this.#written[zone] };
  }

  /** Whether it may be written anywhere. */
  isConventional(zone: number): boolean {
    return zone < this.#layout.conventional;
  }

  /** Bytes from a zone's start to its write pointer. */
  written(zone: number): number {
    return this.#written[zone];
  }

  /**
   * Moves a zone's write pointer behind a write at it.
   *
   * @param at Where it is written, in bytes from the zone's start.
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

  /** Closes an open zone; one in which nothing is written is empty then. */
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

  /** Sees to it that a zone which is not open may be; for that another one may get closed. */
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

  /** Closes an implicitly open zone: each in its turn, as null_blk does. */
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
