/**
 * The worst disk that the contract allows, as the innermost of a stack. It answers late and out of
 * order, performs a part of a request now and the rest later, and refuses some requests. After a loss
 * of power each sector holds its durable contents or any version written since.
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

/** A queue of held work that is released in random order. */
export class Gate {
  readonly #waiting: (() => void)[] = [];
  readonly #dice: Dice;

  /** The dice say which is next. */
  constructor(dice: Dice) {
    this.#dice = dice;
  }

  /** The number of held works. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Holds the work back. */
  hold(work: () => void): void {
    this.#waiting.push(work);
  }

  /** Releases one held work, if there is any. */
  releaseOne(): void {
    if (this.#waiting.length === 0) return;
    const [work] = this.#waiting.splice(this.#dice.draw(this.#waiting.length), 1);
    work();
  }
}

/** Properties of an {@linkcode Adversary}. */
export interface DiskTraits {
  /** Size in sectors. */
  readonly sectors: number;
  /** Bytes of a logical block. */
  readonly blockSize: number;
  /** `"sync"`: blocks its thread. `"plain"`: answers at once, unflagged. `"late"`: Promises. */
  readonly style: "sync" | "plain" | "late";
  /**
   * A failed flush loses all earlier writes that were not durable, and reports the loss only once, as
   * Linux does for a file. So does a failed FUA write, because on a file it is a write followed by
   * `fdatasync`. Wrappers that pass flushes on cannot repair that.
   */
  readonly forgets: boolean;
  /** The optional abilities of the disk. */
  readonly has: ReadonlySet<"fua" | "flush" | "trim" | "zero">;
}

/** The requests to refuse. */
export interface Faults {
  /** One in this many requests fails; 0: none. */
  readonly oneIn: number;
  /** Only these operations fail. */
  readonly ops: readonly OperationName[];
  /** Sectors that always fail: from `from` to before `to`. */
  readonly bad?: { readonly from: number; readonly to: number };
}

/** A refused request. Positions are in sectors; a flush covers all of them. */
export interface Refusal {
  /** The operation. */
  readonly op: OperationName;
  /** Whether it would have made data durable: a flush, or a write with FUA. */
  readonly durably: boolean;
  /** The first sector. */
  readonly from: number;
  /** The sector after the last. */
  readonly to: number;
}

/** No faults. */
export const NO_FAULTS: Faults = { oneIn: 0, ops: [] };

/** The disk. It outlives the stacks above it. */
export class Adversary implements Disposable {
  readonly #id = nextId++;
  /** All refused requests, in order. */
  readonly refusals: Refusal[] = [];
  /** The current faults. */
  faults: Faults = NO_FAULTS;
  /** The contents that a reader sees. */
  #seen: Uint8Array<ArrayBuffer>;
  /** The contents that are known to survive a loss of power. */
  #durable: Uint8Array<ArrayBuffer>;
  /** By sector, the versions written since, each with its number in the global order. */
  #since = new Map<number, { readonly order: number; readonly bytes: Uint8Array }[]>();
  #order = 0;
  readonly #traits: DiskTraits;
  readonly #dice: Dice;
  readonly #gate: Gate;
  readonly #passTime: () => void;
  /** Counts crashes: work started before a crash does nothing after it. */
  #power = 0;

  /** A disk each of whose sectors has contents of its own. `passTime` is called with each request. */
  constructor(traits: DiskTraits, dice: Dice, gate: Gate, passTime: () => void) {
    this.#passTime = passTime;
    this.#traits = traits;
    this.#dice = dice;
    this.#gate = gate;
    this.#seen = new Uint8Array(traits.sectors * SECTOR_BYTES);
    for (let sector = 0; sector < traits.sectors; sector++) {
      this.#seen.set(contentOf(initialId(sector)), sector * SECTOR_BYTES);
    }
    this.#durable = this.#seen.slice();
  }

  /** Writes bytes directly and durably, bypassing the history. */
  put(bytes: Uint8Array, sector: number): void {
    this.#seen.set(bytes, sector * SECTOR_BYTES);
    this.#durable.set(bytes, sector * SECTOR_BYTES);
  }

  /** Aborts requests in flight. On a loss of power, data that was not durable may be lost. */
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

  /** Size in sectors. */
  get sectors(): number {
    return this.#traits.sectors;
  }

  /** The disk's specification, for stacks opened in this thread. */
  get spec(): BackendSpec {
    adversaries.set(this.#id, this);
    return { module: import.meta.url, options: this.#id };
  }

  /** Unregisters the disk: no further stack can be opened over it. */
  [Symbol.dispose](): void {
    adversaries.delete(this.#id);
  }

  /** The disk as a backend. */
  open(): Backend {
    const { sectors, blockSize, style, has } = this.#traits;
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
    if (!this.#traits.has.has("flush")) return this.#durable.set(bytes, offset);
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

  /** Performs a request, in two parts if late. Or refuses it after a part of it was done. */
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
        if (durably && this.#traits.forgets) this.#since.clear();
        throw new UblkError("SYSCALL_FAILED", { operation: `the inner ${op}`, errno: EIO });
      }
      if (middle < end) work(middle, end);
      done?.();
    };
    if (this.#traits.style !== "late") return first(), second();
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

/** The id of a sector's initial contents. */
export function initialId(sector: number): number {
  return 0x4000_0000 + sector;
}

const adversaries = new Map<number, Adversary>();
let nextId = 0;

/** The module contract. */
export function open(options: unknown): Backend {
  return adversaries.get(options as number)!.open();
}
