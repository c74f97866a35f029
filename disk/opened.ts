/**
 * A specification opened in this thread, with all that is inside of it: its modules loaded, what
 * the threads share made or taken over, and each backend open.
 *
 * @module
 */

import type { Backend, Sharing } from "./backend.ts";
import { eachInTurn } from "./each_of.ts";
import { loadBackend, type LoadedBackend, type RecoveredDevice } from "./load.ts";
import type { BackendSpec } from "./spec.ts";

/** A value that may itself be `undefined`, in a place that may be left out. */
export interface Box {
  /** The value. */
  readonly value: unknown;
}

/** How a specification is to be opened. */
export interface OpenOptions {
  /** The first of the queues that this thread serves. Default: 0. */
  readonly queue?: number;
  /** The device that is there already, and goes on. Default: none, a new one. */
  readonly recovered?: RecoveredDevice;
  /** What the threads share, as another one's {@linkcode OpenedDisk.shared}. Default: it is made. */
  readonly shared?: Box;
}

/** An open stack of backends. */
export class OpenedDisk implements AsyncDisposable {
  /** The outermost backend. */
  readonly backend: Backend;
  /** `"per-queue"` where each queue's thread may open one. */
  readonly sharing: Sharing;
  /** What the threads share. */
  readonly shared: unknown;
  readonly #loaded: LoadedBackend;
  /** This thread made what they share, and has not released it yet. */
  #isMaker: boolean;

  private constructor(loaded: LoadedBackend, backend: Backend, shared: Box, isMaker: boolean) {
    this.#loaded = loaded;
    this.backend = backend;
    this.sharing = loaded.sharing;
    this.shared = shared.value;
    this.#isMaker = isMaker;
  }

  /**
   * Opens it. Where that fails, what had been opened and made by then is closed and released.
   *
   * @throws {UblkError} What loading, `share` and `open` throw: `BACKEND_MODULE`, `BACKEND_SHAPE`,
   *   `BACKEND_OPEN`, or an error of the backend's own.
   */
  static async open(spec: BackendSpec, options: OpenOptions = {}): Promise<OpenedDisk> {
    const { queue = 0, recovered } = options;
    const loaded = await loadBackend(spec, recovered);
    const shared = options.shared ?? { value: await loaded.share() };
    const isMaker = options.shared === undefined;
    try {
      const backend = await loaded.open(queue, shared.value);
      return new OpenedDisk(loaded, backend, shared, isMaker);
    } catch (error) {
      // Only this thread knows what has been opened so far. Why is said by the first error.
      await loaded.close().catch(() => {});
      if (isMaker) await loaded.unshare(shared.value).catch(() => {});
      throw error;
    }
  }

  /**
   * Closes every backend, the outermost first, and then releases what the threads share: also where
   * a step fails, and once.
   *
   * @param unshare Whether all threads have closed theirs. Default: true. Heeded by the one that
   *   made what they share.
   * @throws {unknown} The first error, once all is done.
   */
  async close(unshare = true): Promise<void> {
    await eachInTurn([
      () => this.#loaded.close(),
      () => unshare ? this.unshare() : undefined,
    ]);
  }

  /** Releases what the threads share, where it was made here, and closes nothing. */
  async unshare(): Promise<void> {
    if (!this.#isMaker) return;
    this.#isMaker = false;
    await this.#loaded.unshare(this.shared);
  }

  /** {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
