/**
 * The fetching thread, as the engine's thread sees it.
 *
 * @module
 */

import { unpackError } from "../../uapi/packed_error.ts";
import { signalEventFd } from "../../uring/libc.ts";
import type { FetchBoard } from "./fetch_board.ts";
import type { FetchJob, FromFetcher } from "./messages.ts";

/** A thread that fetches. */
export class Fetcher implements AsyncDisposable {
  readonly #worker: Worker;
  readonly #board: FetchBoard;
  /** The eventfd that wakes the engine. */
  readonly #wakeFd: number;
  /** The next message of the thread. */
  #next = Promise.withResolvers<FromFetcher>();
  #isReady = false;

  private constructor(board: FetchBoard, wakeFd: number) {
    this.#board = board;
    this.#wakeFd = wakeFd;
    // Deno, bundlers and `deno compile` recognise the module by this form.
    const url = new URL("./worker.ts", import.meta.url);
    this.#worker = new Worker(url, { type: "module", name: "ublk fetch" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromFetcher>) => this.#next.resolve(data);
    this.#worker.onerror = (event) => {
      // Otherwise the error would end the whole process.
      event.preventDefault();
      this.#next.resolve({ type: "ended", error: { message: event.message } });
    };
  }

  /** Starts a thread. @throws {UblkError} If it cannot open the store. */
  static async start(board: FetchBoard, job: Omit<FetchJob, "board">): Promise<Fetcher> {
    const fetcher = new Fetcher(board, job.wakeFd);
    fetcher.#worker.postMessage({ ...job, board: board.buffer } satisfies FetchJob);
    const message = await fetcher.#next.promise;
    if (message.type === "ended") {
      fetcher.#worker.terminate();
      throw unpackError(message.error!);
    }
    fetcher.#next = Promise.withResolvers<FromFetcher>();
    fetcher.#isReady = true;
    return fetcher;
  }

  /** Makes it look at the board. If it is no more, the engine is woken to end what it has asked for. */
  look(): void {
    if (this.#board.hasFailed) signalEventFd(this.#wakeFd);
    else this.#board.wake();
  }

  /** Ends it. What is under way is given up: nobody may use the memory of the lines afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isReady) return;
    this.#isReady = false;
    this.#board.stop();
    await this.#next.promise;
    this.#worker.terminate();
  }
}
