/**
 * When a node looks at which volume: when it is told of a change, some time after a step failed, and
 * every now and then at all that concern the node. Nothing depends on being told.
 *
 * @module
 */

import { Backoff } from "../../store/retry.ts";
import { startIdleTimer } from "../../store/timer.ts";
import { thrownText } from "../../uapi/error.ts";
import type { WantedVolumes } from "./wanted.ts";

/** Between looks at all volumes, in milliseconds: a quarter more or less, by chance. */
const PASS_MS = 120_000;
/** Between attempts: the first pause and the longest, in milliseconds. */
const PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** More steps than any pair of record and truth needs: a volume that takes more waits for its turn. */
const STEPS = 8;

/** The parts of {@linkcode Looks}. */
export interface LooksParts {
  /** The node's name. */
  readonly node: string;
  /** What is to be. */
  readonly wanted: WantedVolumes;
  /** The volumes of which the node has something, whatever is recorded. */
  readonly here: () => Iterable<string>;
  /** Takes a step for a volume. @returns Whether there may be another one. */
  readonly step: (volume: string) => Promise<boolean>;
  /** Volumes at a time. */
  readonly atOnce: number;
  /** Takes a line for the log: a step that failed for the first time. */
  readonly report: (line: string) => void;
  /**
   * From 0 to 1.
   *
   * @default {Math.random}
   */
  readonly random?: () => number;
  /**
   * Calls later, in milliseconds, unless it is cancelled by what it returns.
   *
   * @default A timer that does not keep the process
   */
  readonly timer?: (ms: number, call: () => void) => () => void;
}

/** A volume at which the node looks. */
interface Concern {
  readonly volume: string;
  readonly backoff: Backoff;
  isDue: boolean;
  isRunning: boolean;
  cancel: (() => void) | undefined;
}

/** The looks of a node. */
export class Looks {
  readonly #parts: LooksParts;
  readonly #random: () => number;
  readonly #timer: (ms: number, call: () => void) => () => void;
  readonly #concerns = new Map<string, Concern>();
  readonly #queue: Concern[] = [];
  readonly #running = new Set<Promise<void>>();
  #watch: AsyncDisposable | undefined = undefined;
  #cancelPass: (() => void) | undefined = undefined;
  readonly #passes: Backoff;
  #isClosed = false;

  /** Takes over the parts. */
  constructor(parts: LooksParts) {
    this.#parts = parts;
    this.#random = parts.random ?? Math.random;
    this.#timer = parts.timer ?? startIdleTimer;
    this.#passes = new Backoff(this.#random, PAUSE_MS, LONGEST_PAUSE_MS);
  }

  /** Begins. A bucket that is away is waited for. */
  async start(): Promise<void> {
    const pass = this.#pass();
    this.run(() => pass);
    await pass;
  }

  /** Ends, and waits for the steps under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelPass?.();
    for (const { cancel } of this.#concerns.values()) cancel?.();
    this.#queue.length = 0;
    await Promise.all(this.#running);
    await this.#watch?.[Symbol.asyncDispose]();
  }

  /** Looks at a volume, soon. */
  look(volume: string): void {
    if (this.#isClosed) return;
    const concern = this.#concernOf(volume);
    concern.isDue = true;
    concern.cancel?.();
    concern.cancel = undefined;
    if (concern.isRunning) return;
    concern.isRunning = true;
    this.#queue.push(concern);
    this.#next();
  }

  /** Runs something that the end waits for. It must not reject. */
  run(work: () => Promise<void>): void {
    const running = work().finally(() => {
      this.#running.delete(running);
      this.#next();
    });
    this.#running.add(running);
  }

  #concernOf(volume: string): Concern {
    let concern = this.#concerns.get(volume);
    if (concern === undefined) {
      const backoff = new Backoff(this.#random, PAUSE_MS, LONGEST_PAUSE_MS);
      concern = { volume, backoff, cancel: undefined, isDue: false, isRunning: false };
      this.#concerns.set(volume, concern);
    }
    return concern;
  }

  /** Looks at all volumes that concern the node, and at them again some time later. */
  async #pass(): Promise<void> {
    const { node, wanted, here, report } = this.#parts;
    let ms = PASS_MS * (0.75 + this.#random() / 2);
    try {
      this.#watch ??= await wanted.watch(node, (volume) => this.look(volume));
      const recorded = await wanted.volumesOf(node);
      for (const volume of new Set([...recorded, ...here()])) this.look(volume);
      this.#passes.succeeded();
    } catch (error) {
      if (this.#passes.failures === 0) report(`the volumes of ${node}: ${thrownText(error)}`);
      ms = this.#passes.next();
    }
    if (this.#isClosed) return;
    this.#cancelPass = this.#timer(ms, () => this.run(() => this.#pass()));
  }

  #next(): void {
    while (this.#running.size < this.#parts.atOnce) {
      const concern = this.#queue.shift();
      if (concern === undefined) return;
      this.run(() => this.#settle(concern));
    }
  }

  /** Takes steps until nothing is left to do, or one fails. */
  async #settle(concern: Concern): Promise<void> {
    let failure: unknown = undefined;
    for (let steps = 0; concern.isDue && steps < STEPS && !this.#isClosed; steps++) {
      concern.isDue = false;
      try {
        const isMore = await this.#parts.step(concern.volume);
        concern.backoff.succeeded();
        if (isMore) concern.isDue = true;
      } catch (error) {
        failure = error;
        break;
      }
    }
    concern.isRunning = false;
    if (this.#isClosed) return;
    if (failure !== undefined) return this.#later(concern, failure);
    if (concern.isDue) return this.look(concern.volume);
    this.#concerns.delete(concern.volume);
  }

  #later(concern: Concern, failure: unknown): void {
    if (concern.backoff.failures === 0) this.#parts.report(thrownText(failure));
    concern.cancel = this.#timer(concern.backoff.next(), () => this.look(concern.volume));
  }
}
