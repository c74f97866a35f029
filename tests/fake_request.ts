/**
 * A request of the block layer, as the tests with a fake driver make one up.
 *
 * @module
 */

import { blk_zone } from "../uapi/block.ts";

/** Bytes of the kernel's sector, whatever the device's block size. */
export const SECTOR_BYTES = 512;

/** A request of the block layer, as a test makes one up. */
export interface FakeIo {
  /** `UBLK_IO_OP_*`. */
  op: number;
  /** Start, in sectors of 512 bytes. */
  sector?: number;
  /** Length, in sectors of 512 bytes. */
  sectors?: number;
  /** How many zones are to be reported, instead of a length. */
  zones?: number;
  /** How many more the pages of a report have room for. */
  spareZones?: number;
  /** `UBLK_IO_F_*`. */
  flags?: number;
  /** What a WRITE writes. */
  data?: Uint8Array;
  /** What a WRITE writes beside it; for a READ, as many bytes as it reads. */
  metadata?: Uint8Array;
  /** Where its data is in memory that the server shares, which is then all of it. */
  shared?: { index: number; offset: number };
}

/** A request under way. */
export class FakeRequest {
  /** The queue. */
  readonly queue: number;
  /** What was asked. */
  readonly io: Readonly<Required<Omit<FakeIo, "data" | "metadata" | "shared">>>;
  /** What a WRITE writes; what a READ has read, zeros before that. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** Integrity metadata, as `data`. */
  readonly metadata: Uint8Array<ArrayBuffer>;
  /** As in {@linkcode FakeIo}. */
  readonly shared: FakeIo["shared"];
  /** Where a zone append landed, in sectors, once it is answered. */
  landed = -1;
  /** Its tag, once it has one. */
  tag = -1;
  /** The server's answers; a right server gives one. */
  readonly results: number[] = [];
  /** Resolves with the first answer: bytes done, or a negative errno. */
  readonly done: Promise<number>;
  readonly #resolve: (result: number) => void;
  /** Uses of its pages, and the answers that wait for their end. */
  #uses = 0;
  #held: number[] = [];

  /** Made by {@linkcode FakeUblk.submitIo}. */
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

  /** The first answer, or undefined while there is none. */
  get result(): number | undefined {
    return this.results[0];
  }

  /** Takes an answer, which counts once nobody uses the pages any more. */
  answer(result: number): void {
    this.#held.push(result);
    this.#settle();
  }

  /** Somebody uses the pages. */
  hold(): void {
    this.#uses++;
  }

  /** And does so no more. */
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
