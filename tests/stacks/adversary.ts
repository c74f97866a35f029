/**
 * A disk for the inside of a stack, as unkind as a disk may be: it answers late and in another
 * order, does a part of a request now and the rest later, refuses some, and after a loss of power
 * has of each sector what was durable or any version written since.
 *
 * @module
 */

import type { Answer, Backend } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import type { OperationName } from "../../disk/operations.ts";
import type { Dice } from "../../uapi/dice.ts";
import { EIO } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import { SECTOR_BYTES } from "../fake_request.ts";
import { contentOf } from "./history.ts";

/** Work that waits until it is let go, in any order. */
export class Gate {
  readonly #waiting: (() => void)[] = [];
  readonly #dice: Dice;

  /** The dice say which is next. */
  constructor(dice: Dice) {
    this.#dice = dice;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Holds the work back. */
  hold(work: () => void): void {
    this.#waiting.push(work);
  }

  /** Lets one of them go; nothing where none waits. */
  letGo(): void {
    if (this.#waiting.length === 0) return;
    const [work] = this.#waiting.splice(this.#dice.draw(this.#waiting.length), 1);
    work();
  }
}

/** What such a disk is like. */
export interface Manner {
  /** Sectors. */
  readonly sectors: number;
  /** Bytes of a logical block. */
  readonly blockSize: number;
  /** `"sync"`: blocks its thread. `"plain"`: at once, unflagged. `"late"`: by Promises. */
  readonly style: "sync" | "plain" | "late";
  /**
   * When a flush fails it never makes durable what it had taken until then: it tells of that once,
   * as Linux does of a file. A FUA write that fails does the same, because a file's is a write and
   * then `fdatasync`. Wrappers that pass flushes on cannot mend that.
   */
  readonly forgets: boolean;
  /** The optional abilities that it has. */
  readonly has: ReadonlySet<"fua" | "flush" | "trim" | "zero">;
}

/** Which requests it refuses. */
export interface Faults {
  /** One request in so many fails; 0: none. */
  readonly oneIn: number;
  /** Only of these operations. */
  readonly ops: readonly OperationName[];
  /** Sectors that always fail, `from` to below `to`. */
  readonly bad?: { readonly from: number; readonly to: number };
}

/** A request that was refused. Sectors; a flush has all of them. */
export interface Refusal {
  /** What it was. */
  readonly op: OperationName;
  /** It was to make something durable: a flush, or a write with FUA. */
  readonly durably: boolean;
  /** The first sector. */
  readonly from: number;
  /** The sector after the last. */
  readonly to: number;
}

/** None. */
export const NO_FAULTS: Faults = { oneIn: 0, ops: [] };

/** The disk; it outlives the stacks over it. */
export class Adversary implements Disposable {
  readonly #id = made++;
  /** Every request that was refused, in order. */
  readonly refusals: Refusal[] = [];
  /** Which requests fail from now on. */
  faults: Faults = NO_FAULTS;
  /** What a reader sees. */
  #seen: Uint8Array<ArrayBuffer>;
  /** What survives a loss of power at least. */
  #durable: Uint8Array<ArrayBuffer>;
  /** By sector, the versions since, each with its number in the order of all. */
  #since = new Map<number, { readonly order: number; readonly bytes: Uint8Array }[]>();
  #order = 0;
  readonly #manner: Manner;
  readonly #dice: Dice;
  readonly #gate: Gate;
  readonly #passTime: () => void;
  /** What was begun before a loss of power does nothing after it. */
  #power = 0;

  /** A disk each of whose sectors has contents of its own. `passTime` is called with each request. */
  constructor(manner: Manner, dice: Dice, gate: Gate, passTime: () => void) {
    this.#passTime = passTime;
    this.#manner = manner;
    this.#dice = dice;
    this.#gate = gate;
    this.#seen = new Uint8Array(manner.sectors * SECTOR_BYTES);
    for (let sector = 0; sector < manner.sectors; sector++) {
      this.#seen.set(contentOf(initialId(sector)), sector * SECTOR_BYTES);
    }
    this.#durable = this.#seen.slice();
  }

  /** Puts bytes there durably, behind everybody's back. */
  put(bytes: Uint8Array, sector: number): void {
    this.#seen.set(bytes, sector * SECTOR_BYTES);
    this.#durable.set(bytes, sector * SECTOR_BYTES);
  }

  /** Ends what is under way. With a loss of power, what was not durable is there or not. */
  crash(power: boolean): void {
    this.#power++;
    if (!power) return;
    for (const [sector, versions] of this.#since) {
      const index = this.#dice.draw(versions.length + 1);
      if (index > 0) this.#durable.set(versions[index - 1].bytes, sector * SECTOR_BYTES);
    }
    this.#since.clear();
    this.#seen = this.#durable.slice();
  }

  /** Its sectors. */
  get sectors(): number {
    return this.#manner.sectors;
  }

  /** Its specification, for stacks opened in this thread. */
  get spec(): BackendSpec {
    known.set(this.#id, this);
    return { module: import.meta.url, options: this.#id };
  }

  /** No stack is opened over it any more. */
  [Symbol.dispose](): void {
    known.delete(this.#id);
  }

  /** It as a backend. */
  open(): Backend {
    const { sectors, blockSize, style, has } = this.#manner;
    return {
      size: sectors * SECTOR_BYTES,
      blockSize,
      synchronous: style === "sync",
      persistent: true,
      fua: has.has("fua"),
      readAt: (buffer, offset) =>
        this.#do("read", offset, buffer.length, (from, to) => {
          buffer.set(this.#seen.subarray(from, to), from - offset);
        }),
      writeAt: (buffer, offset, { fua }) => {
        const data = buffer;
        const done = fua && has.has("fua")
          ? () => this.#makeDurable(offset, offset + data.length, this.#order)
          : undefined;
        return this.#do("write", offset, data.length, (from, to) => {
          this.#write(data.subarray(from - offset, to - offset), from);
        }, done);
      },
      flush: has.has("flush") ? () => this.#flush() : undefined,
      trim: has.has("trim")
        ? (offset, length) =>
          this.#do("trim", offset, length, (from, to) => {
            this.#write(new Uint8Array(to - from).fill(0xee), from);
          })
        : undefined,
      writeZeroes: has.has("zero")
        ? (offset, length) =>
          this.#do("zero", offset, length, (from, to) => {
            this.#write(new Uint8Array(to - from), from);
          })
        : undefined,
    };
  }

  #write(bytes: Uint8Array, offset: number): void {
    this.#seen.set(bytes, offset);
    if (!this.#manner.has.has("flush")) return this.#durable.set(bytes, offset);
    const order = ++this.#order;
    for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
      const sector = (offset + at) / SECTOR_BYTES;
      const versions = this.#since.get(sector) ?? [];
      versions.push({ order, bytes: bytes.slice(at, at + SECTOR_BYTES) });
      this.#since.set(sector, versions);
    }
  }

  #flush(): Answer {
    const order = this.#order;
    const bytes = this.#seen.length;
    return this.#do("flush", 0, bytes, () => {}, () => this.#makeDurable(0, bytes, order));
  }

  #makeDurable(offset: number, end: number, order: number): void {
    for (const [sector, versions] of this.#since) {
      const at = sector * SECTOR_BYTES;
      if (at < offset || at >= end) continue;
      const last = versions.findLastIndex((version) => version.order <= order);
      if (last < 0) continue;
      this.#durable.set(versions[last].bytes, at);
      if (versions.length === last + 1) this.#since.delete(sector);
      else this.#since.set(sector, versions.slice(last + 1));
    }
  }

  /** Does the request, in two parts where it is late; or refuses it, with some of it done. */
  #do(
    op: OperationName,
    offset: number,
    length: number,
    work: (from: number, to: number) => void,
    done?: () => void,
  ): Answer {
    const end = offset + length;
    const middle = offset + this.#dice.draw(length / SECTOR_BYTES + 1) * SECTOR_BYTES;
    const from = offset / SECTOR_BYTES;
    const to = end / SECTOR_BYTES;
    const refuses = this.#refuses(op, from, to);
    const first = () => {
      if (middle > offset) work(offset, middle);
    };
    const second = () => {
      this.#passTime();
      if (refuses) {
        const durably = done !== undefined;
        this.refusals.push({ op, durably, from, to });
        if (durably && this.#manner.forgets) this.#since.clear();
        throw new UblkError("SYSCALL_FAILED", { operation: `the inner ${op}`, errno: EIO });
      }
      if (middle < end) work(middle, end);
      done?.();
    };
    if (this.#manner.style !== "late") return first(), second();
    const power = this.#power;
    return new Promise((resolve, reject) => {
      const hold = (step: () => void) =>
        this.#gate.hold(() => {
          if (power !== this.#power) return;
          try {
            step();
          } catch (error) {
            reject(error);
          }
        });
      hold(() => {
        first();
        hold(() => resolve(second()));
      });
    });
  }

  #refuses(op: OperationName, from: number, to: number): boolean {
    const { oneIn, ops, bad } = this.faults;
    if (!ops.includes(op)) return false;
    if (op !== "flush" && bad !== undefined && from < bad.to && to > bad.from) return true;
    return oneIn > 0 && this.#dice.draw(oneIn) === 0;
  }
}

/** The contents of a sector before anything is written. */
export function initialId(sector: number): number {
  return 0x4000_0000 + sector;
}

const known = new Map<number, Adversary>();
let made = 0;

/** The module contract. */
export function open(options: unknown): Backend {
  return known.get(options as number)!.open();
}
