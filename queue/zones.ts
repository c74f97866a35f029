/**
 * Zone requests: calls the backend's method for each one, and converts the result to an answer.
 * Reports and appends use user copy. The command that answers an append carries its sector.
 *
 * @module
 */

import type { Zone, ZoneCondition, ZoneMethods } from "../disk/backend.ts";
import { writeOptions } from "../disk/calls.ts";
import {
  blk_zone,
  BLK_ZONE_COND_CLOSED,
  BLK_ZONE_COND_EMPTY,
  BLK_ZONE_COND_EXP_OPEN,
  BLK_ZONE_COND_FULL,
  BLK_ZONE_COND_IMP_OPEN,
  BLK_ZONE_COND_NOT_WP,
  BLK_ZONE_COND_OFFLINE,
  BLK_ZONE_COND_READONLY,
  BLK_ZONE_TYPE_CONVENTIONAL,
  BLK_ZONE_TYPE_SEQWRITE_REQ,
} from "../uapi/block.ts";
import { EIO, EOPNOTSUPP } from "../uapi/errno.ts";
import { assert, UblkError } from "../uapi/error.ts";
import { encode } from "../uapi/struct.ts";
import {
  UBLK_IO_OP_REPORT_ZONES,
  UBLK_IO_OP_ZONE_APPEND,
  UBLK_IO_OP_ZONE_CLOSE,
  UBLK_IO_OP_ZONE_FINISH,
  UBLK_IO_OP_ZONE_OPEN,
  UBLK_IO_OP_ZONE_RESET,
  UBLK_IO_OP_ZONE_RESET_ALL,
} from "../uapi/ublk_io.ts";
import type { SlotBuffers } from "./buffers.ts";
import type { LogWriter } from "./log_ring.ts";
import { SlotFaults } from "./slot_faults.ts";
import type { Slots } from "./slots.ts";

const SECTOR_BYTES = 512;

const CONDITIONS: Readonly<Record<ZoneCondition, number>> = {
  "conventional": BLK_ZONE_COND_NOT_WP,
  "empty": BLK_ZONE_COND_EMPTY,
  "implicitly-open": BLK_ZONE_COND_IMP_OPEN,
  "explicitly-open": BLK_ZONE_COND_EXP_OPEN,
  "closed": BLK_ZONE_COND_CLOSED,
  "read-only": BLK_ZONE_COND_READONLY,
  "full": BLK_ZONE_COND_FULL,
  "offline": BLK_ZONE_COND_OFFLINE,
};

/** Returns the length of a request's data in bytes. */
export function dataBytes(slots: Slots, slot: number): number {
  const isReport = (slots.opFlags(slot) & 0xff) === UBLK_IO_OP_REPORT_ZONES;
  return isReport ? slots.zoneCount(slot) * blk_zone.size : slots.bytes(slot);
}

/** The parts of {@linkcode Zones}. */
export interface ZonesParts {
  /** The backend's methods for zones. */
  readonly methods: ZoneMethods;
  /** The thread's slots. */
  readonly slots: Slots;
  /** The buffers with the data. The caller keeps ownership. */
  readonly buffers: SlotBuffers;
  /** The largest request in bytes. */
  readonly maxIoBytes: number;
  /** The log channel. */
  readonly log: LogWriter;
}

/** The zones of a thread's disk. */
export class Zones {
  /**
   * The sector at which each slot's append landed; 0 while the slot has no append to answer. The
   * driver reads it from the address field of the command, and accepts no address on such a device.
   */
  readonly landed: Float64Array<ArrayBuffer>;
  /**
   * The answer to a report whose data has been copied. The last request of a report has pages for
   * more zones than it asks for. If a result leaves pages unfilled, the driver sends the request
   * again; it cuts a result that exceeds the pages (`__ublk_complete_rq`). So this is the largest
   * result.
   */
  readonly reported: number;
  readonly #methods: ZoneMethods;
  readonly #slots: Slots;
  readonly #buffers: SlotBuffers;
  readonly #faults: SlotFaults;

  /** Takes over the parts. */
  constructor(parts: ZonesParts) {
    assert(Number.isInteger(Math.log2(parts.methods.size)), "a zone's size is a power of two");
    this.#methods = parts.methods;
    this.#slots = parts.slots;
    this.#buffers = parts.buffers;
    this.reported = parts.maxIoBytes;
    this.#faults = new SlotFaults(parts.slots, parts.log);
    this.landed = new Float64Array(parts.slots.count);
  }

  /**
   * Calls the backend's method for the slot's operation. Returns its value, to be passed to
   * {@linkcode resultOf}, and passes on its exceptions.
   */
  call(slot: number): unknown {
    const slots = this.#slots;
    const methods = this.#methods;
    const opFlags = slots.opFlags(slot);
    const zone = Math.floor(slots.offset(slot) / methods.size);
    switch (opFlags & 0xff) {
      case UBLK_IO_OP_ZONE_OPEN:
        return methods.open(zone);
      case UBLK_IO_OP_ZONE_CLOSE:
        return methods.close(zone);
      case UBLK_IO_OP_ZONE_FINISH:
        return methods.finish(zone);
      case UBLK_IO_OP_ZONE_RESET:
        return methods.reset(zone);
      case UBLK_IO_OP_ZONE_RESET_ALL:
        return methods.resetAll();
      // These two methods must return a value.
      case UBLK_IO_OP_ZONE_APPEND: {
        const data = this.#buffers.view(slot, slots.bytes(slot));
        return methods.append(data, zone, writeOptions(opFlags)) ?? null;
      }
      case UBLK_IO_OP_REPORT_ZONES:
        return methods.report(zone, slots.zoneCount(slot)) ?? null;
    }
    throw new UblkError("SYSCALL_FAILED", {
      operation: `operation ${opFlags & 0xff}`,
      errno: EOPNOTSUPP,
    });
  }

  /**
   * Converts the value that a method returned, or its Promise resolved to, into a result: bytes or
   * a negative errno.
   */
  resultOf(slot: number, value: unknown): number {
    const op = this.#slots.opFlags(slot) & 0xff;
    if (op === UBLK_IO_OP_ZONE_APPEND) return this.#appended(slot, value);
    if (op === UBLK_IO_OP_REPORT_ZONES) return this.#reported(slot, value);
    return value === undefined ? 0 : this.#wrong(slot, "something where nothing is to be told");
  }

  #appended(slot: number, value: unknown): number {
    const slots = this.#slots;
    const bytes = slots.bytes(slot);
    const { size } = this.#methods;
    const start = Math.floor(slots.offset(slot) / size) * size;
    const isPlace = typeof value === "number" && value % SECTOR_BYTES === 0 && value >= start &&
      value + bytes <= start + size;
    if (!isPlace) return this.#wrong(slot, "no place in the zone for an append");
    this.landed[slot] = value / SECTOR_BYTES;
    return bytes;
  }

  #reported(slot: number, value: unknown): number {
    const count = this.#slots.zoneCount(slot);
    if (!Array.isArray(value) || value.length !== count) {
      // The driver would ask for the missing zones again and again (`ublk_report_zones`).
      return this.#wrong(slot, `no array of ${count} zones`);
    }
    const bytes = this.#buffers.view(slot, count * blk_zone.size);
    const { size } = this.#methods;
    const first = Math.floor(this.#slots.offset(slot) / size);
    const zones: readonly Zone[] = value;
    for (const [index, zone] of zones.entries()) {
      const { condition, written } = zone;
      if (!Object.hasOwn(CONDITIONS, condition) || !(written >= 0 && written <= size)) {
        return this.#wrong(slot, `a zone ${first + index} that cannot be`);
      }
      describe(bytes, index * blk_zone.size, zone, first + index, size);
    }
    return bytes.length;
  }

  #wrong(slot: number, what: string): number {
    this.#faults.failed(slot, `the backend returned ${what}; answering EIO`);
    return -EIO;
  }
}

/** Writes a `struct blk_zone`. */
function describe(
  bytes: Uint8Array<ArrayBuffer>,
  at: number,
  { condition, written }: Zone,
  number: number,
  size: number,
): void {
  const len = size / SECTOR_BYTES;
  const start = number * len;
  const isConventional = condition === "conventional";
  // A zone without a write pointer reports its end, as null_blk does.
  const filled = isConventional || condition === "full" ? size : written;
  encode(blk_zone, bytes.subarray(at, at + blk_zone.size), {
    start,
    len,
    wp: start + filled / SECTOR_BYTES,
    type: isConventional ? BLK_ZONE_TYPE_CONVENTIONAL : BLK_ZONE_TYPE_SEQWRITE_REQ,
    cond: CONDITIONS[condition],
    capacity: len,
  });
}
