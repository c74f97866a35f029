/**
 * The reconcile loop of a node: brings together what is recorded of volumes and what is true of them
 * here, one step at a time, until there is nothing left to do.
 *
 * `looks.ts` says when it looks at which volume; it also looks at one whose claim was lost.
 *
 * @module
 */

import { thrownText } from "../../uapi/error.ts";
import type { Claim, Exclusion } from "../exclusion.ts";
import { Looks } from "./looks.ts";
import type { Mounts } from "./mounts.ts";
import { nextStep, type Step, wishOf } from "./plan.ts";
import type { RecordedWish, WantedVolumes } from "./wanted.ts";

/** Volumes at a time. Most of those that wait do so for the lease of a writer that died. */
const AT_ONCE = 256;

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

/** The claim on a volume. */
interface Concern {
  readonly volume: string;
  claim: Claim | undefined;
  /** A claim that was lost, and may still stand in the bucket. */
  lost: Claim | undefined;
}

/** The loop. */
export class Reconciler {
  readonly #parts: ReconcilerParts;
  readonly #looks: Looks;
  readonly #concerns = new Map<string, Concern>();

  /** Takes over the parts. */
  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    this.#looks = new Looks({
      ...parts,
      atOnce: AT_ONCE,
      here: () => [...parts.mounts.mounted(), ...this.#concerns.keys()],
      step: (volume) => this.#stepOf(volume),
    });
  }

  /** Begins. A bucket that is away is waited for. */
  async start(): Promise<void> {
    await this.#looks.start();
  }

  /** Ends, and waits for the steps under way. What is mounted stays so, and claimed. */
  async close(): Promise<void> {
    await this.#looks.close();
  }

  /** The claim by which a volume is mounted here, or is about to be. */
  claimOf(volume: string): Claim | undefined {
    return this.#concerns.get(volume)?.claim;
  }

  /** Looks at a volume, soon. */
  look(volume: string): void {
    this.#looks.look(volume);
  }

  async #stepOf(volume: string): Promise<boolean> {
    const concern = this.#concerns.get(volume) ?? { volume, claim: undefined, lost: undefined };
    this.#concerns.set(volume, concern);
    const step = await this.#step(concern);
    const isIdle = concern.claim === undefined && !this.#parts.mounts.isMounted(volume);
    if (step === "rest" && isIdle) this.#concerns.delete(volume);
    return step !== "rest";
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
      this.#looks.run(async () => {
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
