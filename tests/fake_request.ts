/**
 * Requests of the block layer, as created by tests with a fake driver.
 *
 * @module
 */

import { blk_zone } from "../uapi/block.ts";

/** Bytes of the kernel's sector, whatever the device's block size. */
export const SECTOR_BYTES = 512;

/** The description of a request. */
export interface FakeIo {
  /** `UBLK_IO_OP_*`. */
  op: number;
  /** Start, in sectors of 512 bytes. */
  sector?: number;
  /** Length, in sectors of 512 bytes. */
  sectors?: number;
  /** Number of zones to report, instead of a length. */
  zones?: number;
  /** Number of further zones that fit into a report's pages. */
  spareZones?: number;
  /** `UBLK_IO_F_*`. */
  flags?: number;
  /** The data of a WRITE. */
  data?: Uint8Array;
  /** The metadata of a WRITE; for a READ, an array of the length to read. */
  metadata?: Uint8Array;
  /** The position of the data in shared memory, if it is there. */
  shared?: { index: number; offset: number };
}

/** A request in flight. */
export class FakeRequest {
  /** The queue. */
  readonly queue: number;
  /** The description of the request. */
  readonly io: Readonly<Required<Omit<FakeIo, "data" | "metadata" | "shared">>>;
  /** The data of a WRITE, or the result of a READ (zeroes before its answer). */
  readonly data: Uint8Array<ArrayBuffer>;
  /** Integrity metadata, in the same way. */
  readonly metadata: Uint8Array<ArrayBuffer>;
  /** As in {@linkcode FakeIo}. */
  readonly shared: FakeIo["shared"];
  /** The position of an answered zone append, in sectors. */
  landed = -1;
  /** The request's tag; -1 until it has one. */
  tag = -1;
  /** The server's answers; a correct server gives one. */
  readonly results: number[] = [];
  /** Resolves with the first answer: bytes done, or a negative errno. */
  readonly done: Promise<number>;
  readonly #resolve: (result: number) => void;
  /** Number of users of the pages. Answers wait until there are none. */
  #uses = 0;
  #held: number[] = [];

  /** Created by {@linkcode FakeUblk.submitIo}. */
  constructor(queue: number, io: FakeIo) {
    const { op, sector = 0, sectors = 0, zones = 0, spareZones = 0, flags = 0 } = io;
    this.queue = queue;
    this.io = { op, sector, sectors, zones, spareZones, flags };
    this.data = new Uint8Array(sectors * SECTOR_BYTES + (zones + spareZones) * blk_zone.size);
    if (io.data !== undefined) this.data.set(io.data);
    this.metadata = Uint8Array.from(io.metadata ?? []);
    this.shared = io.shared;
    const { promise, resolve } = Promise.withResolvers<number>();
    this.done = promise;
    this.#resolve = resolve;
  }

  /** The first answer; undefined before that. */
  get result(): number | undefined {
    return this.results[0];
  }

  /** Accepts an answer, which takes effect once nobody uses the pages. */
  answer(result: number): void {
    this.#held.push(result);
    this.#settle();
  }

  /** Registers a user of the pages. */
  hold(): void {
    this.#uses++;
  }

  /** Unregisters a user of the pages. */
  release(): void {
    this.#uses--;
    this.#settle();
  }

  #settle(): void {
    if (this.#uses > 0 || this.#held.length === 0) return;
    this.results.push(...this.#held.splice(0));
    this.#resolve(this.results[0]);
  }
}
