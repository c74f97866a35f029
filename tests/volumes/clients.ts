/**
 * The clients of a simulated server: they make requests of numbered blocks, and compare each answer
 * with what they know of the volume.
 *
 * @module
 */

import { EIO, ENOSPC } from "../../uapi/errno.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../../uapi/ublk_io.ts";
import { contentsOf, numberOf } from "./contents.ts";
import { BrokenPromise, type VolumeHistory } from "./history.ts";
import type { SimHost } from "./sim_host.ts";
import type { World } from "./world.ts";

const NO_DATA = new Uint8Array(0);
/** The kernel's FLUSH has a sector of all ones. */
const NOWHERE = (2 ** 64 - 1) * 512;

/** Whether a request may fail so. */
export type MayFail = (op: number, errno: number) => boolean;

/** The clients of one server. */
export abstract class Clients {
  /** The host that takes their requests. */
  readonly host: SimHost;
  /** A write or a flush has failed for good. */
  hasFailed = false;
  /** Somebody else has the volume: no flush may be answered any more. */
  hasLost = false;
  /** Requests that have failed. */
  failures = 0;
  /** Blocks of the disk that can be used. */
  blocks: number;
  readonly #world: World;
  readonly #mayFail: MayFail | undefined;
  /** Blocks that are being written; and those among them that are being made holes. */
  readonly #busy = new Map<number, number>();
  readonly #holes = new Map<number, number>();
  /** The next request for holes is a WRITE_ZEROES. No dice: seeds stay what they were. */
  #zeroes = false;

  /** Clients of a server with so many blocks. */
  constructor(world: World, host: SimHost, blocks: number, mayFail: MayFail | undefined) {
    this.#world = world;
    this.host = host;
    this.blocks = blocks;
    this.#mayFail = mayFail;
  }

  /** Their knowledge of the volume. */
  abstract get history(): VolumeHistory;

  get #blockSize(): number {
    return this.#world.habits.blockSize;
  }

  /** Makes a request of the first blocks, as the dice decide. */
  request(blocks = this.blocks): void {
    const { dice, habits } = this.#world;
    const { history } = this;
    const kind = dice.draw(20);
    if (kind < habits.flushes) return this.flush();
    const room = Math.min(habits.blocks, blocks);
    const count = 1 + dice.draw(Math.min(room, dice.draw(4) === 0 ? 12 : 3));
    const block = dice.draw(room - count + 1);
    if (kind < habits.flushes + habits.reads) return this.read(block, count);
    const isHole = kind < habits.flushes + habits.reads + habits.holes;
    if (!this.#mayWrite(block, count, isHole)) return;
    this.write(block, count, isHole ? 0 : history.nextId(), dice.draw(habits.fua) === 0);
  }

  /** Discards all blocks from one on. @returns Whether nobody writes them. */
  discardFrom(block: number): boolean {
    const count = this.blocks - block;
    if (!this.#mayWrite(block, count, true)) return false;
    this.write(block, count, 0, false);
    return true;
  }

  /** Nobody writes one block twice at a time: the order would be open. Holes have none. */
  #mayWrite(block: number, count: number, isHole: boolean): boolean {
    for (let one = block; one < block + count; one++) {
      const [busy = 0, holes = 0] = [this.#busy.get(one), this.#holes.get(one)];
      if (busy > (isHole ? holes : 0)) return false;
    }
    return true;
  }

  /** Makes a FLUSH. */
  flush(): void {
    const flushed = this.history.flush();
    const { hasFailed } = this;
    this.host.make({
      ...{ op: UBLK_IO_OP_FLUSH, offset: NOWHERE, length: 0, fua: false, data: NO_DATA },
      answered: (result) => {
        if (result !== 0) return this.#refused(UBLK_IO_OP_FLUSH, "a flush", result);
        if (hasFailed) throw new BrokenPromise("a flush succeeds although writing has failed");
        if (this.hasLost) throw new BrokenPromise("a flush succeeds after the volume is lost");
        flushed();
      },
    });
  }

  /** Reads blocks. */
  read(block: number, count: number): void {
    const { history } = this;
    const made = history.tick();
    const data = new Uint8Array(count * this.#blockSize).fill(0xee);
    this.host.make({
      ...{ op: UBLK_IO_OP_READ, offset: block * this.#blockSize, fua: false, data },
      length: data.length,
      answered: (result) => {
        if (result !== 0) return this.#refused(UBLK_IO_OP_READ, `a read of ${block}`, result);
        this.#idsOf(data).forEach((id, nth) => {
          if (history.mayRead(block + nth, id, made)) return;
          const may = history.idsOf(block + nth);
          throw new BrokenPromise(`block ${block + nth} reads as ${id}, and not ${may}`);
        });
      },
    });
  }

  /** Writes blocks; the number 0 makes them holes. */
  write(block: number, count: number, id: number, fua: boolean): void {
    const blocks = Array.from({ length: count }, (_, nth) => block + nth);
    const maps = id === 0 ? [this.#busy, this.#holes] : [this.#busy];
    const mark = (step: number) => {
      for (const map of maps) for (const one of blocks) map.set(one, (map.get(one) ?? 0) + step);
    };
    mark(1);
    const op = id === 0 ? this.#holeOp() : UBLK_IO_OP_WRITE;
    const written = this.history.write(block, count, id);
    const { hasFailed } = this;
    const [offset, length] = [block * this.#blockSize, count * this.#blockSize];
    this.host.make({
      ...{ op, offset, length, fua },
      data: id === 0 ? NO_DATA : contentsOf(length, this.#blockSize, id),
      answered: (result) => {
        mark(-1);
        if (result !== 0) return this.#refused(op, `a write of ${block}`, result);
        if (hasFailed) throw new BrokenPromise("a write succeeds although writing has failed");
        if (this.hasLost && fua) throw new BrokenPromise("FUA succeeds after the volume is lost");
        written(fua);
      },
    });
  }

  /** A DISCARD and a WRITE_ZEROES in turn: both make blocks zeroes for good. */
  #holeOp(): number {
    const op = this.#zeroes ? UBLK_IO_OP_WRITE_ZEROES : UBLK_IO_OP_DISCARD;
    this.#zeroes = !this.#zeroes;
    return op;
  }

  #refused(op: number, what: string, result: number): void {
    this.failures++;
    this.#world.note(`${what} failed with ${result}`);
    if (op !== UBLK_IO_OP_READ && result !== -ENOSPC) this.hasFailed = true;
    if (this.#mayFail?.(op, -result)) return;
    throw new BrokenPromise(`${what} failed with ${result} for no reason`);
  }

  /** Reads the whole disk. Nothing else happens meanwhile. */
  contents(): number[] {
    const { result, ids } = this.#readAlone(0, this.blocks);
    if (result !== 0) throw new BrokenPromise(`the disk cannot be read: ${result}`);
    return ids();
  }

  /** Reads the blocks one by one; undefined for those that cannot be read. */
  readable(): (number | undefined)[] {
    return Array.from({ length: this.blocks }, (_, block) => {
      const { result, ids } = this.#readAlone(block, 1);
      return result === 0 ? ids()[0] : undefined;
    });
  }

  /** Reads a block that the disk does not have. */
  readBeyond(block: number): void {
    const { result } = this.#readAlone(block, 1);
    if (result !== -EIO) throw new BrokenPromise(`a read beyond the disk's end gives ${result}`);
  }

  #readAlone(block: number, count: number): { result: number; ids: () => number[] } {
    const reading = this.#read(block, count);
    while (reading.result === undefined) {
      this.host.batchEnd();
      this.host.step();
    }
    return { result: reading.result, ids: reading.ids };
  }

  /** Reads the whole disk, parts of which may have to come from elsewhere in some turns. */
  protected async readInTurns(turn: () => Promise<void>): Promise<number[]> {
    const reading = this.#read(0, this.blocks);
    while (reading.result === undefined) {
      this.host.batchEnd();
      this.host.step();
      await turn();
    }
    const { result, ids } = reading;
    if (result !== 0) throw new BrokenPromise(`the disk cannot be read: ${result}`);
    return ids();
  }

  #read(block: number, count: number): { result: number | undefined; ids: () => number[] } {
    const data = new Uint8Array(count * this.#blockSize).fill(0xee);
    const reading = { result: undefined as number | undefined, ids: () => this.#idsOf(data) };
    this.host.make({
      ...{ op: UBLK_IO_OP_READ, offset: block * this.#blockSize, fua: false, data },
      length: data.length,
      answered: (answer) => reading.result = answer,
    });
    return reading;
  }

  /** The numbers of the writes that blocks are of. */
  #idsOf(data: Uint8Array<ArrayBuffer>): number[] {
    const words = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
    const perBlock = this.#blockSize / 4;
    return Array.from({ length: words.length / perBlock }, (_, nth) => {
      return numberOf(words.subarray(nth * perBlock, (nth + 1) * perBlock));
    });
  }
}
