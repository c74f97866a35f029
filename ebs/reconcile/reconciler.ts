/**
 * The reconcile loop of a node: brings together what is recorded of volumes and what is true of them
 * here, one step at a time, until there is nothing left to do.
 *
 * It looks at a volume when it is told of a change, when a claim is lost, some time after a step failed,
 * and every now and then at all that concern the node. Nothing depends on being told.
 *
 * @module
 */

import { Backoff } from "../../store/retry.ts";
import { thrownText } from "../../uapi/error.ts";
import type { Claim, Exclusion } from "../exclusion.ts";
import type { Mounts } from "./mounts.ts";
import { nextStep, type Step, type Wish } from "./plan.ts";
import type { RecordedWish, WantedVolumes } from "./wanted.ts";

/** Volumes at a time. Most of those that wait do so for the lease of a writer that died. */
const AT_ONCE = 256;
/** Between looks at all volumes, in milliseconds: a quarter more or less, by chance. */
const PASS_MS = 120_000;
/** Between attempts: the first pause and the longest, in milliseconds. */
const PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** More steps than any pair of record and truth needs: a volume that takes more waits for its turn. */
const STEPS = 8;

/** The parts of a {@linkcode Reconciler}. */
export interface ReconcilerParts {
  /** The node's name. */
  readonly node: string;
  /** What is to be. */
  readonly wanted: WantedVolumes;
  /** Who may have volumes. */
  readonly exclusion: Exclusion;
  /** What this node can do with them. */
  readonly mounts: Mounts;
  /** Takes a line for the log: a step that failed for the first time, a claim that was lost. */
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

/** A volume that concerns the node. */
interface Concern {
  readonly volume: string;
  readonly backoff: Backoff;
  claim: Claim | undefined;
  /** A claim that was lost, and may still stand in the bucket. */
  lost: Claim | undefined;
  isDue: boolean;
  isRunning: boolean;
  cancel: (() => void) | undefined;
}

/** The loop. */
export class Reconciler {
  readonly #parts: ReconcilerParts;
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
  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    this.#random = parts.random ?? Math.random;
    this.#timer = parts.timer ?? startTimer;
    this.#passes = new Backoff(this.#random, PAUSE_MS, LONGEST_PAUSE_MS);
  }

  /** Begins. A bucket that is away is waited for. */
  async start(): Promise<void> {
    await this.#pass();
  }

  /** Ends, and waits for the steps under way. What is mounted stays so, and claimed. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelPass?.();
    for (const { cancel } of this.#concerns.values()) cancel?.();
    this.#queue.length = 0;
    await Promise.all(this.#running);
    await this.#watch?.[Symbol.asyncDispose]();
  }

  /** The claim by which a volume is mounted here, or is about to be. */
  claimOf(volume: string): Claim | undefined {
    return this.#concerns.get(volume)?.claim;
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

  #concernOf(volume: string): Concern {
    let concern = this.#concerns.get(volume);
    if (concern === undefined) {
      const backoff = new Backoff(this.#random, PAUSE_MS, LONGEST_PAUSE_MS);
      const none = { claim: undefined, lost: undefined, cancel: undefined };
      concern = { volume, backoff, ...none, isDue: false, isRunning: false };
      this.#concerns.set(volume, concern);
    }
    return concern;
  }

  /** Looks at all volumes that concern the node, and at them again some time later. */
  async #pass(): Promise<void> {
    const { node, wanted, mounts, report } = this.#parts;
    let ms = PASS_MS * (0.75 + this.#random() / 2);
    try {
      this.#watch ??= await wanted.watch(node, (volume) => this.look(volume));
      const recorded = await wanted.volumesOf(node);
      const here = [...mounts.mounted(), ...this.#concerns.keys()];
      for (const volume of new Set([...recorded, ...here])) this.look(volume);
      this.#passes.succeeded();
    } catch (error) {
      if (this.#passes.failures === 0) report(`the volumes of ${node}: ${thrownText(error)}`);
      ms = this.#passes.next();
    }
    if (this.#isClosed) return;
    this.#cancelPass = this.#timer(ms, () => this.#run(() => this.#pass()));
  }

  #next(): void {
    while (this.#running.size < AT_ONCE) {
      const concern = this.#queue.shift();
      if (concern === undefined) return;
      this.#run(() => this.#settle(concern));
    }
  }

  #run(work: () => Promise<void>): void {
    const running = work().finally(() => {
      this.#running.delete(running);
      this.#next();
    });
    this.#running.add(running);
  }

  /** Takes steps until nothing is left to do, or one fails. */
  async #settle(concern: Concern): Promise<void> {
    let failure: unknown = undefined;
    for (let steps = 0; concern.isDue && steps < STEPS && !this.#isClosed; steps++) {
      concern.isDue = false;
      try {
        const step = await this.#step(concern);
        concern.backoff.succeeded();
        if (step !== "rest") concern.isDue = true;
      } catch (error) {
        failure = error;
        break;
      }
    }
    concern.isRunning = false;
    if (this.#isClosed) return;
    if (failure !== undefined) return this.#later(concern, failure);
    if (concern.isDue) return this.look(concern.volume);
    const isIdle = concern.claim === undefined && !this.#parts.mounts.isMounted(concern.volume);
    if (isIdle) this.#concerns.delete(concern.volume);
  }

  #later(concern: Concern, failure: unknown): void {
    if (concern.backoff.failures === 0) this.#parts.report(thrownText(failure));
    concern.cancel = this.#timer(concern.backoff.next(), () => this.look(concern.volume));
  }

  async #step(concern: Concern): Promise<Step> {
    const { node, wanted, mounts } = this.#parts;
    const { volume } = concern;
    if (mounts.isMounted(volume) && concern.claim === undefined) {
      // Before the bucket is asked, which may be away.
      await this.#endLost(concern);
      return "unmount";
    }
    let record = await wanted.get(volume);
    let noticed: number | undefined = undefined;
    if (wishOf(record, node) !== "attach") {
      // The notice goes once its work is done. It was written before the record that counts then.
      noticed = await wanted.noticed(volume, node);
      record = await wanted.get(volume);
    }
    const wish = wishOf(record, node);
    const exists = wish === "delete" && await mounts.exists(volume);
    const isClaimed = concern.claim !== undefined;
    const step = nextStep(wish, { isMounted: mounts.isMounted(volume), isClaimed, exists });
    await this.#take(concern, step, record);
    const isDone = step === "rest" && wish === "nothing" || step === "forget";
    if (isDone && noticed !== undefined) await wanted.dismiss(volume, node, noticed);
    return isDone ? "rest" : step;
  }

  async #take(concern: Concern, step: Step, record: RecordedWish | undefined): Promise<void> {
    const { node, mounts, wanted } = this.#parts;
    const { volume, claim } = concern;
    switch (step) {
      case "claim":
        await wanted.keepNotice(volume, node);
        return this.#hold(concern, await this.#parts.exclusion.claim(volume));
      case "mount":
        return await mounts.mount(volume, claim!);
      case "unmount":
        return await mounts.unmount(volume, claim === undefined);
      case "release":
        concern.claim = undefined;
        return await claim!.release();
      case "destroy": {
        // The record was read before the store was asked. What it says now counts.
        const now = await wanted.get(volume);
        if (now?.revision === record?.revision && concern.claim === claim) {
          await mounts.destroy(volume);
        }
        return;
      }
      case "forget":
        return await wanted.forget(volume, record!.revision);
      case "rest":
        return;
    }
  }

  #hold(concern: Concern, claim: Claim): void {
    concern.claim = claim;
    claim.lost.then((reason) => {
      if (concern.claim !== claim) return;
      concern.claim = undefined;
      concern.lost = claim;
      this.#parts.report(`the claim on ${concern.volume} is lost: ${reason}`);
      // At once: the loop may be waiting for something else of this volume.
      this.#run(async () => {
        await this.#endLost(concern).catch((error) => this.#parts.report(thrownText(error)));
        this.look(concern.volume);
      });
    });
  }

  /** Ends the mount of a volume whose claim is lost, so that others need not wait for either. */
  async #endLost(concern: Concern): Promise<void> {
    await this.#parts.mounts.unmount(concern.volume, true);
    await concern.lost?.release();
    concern.lost = undefined;
  }
}

function wishOf(record: RecordedWish | undefined, node: string): Wish {
  if (record?.wanted.node !== node) return "nothing";
  const { state } = record.wanted;
  return state === "attached" ? "attach" : state === "deleted" ? "delete" : "nothing";
}

function startTimer(ms: number, call: () => void): () => void {
  const timer = setTimeout(call, ms);
  Deno.unrefTimer(timer);
  return () => clearTimeout(timer);
}
