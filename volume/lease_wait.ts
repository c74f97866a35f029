/**
 * Waits until a lease has run out, for whoever takes a volume without its journal.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { readHead } from "./state.ts";
import type { Head } from "./format/head.ts";
import type { ObjectNames } from "./names.ts";
import type { Seam } from "./seam.ts";

/** The head is looked at so often during a lease. */
const LOOKS = 16;

/** The waiting. */
export interface LeaseWait {
  /** The store. */
  readonly store: Store;
  /** The names of the volume's objects. */
  readonly names: ObjectNames;
  /** Its clock that counts while the machine is suspended. */
  readonly seam: Pick<Seam, "elapsed">;
  /** Waits for some milliseconds. */
  readonly pause: (ms: number) => Promise<void>;
}

/**
 * Waits until the head has stayed the same for a whole lease.
 *
 * @returns The nonce of that head, or of one that says that nobody has the volume any more: only it may
 *   be replaced.
 * @throws {UblkError} `VOLUME_BUSY` if somebody renews it.
 */
export async function waitOutLease(
  { store, names, seam, pause }: LeaseWait,
  head: Head,
): Promise<string> {
  const { leaseMs, nonce } = head;
  const end = seam.elapsed() + leaseMs;
  for (;;) {
    const leftMs = end - seam.elapsed();
    if (leftMs <= 0) return nonce;
    await pause(Math.min(leftMs, leaseMs / LOOKS));
    const found = await readHead(store, names);
    // Whoever claims it says that it is gone.
    if (found === undefined) return nonce;
    if (found.head.nonce === nonce) continue;
    if (found.head.attached) throw stillHeld(names.volume, found.head);
    return found.head.nonce;
  }
}

/** The error of a volume whose writer is alive. */
export function stillHeld(name: string, { host, leaseMs }: Head): UblkError {
  return new UblkError("VOLUME_BUSY", {
    operation: `attach ${name}`,
    reason: `${host || "somebody"} has it attached, and has renewed its lease of ` +
      `${leaseMs / 1000} s`,
    hint: "detach it there; or attach with force, which loses what that server has acknowledged " +
      "and not stored, until it finds out",
  });
}
