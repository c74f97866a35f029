/**
 * Renews a writer's lease, in the thread that holds the volume, beside its commits. A commit renews it
 * too, so that a busy volume costs the store nothing more.
 *
 * @module
 */

import { Backoff, mayPass } from "../store/retry.ts";
import { startIdleTimer } from "../store/timer.ts";
import type { Committed } from "./committed.ts";
import type { Lease } from "./lease.ts";

/** The parts of a {@linkcode LeaseKeeper}. */
export interface LeaseKeeperParts {
  /** The hold on the volume. */
  readonly committed: Pick<Committed, "renew">;
  /** Its lease. */
  readonly lease: Lease;
  /** It is held again after it had run out: FLUSHes may wait for that. */
  readonly regained: () => void;
  /** The volume is lost for good. */
  readonly lost: (error: unknown) => void;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
  /** Waits, for tests. @default A timer that does not keep the process */
  readonly timer?: (ms: number, call: () => void) => () => void;
  /** From 0 to 1, for tests. @default {Math.random} */
  readonly random?: () => number;
}

/**
 * Keeps a lease from its {@linkcode start} to its {@linkcode stop}. The first renewal comes at a random
 * moment before it is due: leases of volumes that were attached together would else be renewed together
 * for ever.
 */
export class LeaseKeeper {
  readonly #parts: LeaseKeeperParts;
  readonly #backoff: Backoff;
  #cancel: (() => void) | undefined = undefined;
  #underWay: Promise<void> = Promise.resolve();
  /** The next renewal may come so much before it is due, in milliseconds. */
  #earlyMs = 0;
  /** The end of the lease, as far as it is known here. */
  #endsAt = 0;
  #isStopped = false;
  #hasTold = false;

  /** Takes over the parts. */
  constructor(parts: LeaseKeeperParts) {
    this.#parts = parts;
    this.#backoff = new Backoff(parts.random, 100, Math.max(100, parts.lease.ms / 8));
  }

  /** Begins to renew it. */
  start(): void {
    const { lease, random = Math.random } = this.#parts;
    if (lease.ms === 0) return;
    const { dueMs } = lease;
    this.#endsAt = lease.endsAt;
    const firstMs = dueMs * random();
    this.#earlyMs = dueMs - firstMs;
    this.#wait(firstMs);
  }

  /** Ends, and waits for the renewal under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancel?.();
    await this.#underWay;
  }

  #wait(ms: number): void {
    if (this.#isStopped) return;
    this.#cancel = (this.#parts.timer ?? startIdleTimer)(Math.max(0, ms), () => {
      this.#underWay = this.#look();
    });
  }

  async #look(): Promise<void> {
    const { committed, lease, lost, report } = this.#parts;
    // A commit may have renewed it.
    if (lease.dueMs > this.#earlyMs) {
      this.#renewed();
      return this.#wait(lease.dueMs);
    }
    try {
      await committed.renew();
      this.#earlyMs = 0;
      this.#backoff.succeeded();
      this.#renewed();
      this.#wait(lease.dueMs);
    } catch (error) {
      if (!mayPass(error)) return lost(error);
      if (!lease.isHeld && !this.#hasTold) {
        this.#hasTold = true;
        report(`the lease could not be renewed, so no FLUSH is answered: ${error.message}`);
      }
      this.#wait(this.#backoff.next());
    }
  }

  /** It has another end. It may have run out at any moment before, while it was being renewed too. */
  #renewed(): void {
    const { lease, regained } = this.#parts;
    const hasRunOut = lease.now() >= this.#endsAt;
    this.#endsAt = lease.endsAt;
    // An answer that comes late renews nothing.
    if (!lease.isHeld) return;
    if (hasRunOut) regained();
    if (!this.#hasTold) return;
    this.#hasTold = false;
    this.#parts.report("the lease is renewed, and FLUSHes are answered again");
  }
}
