/**
 * A conformance check for backends: exercises one as the kernel would, without a kernel.
 *
 * @module
 */

import { thrownText, UblkError } from "../uapi/error.ts";
import { Dice } from "../uapi/dice.ts";
import type { Backend, Extent } from "./backend.ts";
import { checkBackend } from "./shape.ts";
import { allOf, asPromise, isLater } from "./answers.ts";

/** Options of {@linkcode checkBackendConformance}. */
export interface ConformanceOptions {
  /**
   * Seed of the random operations.
   *
   * @default 1
   */
  readonly seed?: number;
  /**
   * Number of random operations.
   *
   * @default 200
   */
  readonly rounds?: number;
  /**
   * Maximum length of a request, in bytes.
   *
   * @default 262144
   */
  readonly maxIoBytes?: number;
  /**
   * Time limit for an answer, in milliseconds.
   *
   * @default 20_000, as in `serve()`
   */
  readonly deadlineMs?: number;
}

/** Number of simultaneous requests. */
const PARALLEL = 8;
/** Time for which released buffers are still watched at the end, in milliseconds. */
const WATCH_MS = 10;
const POISON = 0xdb;

/**
 * Checks that a backend keeps its contract. Data that was written reads back, at both ends of the
 * disk and in the middle, in requests of many sizes, several at once. Zeroed ranges read as zeroes,
 * and holes have no data.
 * A read fills its whole buffer, a write does not change its buffer, and neither touches it after
 * the answer.
 *
 * **The disk's contents are lost**, unless it is read-only. The caller must close the backend.
 *
 * @throws {UblkError} `BACKEND_SHAPE` for the first violation. If the backend threw, its error is
 *   the `cause`.
 *
 * @example
 * ```ts
 * import type { Backend } from "@ublk/ublk";
 * import { checkBackendConformance } from "@ublk/ublk/testing";
 * import { assertRejects } from "@std/assert";
 *
 * const bytes = new Uint8Array(1 << 20);
 * const disk: Backend = {
 *   size: bytes.length,
 *   readAt: (buffer, offset) => buffer.set(bytes.subarray(offset, offset + buffer.length)),
 *   writeAt: (buffer, offset) => bytes.set(buffer, offset),
 * };
 * await checkBackendConformance(disk);
 *
 * // A backend that stops after 4 KiB, as a single write to a file may.
 * const short = { ...disk, writeAt: (buffer: Uint8Array, offset: number) =>
 *   bytes.set(buffer.subarray(0, 4096), offset) };
 * await assertRejects(() => checkBackendConformance(short), Error, "reads back");
 * ```
 */
export async function checkBackendConformance(
  backend: Backend,
  options: ConformanceOptions = {},
): Promise<void> {
  checkBackend(backend, "under test");
  const tester = new Tester(backend, options);
  if (backend.readOnly === true) await tester.readTwice();
  else await tester.exercise(options.rounds ?? 200);
  // Wait a little: a timer writes to a buffer later than a Promise does.
  await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
  tester.checkReleased();
}

/** A part of the disk and its expected contents. */
interface Window {
  readonly offset: number;
  readonly model: Uint8Array;
}

class Tester {
  readonly #backend: Backend;
  readonly #dice: Dice;
  readonly #blockSize: number;
  readonly #maxBlocks: number;
  readonly #windows: Window[] = [];
  readonly #deadlineMs: number;
  /** Whether several requests are in flight. */
  #atOnce = false;
  readonly #released: { buffer: Uint8Array; what: string }[] = [];

  constructor(
    backend: Backend,
    { seed = 1, maxIoBytes = 256 << 10, deadlineMs = 20_000 }: ConformanceOptions,
  ) {
    this.#backend = backend;
    this.#deadlineMs = deadlineMs;
    this.#dice = new Dice(seed);
    this.#blockSize = backend.blockSize ?? 512;
    const blocks = backend.size / this.#blockSize;
    this.#maxBlocks = Math.max(1, Math.min(Math.floor(maxIoBytes / this.#blockSize), blocks));
    // Both ends of the disk and its middle. The windows may touch but must not overlap.
    const windowBlocks = Math.min(blocks, 2 * this.#maxBlocks);
    const starts = [0, Math.floor((blocks - windowBlocks) / 2), blocks - windowBlocks];
    let free = 0;
    for (const start of starts) {
      if (start < free) continue;
      free = start + windowBlocks;
      const model = new Uint8Array(windowBlocks * this.#blockSize);
      this.#windows.push({ offset: start * this.#blockSize, model });
    }
  }

  /** For a read-only disk: reads twice and expects the same, whatever the buffer held before. */
  async readTwice(): Promise<void> {
    for (const { offset, model } of this.#windows) {
      const bytes = Math.min(model.length, this.#maxBlocks * this.#blockSize);
      const [first, second] = [
        await this.#read(offset, bytes, 1),
        await this.#read(offset, bytes, 2),
      ];
      this.#same(
        first,
        second,
        offset,
        "reads differently a second time",
        "fill all of the buffer",
      );
    }
  }

  async exercise(rounds: number): Promise<void> {
    for (const window of this.#windows) {
      const bytes = this.#maxBlocks * this.#blockSize;
      for (let at = 0; at < window.model.length; at += bytes) {
        await this.#write(window, at, Math.min(bytes, window.model.length - at));
      }
    }
    for (let round = 0; round < rounds; round++) await this.#round();
    await this.#parallel();
    for (const window of this.#windows) {
      const end = window.model.length - this.#blockSize;
      await this.#check(window, 0, this.#blockSize);
      await this.#check(window, end, this.#blockSize);
      await this.#checkExtents(window);
    }
    await this.#flush();
  }

  /** Extents follow each other through a window, and holes are zeroes. */
  async #checkExtents({ offset, model }: Window): Promise<void> {
    if (this.#backend.extentAt === undefined) return;
    for (let at = 0; at < model.length;) {
      const left = model.length - at;
      const what = asked("extentAt", left, offset + at);
      let found: Extent | undefined;
      await this.#done(what, 0, () => {
        const answer: unknown = this.#backend.extentAt!(offset + at, left);
        const take = (extent: unknown) => void (found = extent as Extent);
        return isLater(answer) ? asPromise(answer).then(take) : take(answer);
      });
      const { length, isHole } = found ?? { length: 0, isHole: false };
      if (!(length > 0 && length <= left && length % this.#blockSize === 0)) {
        throw wrong(
          `${what} gives ${length} bytes`,
          "give whole blocks of the range, at least one",
        );
      }
      if (isHole && model.subarray(at, at + length).some((byte) => byte !== 0)) {
        throw wrong(`${what} is a hole, and has data`, "a copy would lose it");
      }
      at += length;
    }
  }

  async #flush(): Promise<void> {
    const { flush } = this.#backend;
    if (flush !== undefined) await this.#done("flush", 0, () => this.#backend.flush!());
  }

  async #round(): Promise<void> {
    const window = this.#windows[this.#dice.draw(this.#windows.length)];
    const blocks = 1 + this.#dice.draw(this.#maxBlocks);
    const last = window.model.length / this.#blockSize - blocks;
    const at = this.#dice.draw(last + 1) * this.#blockSize;
    const bytes = blocks * this.#blockSize;
    const { trim, writeZeroes, flush } = this.#backend;
    const kind = this.#dice.draw(10);
    if (kind < 3) return await this.#write(window, at, bytes);
    if (kind === 3 && flush !== undefined) return await this.#flush();
    if (kind === 4 && trim !== undefined) {
      const where = window.offset + at;
      await this.#done(asked("trim", bytes, where), 0, () => this.#backend.trim!(where, bytes));
      // A trimmed range may read as anything, so write it anew. Data beside it must be intact.
      return await this.#write(window, at, bytes);
    }
    if (kind === 5 && writeZeroes !== undefined) {
      const options = { mayUnmap: this.#dice.draw(2) === 1 };
      const where = window.offset + at;
      const call = () => this.#backend.writeZeroes!(where, bytes, options);
      await this.#done(asked("writeZeroes", bytes, where), 0, call);
      window.model.fill(0, at, at + bytes);
    }
    await this.#check(window, at, bytes);
  }

  /** Issues several requests at once. */
  async #parallel(): Promise<void> {
    const [window] = this.#windows;
    const blocks = Math.floor(window.model.length / this.#blockSize);
    const bytes = Math.max(1, Math.floor(Math.min(blocks, this.#maxBlocks) / PARALLEL)) *
      this.#blockSize;
    const starts = Array.from({ length: PARALLEL }, (_, index) => index * bytes)
      .filter((at) => at + bytes <= window.model.length);
    this.#atOnce = true;
    await allOf(starts.map((at) => this.#write(window, at, bytes)));
    await allOf(starts.map((at) => this.#check(window, at, bytes)));
  }

  async #write({ offset, model }: Window, at: number, bytes: number): Promise<void> {
    for (let index = at; index < at + bytes; index++) model[index] = this.#dice.draw(256);
    const buffer = model.slice(at, at + bytes);
    const fua = this.#dice.draw(4) === 0;
    const call = () => this.#backend.writeAt(buffer, offset + at, { fua });
    await this.#done(asked("writeAt", bytes, offset + at), bytes, call);
    this.#same(
      buffer,
      model.subarray(at, at + bytes),
      offset + at,
      "changed writeAt's buffer",
      "copy it",
    );
    this.#release(buffer, `writeAt at ${offset + at}`);
  }

  async #check({ offset, model }: Window, at: number, bytes: number): Promise<void> {
    const got = await this.#read(offset + at, bytes, this.#dice.draw(256));
    const hint = this.#atOnce
      ? "requests were under way side by side, and none may lose what another has done"
      : "look at readAt, and at what wrote there before";
    this.#same(got, model.subarray(at, at + bytes), offset + at, "reads back something else", hint);
  }

  async #read(offset: number, bytes: number, filling: number): Promise<Uint8Array> {
    const buffer = new Uint8Array(bytes).fill(filling);
    const call = () => this.#backend.readAt(buffer, offset);
    await this.#done(asked("readAt", bytes, offset), bytes, call);
    const got = buffer.slice();
    this.#release(buffer, `readAt at ${offset}`);
    return got;
  }

  /** Issues a request, waits for its answer and checks the answer. */
  async #done(what: string, bytes: number, call: () => unknown): Promise<void> {
    let value: unknown;
    try {
      value = call();
      if (isLater(value)) {
        value = await this.#settled(what, value);
        if (this.#backend.synchronous === true) {
          throw wrong(`${what} returns a Promise`, "without `synchronous` it may");
        }
      }
    } catch (cause) {
      if (cause instanceof UblkError && cause.code === "BACKEND_SHAPE") throw cause;
      throw wrong(`${what} fails: ${thrownText(cause)}`, "the kernel may ask for it", cause);
    }
    if (value !== undefined && value !== bytes) {
      throw wrong(`${what} returns ${String(value)}`, "do all of it or throw");
    }
  }

  async #settled(what: string, answer: unknown): Promise<unknown> {
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => reject(wrong(`${what} has no answer after ${this.#deadlineMs} ms`, "answer each")),
      this.#deadlineMs,
    );
    try {
      return await Promise.race([answer, promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #same(got: Uint8Array, want: Uint8Array, offset: number, what: string, hint: string): void {
    const at = got.findIndex((byte, index) => byte !== want[index]);
    if (at < 0) return;
    const where = `byte ${offset + at} of a request of ${got.length} bytes at ${offset}`;
    throw wrong(`it ${what}: ${got[at]} instead of ${want[at]} in ${where}`, hint);
  }

  #release(buffer: Uint8Array, what: string): void {
    this.#released.push({ buffer: buffer.fill(POISON), what });
    if (this.#released.length > 64) this.#inspect(this.#released.shift()!);
  }

  #inspect({ buffer, what }: { buffer: Uint8Array; what: string }): void {
    if (buffer.every((byte) => byte === POISON)) return;
    throw wrong(`it wrote to the buffer of ${what} after it had answered`, "buffers are borrowed");
  }

  checkReleased(): void {
    for (const released of this.#released.splice(0)) this.#inspect(released);
  }
}

/** Describes a request in words. */
function asked(method: string, bytes: number, offset: number): string {
  return `${method} of ${bytes} bytes at ${offset}`;
}

function wrong(reason: string, hint: string, cause?: unknown): UblkError {
  return new UblkError("BACKEND_SHAPE", { operation: "check the backend", reason, hint, cause });
}
