/**
 * A writer's lease on a volume: until when he may answer a FLUSH.
 *
 * An epoch protects the store, and not what is acknowledged: a host that is cut off would go on to
 * answer FLUSHes from its own journal after another one has taken the volume without that journal. So
 * the head names a lease, and each new head renews it. Past its end the writer answers no FLUSH. Who
 * takes the volume without its journal waits until the head has stayed the same for a whole lease.
 *
 * ```
 *   writer  ──●── sends a head ────────────── 15/16 of a lease ───────────▶ answers no FLUSH
 *   store        ──●── has it
 *   taker            ──●── sees it ──────────── a whole lease ──────────────────▶ takes the volume
 * ```
 *
 * The writer counts from before he sends, and the taker from after he has seen, each by his own clock,
 * which must count while the machine is suspended. So no two clocks need agree on the time, only on the
 * length of a second, to a sixteenth.
 *
 * @module
 */

import { assert, invalidIn } from "../uapi/error.ts";
import { isOnNetwork } from "./shared_store.ts";

/** The lease of a volume whose store other machines reach, unless another is asked for, in seconds. */
const LEASE_SECONDS = 45;
/** A store that is away for a day is likely to be away for good. */
export const MAX_LEASE_SECONDS = 86_400;
/** The writer counts so much less than the taker, for clocks that go wrong. */
const WRITERS_PART = 15 / 16;
/** A lease is renewed after this part of it, so that an attempt may fail and be made again. */
const RENEWED_AFTER = 1 / 3;

/** The end of a lease, which the thread that renews it and the one that answers FLUSHes both see. */
export class Lease {
  /** The shared memory. */
  readonly memory: SharedArrayBuffer;
  /** Its length in milliseconds; 0 for none. */
  readonly ms: number;
  readonly #elapsed: () => number;
  /** When the head was sent that renewed it last. One thread writes it. */
  readonly #sentAt: Float64Array<SharedArrayBuffer>;

  /**
   * @param ms Its length in milliseconds; 0 for a lease that never ends.
   * @param elapsed A clock in milliseconds that counts while the machine is suspended.
   * @param memory The memory of the lease in another thread.
   */
  constructor(ms: number, elapsed: () => number, memory = new SharedArrayBuffer(8)) {
    assert(Number.isSafeInteger(ms) && ms >= 0, "a lease has whole milliseconds");
    this.ms = ms;
    this.memory = memory;
    this.#elapsed = elapsed;
    this.#sentAt = new Float64Array(memory);
  }

  /** The clock's time, to be noted before a head is sent. */
  now(): number {
    return this.ms === 0 ? 0 : this.#elapsed();
  }

  /** A head that was sent at a time is in the store. */
  renewed(sentAt: number): void {
    this.#sentAt[0] = sentAt;
  }

  /** Whether FLUSHes may be answered. */
  get isHeld(): boolean {
    return this.ms === 0 || this.#elapsed() < this.endsAt;
  }

  /** When it ends, by its clock: from then on no FLUSH is answered. One that never ends has no such time. */
  get endsAt(): number {
    return this.#sentAt[0] + this.ms * WRITERS_PART;
  }

  /** The time until it should be renewed, in milliseconds: none is left if 0 or less. */
  get dueMs(): number {
    return this.#sentAt[0] + this.ms * RENEWED_AFTER - this.#elapsed();
  }
}

/** Checks a lease in seconds; undefined for the default. @returns Milliseconds. */
export function checkedLease(name: string, seconds: number | undefined, store: string): number {
  if (seconds === undefined) return isOnNetwork(store) ? LEASE_SECONDS * 1000 : 0;
  if (Number.isSafeInteger(seconds) && seconds >= 0 && seconds <= MAX_LEASE_SECONDS) {
    return seconds * 1000;
  }
  throw invalidIn(`the lease of ${name}`)(
    `it cannot have ${seconds} seconds`,
    `give whole seconds up to ${MAX_LEASE_SECONDS}, or 0 for none`,
  );
}
