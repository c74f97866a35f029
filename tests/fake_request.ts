/**
 * A request of the block layer, as the tests with a fake driver make one up.
 *
 * @module
 */

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
  /** `UBLK_IO_F_*`. */
  flags?: number;
  /** What a WRITE writes. */
  data?: Uint8Array;
}

/** A request under way. */
export class FakeRequest {
  /** The queue. */
  readonly queue: number;
  /** What was asked. */
  readonly io: Readonly<Required<Omit<FakeIo, "data">>>;
  /** What a WRITE writes; what a READ has read, zeros before that. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** Its tag, once it has one. */
  tag = -1;
  /** The server's answers; a right server gives one. */
  readonly results: number[] = [];
  /** Resolves with the first answer: bytes done, or a negative errno. */
  readonly done: Promise<number>;
  readonly #resolve: (result: number) => void;

  /** Made by {@linkcode FakeUblk.submitIo}. */
  constructor(queue: number, io: FakeIo) {
    const { op, sector = 0, sectors = 0, flags = 0 } = io;
    this.queue = queue;
    this.io = { op, sector, sectors, flags };
    this.data = new Uint8Array(sectors * SECTOR_BYTES);
    if (io.data !== undefined) this.data.set(io.data);
    const { promise, resolve } = Promise.withResolvers<number>();
    this.done = promise;
    this.#resolve = resolve;
  }

  /** The first answer, or undefined while there is none. */
  get result(): number | undefined {
    return this.results[0];
  }

  /** Takes an answer. */
  answer(result: number): void {
    this.results.push(result);
    this.#resolve(result);
  }
}
