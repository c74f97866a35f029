/**
 * Writes one after the other over NBD, so that a copy of the disk tells after which of them it was
 * made.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { NbdClient } from "../nbd_client.ts";

const WRITE = 1;
const FLUSH = 3;
const BLOCK = 4096;
/** Blocks that are written to in turn. */
const BLOCKS = 256;
/** Bytes of the part of the disk that is written to. */
export const LOAD_BYTES = BLOCKS * BLOCK;

/** The writes. Each block has the number of the last one to it. */
export class NbdLoad {
  /** The number of the last write that was sent. */
  sent: number;
  /** The number of the last write that was answered. */
  answered: number;
  /** The number of the last write before a FLUSH that was answered. */
  flushed: number;
  /** Settles once the server is gone, or after {@linkcode stop}. */
  readonly ended: Promise<void>;
  readonly #offset: number;
  readonly #client: NbdClient;
  #isOver = false;

  private constructor(client: NbdClient, offset: number, from: number) {
    this.#client = client;
    this.#offset = offset;
    this.sent = this.answered = this.flushed = from;
    this.ended = this.#run();
  }

  /** Begins. @param offset Of the part of the disk, in bytes. @param from The number of the last write. */
  static async start(path: string, offset: number, from = 0): Promise<NbdLoad> {
    return new NbdLoad(await NbdClient.at(path), offset, from);
  }

  /** Waits for more writes that are answered, or flushed. */
  async more(what: "answered" | "flushed", count: number): Promise<void> {
    const end = this[what] + count;
    while (this[what] < end) {
      assert(!this.#isOver, "the server is there");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Ends it after the write under way. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.ended;
  }

  async #run(): Promise<void> {
    using client = this.#client;
    try {
      while (!this.#isOver) {
        const write = this.sent + 1;
        const data = new Uint8Array(Uint32Array.from({ length: BLOCK / 4 }, () => write).buffer);
        this.sent = write;
        const offset = this.#offset + write % BLOCKS * BLOCK;
        const { error } = await client.perform({ command: WRITE, offset, length: BLOCK, data });
        assertEquals(error, 0);
        this.answered = write;
        if (write % 20 !== 0) continue;
        assertEquals((await client.perform({ command: FLUSH })).error, 0);
        this.flushed = write;
      }
    } catch (error) {
      this.#isOver = true;
      const isGone = error instanceof Deno.errors.UnexpectedEof ||
        error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe;
      if (!isGone) throw error;
    }
  }
}

/** The number of the last write that is in an image of the disk, which has all before it and none after. */
export function lastWriteIn(image: string, offset: number): number {
  using file = Deno.openSync(image);
  file.seekSync(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array(LOAD_BYTES);
  for (let done = 0; done < bytes.length;) {
    done += file.readSync(bytes.subarray(done)) ?? assert(false, "the image ends early") as never;
  }
  const words = new Uint32Array(bytes.buffer);
  const found = Array.from({ length: BLOCKS }, (_, block) => words[block * BLOCK / 4]);
  const last = Math.max(...found);
  for (let block = 0; block < BLOCKS; block++) {
    const write = last - ((last - block) % BLOCKS + BLOCKS) % BLOCKS;
    const want = new Uint32Array(BLOCK / 4).fill(Math.max(0, write));
    assertEquals(
      words.subarray(block * BLOCK / 4, (block + 1) * BLOCK / 4),
      want,
      `block ${block}`,
    );
  }
  return last;
}
