/**
 * A node's mounts in a simulation: they hold volumes by the store's lease and epoch as real ones do, and
 * the lease is renewed by the same code.
 *
 * @module
 */

import type { Claim } from "../../ebs/exclusion.ts";
import type { HeldClaim } from "../../ebs/claims/held_claim.ts";
import type { Mounts } from "../../ebs/reconcile/mounts.ts";
import { mayPass } from "../../store/retry.ts";
import { UblkError } from "../../uapi/error.ts";
import { Lease } from "../../volume/lease.ts";
import { LeaseKeeper } from "../../volume/lease_keeper.ts";
import type { SimHead, SimStoreLink } from "./sim_store.ts";
import type { VirtualTime } from "./virtual_time.ts";

/** The store's lease, in milliseconds. */
export const STORE_LEASE_MS = 45_000;
/** Who takes a volume looks at its head so often during a lease. */
const LOOKS = 16;

interface Mount {
  readonly claim: HeldClaim;
  readonly lease: Lease;
  head: SimHead;
  keeper: LeaseKeeper | undefined;
  isOver: boolean;
}

/** The parts of {@linkcode SimMounts}. */
export interface SimMountsParts {
  readonly node: string;
  /** This run of the node. */
  readonly owner: string;
  readonly store: SimStoreLink;
  readonly time: VirtualTime;
  /** Calls later, unless the node has died by then. */
  readonly timer: (ms: number, call: () => void) => () => void;
  /** From 0 to 1. */
  readonly random: () => number;
  /** A mount has begun to answer. */
  readonly begun: (volume: string) => void;
}

/** The mounts of a node. */
export class SimMounts implements Mounts {
  readonly #parts: SimMountsParts;
  readonly #mounts = new Map<string, Mount>();
  /** Mounts under way; false once they are to end. */
  readonly #pending = new Map<string, { isWanted: boolean }>();

  constructor(parts: SimMountsParts) {
    this.#parts = parts;
  }

  mounted(): Iterable<string> {
    return this.#mounts.keys();
  }

  isMounted(volume: string): boolean {
    return this.#mounts.has(volume);
  }

  /** Whether a FLUSH would be answered now. */
  answers(volume: string): boolean {
    const mount = this.#mounts.get(volume);
    return mount !== undefined && !mount.isOver && mount.lease.isHeld && mount.claim.isHeld;
  }

  /** The epoch by which a volume is mounted. */
  epochOf(volume: string): number | undefined {
    return this.#mounts.get(volume)?.head.epoch;
  }

  async mount(volume: string, claim: Claim): Promise<void> {
    const { store, time, node, owner, begun } = this.#parts;
    const pending = { isWanted: true };
    this.#pending.set(volume, pending);
    const found = await store.read(volume);
    if (found === undefined) throw refused(volume, "VOLUME_NOT_FOUND", "there is none");
    // A run of this node has the journal of an earlier one, which is dead.
    const isOurs = found.owner === "" || found.owner.startsWith(`${node}/`);
    if (!isOurs) await this.#waitOut(volume, found, pending);
    if (!pending.isWanted) throw refused(volume, "ABORTED", "the claim was lost");
    const lease = new Lease(STORE_LEASE_MS, () => time.now);
    const sentAt = lease.now();
    const head = { ...found, epoch: found.epoch + 1, owner, leaseMs: STORE_LEASE_MS };
    if (!await store.replace(volume, found, head)) {
      throw refused(volume, "VOLUME_BUSY", "somebody else was first");
    }
    lease.renewed(sentAt);
    if (!pending.isWanted) throw refused(volume, "ABORTED", "the claim was lost");
    const mount: Mount = {
      ...{ claim: claim as HeldClaim, lease, head, keeper: undefined, isOver: false },
    };
    this.#mounts.set(volume, mount);
    mount.keeper = new LeaseKeeper({
      ...{ committed: { renew: () => this.#renew(volume, mount) }, lease },
      regained: () => {},
      lost: () => void (mount.isOver = true),
      report: () => {},
      ...{ timer: this.#parts.timer, random: this.#parts.random },
    });
    mount.keeper.start();
    begun(volume);
  }

  async unmount(volume: string, isLost: boolean): Promise<void> {
    const pending = this.#pending.get(volume);
    if (pending !== undefined) pending.isWanted = false;
    const mount = this.#mounts.get(volume);
    if (mount === undefined) return;
    const wasOver = mount.isOver;
    mount.isOver = true;
    if (!isLost && !wasOver) {
      await mount.keeper?.stop();
      const after = { ...mount.head, owner: "" };
      try {
        await this.#parts.store.replace(volume, mount.head, after);
      } catch (error) {
        if (!mayPass(error)) throw error;
        // The store did not take the last word: the volume stays with this node's journal.
      }
    }
    await mount.keeper?.stop();
    if (this.#mounts.get(volume) === mount) this.#mounts.delete(volume);
  }

  async exists(volume: string): Promise<boolean> {
    return await this.#parts.store.read(volume) !== undefined;
  }

  async destroy(volume: string): Promise<void> {
    const found = await this.#parts.store.read(volume);
    if (found !== undefined) await this.#parts.store.delete(volume, found.uuid);
  }

  async #renew(volume: string, mount: Mount): Promise<void> {
    const { store } = this.#parts;
    const sentAt = mount.lease.now();
    const after = { ...mount.head };
    if (!await store.replace(volume, mount.head, after)) {
      const now = await store.read(volume);
      // A renewal whose answer was lost has arrived.
      const isOurs = now?.owner === mount.head.owner && now.epoch === mount.head.epoch;
      if (!isOurs) throw refused(volume, "VOLUME_FENCED", "somebody else has it");
      mount.head = now;
      return;
    }
    mount.head = after;
    mount.lease.renewed(sentAt);
  }

  /** Waits until a head has stayed the same for a whole lease. */
  async #waitOut(volume: string, head: SimHead, pending: { isWanted: boolean }): Promise<void> {
    const { time, store } = this.#parts;
    for (const end = time.now + head.leaseMs; time.now < end && pending.isWanted;) {
      await new Promise<void>((resolve) =>
        void this.#parts.timer(Math.min(end - time.now, head.leaseMs / LOOKS), resolve)
      );
      const now = await store.read(volume);
      if (now !== head) throw refused(volume, "VOLUME_BUSY", "its writer is alive");
    }
  }
}

function refused(volume: string, code: UblkError["code"], reason: string): UblkError {
  return new UblkError(code, { operation: `mount ${volume}`, reason });
}
