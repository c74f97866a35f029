/**
 * A volume's engine by methods with Promises, for whoever cannot call an engine: wrappers. They start
 * a host of their own in the thread's event loop when the first one is called.
 *
 * @module
 */

import { realFiles } from "../files/real.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_IO_OP_DISCARD, UBLK_IO_OP_FLUSH, UBLK_IO_OP_WRITE_ZEROES } from "../uapi/ublk_io.ts";
import type { Engine } from "../disk/engine.ts";
import { isSignalled, resetEventFd } from "../uring/libc.ts";
import { PolledFd } from "../uring/poller.ts";
import { type FileOperations, fileOperations } from "./file_operations.ts";
import { LoopHost } from "./loop_host.ts";

const REQUESTS = 64;
const REQUEST_BYTES = 1 << 20;
/** Time for requests to be answered at the end before those that only wait are given up, in milliseconds. */
const GRACE_MS = 1000;

/** Calls an engine. */
export class VolumeMethods implements AsyncDisposable {
  readonly #engine: Engine;
  readonly #report: (words: string) => void;
  readonly #deadlineMs: number | undefined;
  #host: LoopHost | undefined;
  #operations: FileOperations | undefined;
  #wakes: PolledFd | undefined;
  #isOver = false;

  /**
   * For an engine that nobody has started.
   *
   * @param deadlineMs The time after which its callers wait no more, in milliseconds; undefined if they
   *   wait for as long as it takes. A request that only waits is given up then, so that it does not take
   *   the place of another one.
   */
  constructor(engine: Engine, report: (words: string) => void, deadlineMs?: number) {
    this.#engine = engine;
    this.#report = report;
    this.#deadlineMs = deadlineMs;
  }

  #started(): LoopHost {
    if (this.#host !== undefined) return this.#host;
    const operations = this.#operations = fileOperations(realFiles);
    const host = this.#host = new LoopHost({
      ...{ operations, requests: REQUESTS, requestBytes: REQUEST_BYTES, report: this.#report },
      overdueUs: 1000 * (this.#deadlineMs ?? Infinity),
    });
    host.serve(this.#engine);
    const { wakeFd } = this.#engine;
    if (wakeFd !== undefined) void this.#listen(host, wakeFd);
    return host;
  }

  /** Passes on what the drain signals. */
  async #listen(host: LoopHost, wakeFd: number): Promise<void> {
    const wakes = this.#wakes = new PolledFd(wakeFd);
    for (;;) {
      await wakes.wait();
      if (this.#isOver) return;
      if (isSignalled(wakeFd)) resetEventFd(wakeFd);
      host.tell(() => this.#engine.woken!());
    }
  }

  /** Reads a whole buffer from an offset in bytes. */
  async read(buffer: Uint8Array<ArrayBuffer>, offset: number): Promise<void> {
    await this.#done(this.#started().readWhole(buffer, offset));
  }

  /** Writes a whole buffer at an offset in bytes. */
  async write(buffer: Uint8Array<ArrayBuffer>, offset: number, fua: boolean): Promise<void> {
    await this.#done(this.#started().writeWhole(buffer, offset, fua));
  }

  /** Makes what was written durable. */
  async flush(): Promise<void> {
    await this.#done(this.#started().make({ op: UBLK_IO_OP_FLUSH, offset: 0, length: 0 }));
  }

  /** Gives up a range in bytes. */
  async trim(offset: number, length: number): Promise<void> {
    await this.#done(this.#started().zeroWhole(UBLK_IO_OP_DISCARD, offset, length));
  }

  /** Zeroes a range in bytes. */
  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.#done(this.#started().zeroWhole(UBLK_IO_OP_WRITE_ZEROES, offset, length));
  }

  async #done(answer: Promise<number>): Promise<void> {
    const result = await answer;
    if (result === 0) return;
    throw new UblkError("SYSCALL_FAILED", { operation: "a request of the volume", errno: -result });
  }

  /**
   * Ends the host. Its callers wait for no request any more, but some may be open whose deadline has
   * passed: a FLUSH waits for the store or for the lease. Those were once waited for without the
   * drain's wake-ups, without which nothing answers them, so that the volume was never left.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#host?.finish(GRACE_MS);
    this.#isOver = true;
    await this.#wakes?.[Symbol.asyncDispose]();
    // A last wake-up may have begun something.
    await this.#host?.idle();
    this.#host?.end();
    await this.#operations?.[Symbol.asyncDispose]();
  }
}
