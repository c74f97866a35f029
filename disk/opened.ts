/**
 * A specification opened in this thread, with everything inside it: the modules are loaded, the
 * shared state is made or taken over, and each backend is open.
 *
 * @module
 */

import type { Backend, Sharing } from "./backend.ts";
import { eachInTurn } from "./each_of.ts";
import { loadBackend, type LoadedBackend, type RecoveredDevice } from "./load.ts";
import type { BackendSpec } from "./spec.ts";

/** A container for an optional value that may itself be `undefined`. */
export interface Box {
  /** The value. */
  readonly value: unknown;
}

/** Options of {@linkcode OpenedDisk.open}. */
export interface OpenOptions {
  /**
   * The first of the queues that this thread serves.
   *
   * @default 0
   */
  readonly queue?: number;
  /**
   * The device being recovered.
   *
   * @default None: the device is new
   */
  readonly recovered?: RecoveredDevice;
  /**
   * The time that requests have, in milliseconds.
   *
   * @default The backends are told of none
   */
  readonly deadlineMs?: number;
  /**
   * The shared state, from another thread's {@linkcode OpenedDisk.shared}.
   *
   * @default It is made anew
   */
  readonly shared?: Box;
}

/** An open stack of backends. */
export class OpenedDisk implements AsyncDisposable {
  /** The outermost backend. */
  readonly backend: Backend;
  /** `"per-queue"` if each queue's thread may open a stack of its own. */
  readonly sharing: Sharing;
  /** The state that the threads share. */
  readonly shared: unknown;
  readonly #loaded: LoadedBackend;
  /** This thread made the shared state and has not released it yet. */
  #isMaker: boolean;

  private constructor(loaded: LoadedBackend, backend: Backend, shared: Box, isMaker: boolean) {
    this.#loaded = loaded;
    this.backend = backend;
    this.sharing = loaded.sharing;
    this.shared = shared.value;
    this.#isMaker = isMaker;
  }

  /**
   * Opens a specification. If that fails, everything opened or made so far is closed and released.
   *
   * @throws {UblkError} An error of loading, `share` or `open`: `BACKEND_MODULE`, `BACKEND_SHAPE`,
   *   `BACKEND_OPEN`, or the backend's own.
   */
  static async open(spec: BackendSpec, options: OpenOptions = {}): Promise<OpenedDisk> {
    const { queue = 0, recovered, deadlineMs } = options;
    const loaded = await loadBackend(spec, recovered, deadlineMs);
    const shared = options.shared ?? { value: await loaded.share() };
    const isMaker = options.shared === undefined;
    try {
      const backend = await loaded.open(queue, shared.value);
      return new OpenedDisk(loaded, backend, shared, isMaker);
    } catch (error) {
      // Only this thread knows what has been opened so far. Report the first error, not later ones.
      await loaded.close().catch(() => {});
      if (isMaker) await loaded.unshare(shared.value).catch(() => {});
      throw error;
    }
  }

  /**
   * Closes every backend, the outermost first, and then releases the shared state. A failing step
   * does not prevent the next ones. The shared state is released only once.
   *
   * @param unshare Whether all threads have closed their backends, so the shared state may go.
   *   Matters only in the thread that made it. Default: true.
   * @throws {unknown} The first error, after all steps.
   */
  async close(unshare = true): Promise<void> {
    await eachInTurn([
      () => this.#loaded.close(),
      () => unshare ? this.unshare() : undefined,
    ]);
  }

  /** Releases the shared state if this thread made it. Closes nothing. */
  async unshare(): Promise<void> {
    if (!this.#isMaker) return;
    this.#isMaker = false;
    await this.#loaded.unshare(this.shared);
  }

  /** Same as {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
