/**
 * What is recorded of volumes for writing, for all nodes: which node is to have which, and which is to
 * be deleted. Requests change the records; {@linkcode Recorded.settle} brings together what they say and
 * what is true on this node, in a loop. Whoever calls has the volume's turn.
 *
 * A mount is recorded once it is there, so that a request that fails leaves no record, and the end of one
 * before it begins. Who may write, claims and the store decide.
 *
 * @module
 */

import type { Attachments } from "./attachments.ts";
import type { Attached } from "./detachment.ts";
import { EbsError, ebsErrorOf } from "./error.ts";
import { ACCESSES } from "./exports.ts";
import type { Mount, MountWish } from "./mount.ts";
import type { Mounts } from "./mounts.ts";
import type { Peers } from "./peers.ts";
import { Looks } from "./reconcile/looks.ts";
import { wishOf } from "./reconcile/plan.ts";
import type { RecordedWish, WantedVolumes } from "./reconcile/wanted.ts";
import { BYTES, checked, ID, TEXT, v } from "./schema.ts";
import type { Turns } from "./turns.ts";
import type { Volumes } from "./volumes.ts";

/** Volumes at which the loop looks at a time: requests need room too. */
const LOOKS_AT_ONCE = 16;

/**
 * How a node has a volume, as it is recorded. The port is in it because the node's own record goes once
 * a lost mount is drained: the mount that came after it had another port, and clients never found it again.
 */
const HOW = v.object({
  access: v.picklist(ACCESSES),
  instance: v.optional(TEXT),
  device: v.optional(TEXT),
  /** The port, and the node whose port it is: another one may have given it away. */
  listens: v.optional(v.object({ node: ID, port: BYTES })),
});

/** The parts of {@linkcode Recorded}. */
export interface RecordedParts {
  /** This node. */
  readonly node: string;
  /** The records. */
  readonly wanted: WantedVolumes;
  /** The other nodes. */
  readonly peers: Peers;
  readonly mounts: Pick<Mounts, "get" | "written" | "mountAgain" | "unmount">;
  readonly volumes: Pick<Volumes, "describe" | "delete" | "note">;
  readonly attachments: Pick<Attachments, "unmounted">;
  readonly turns: Pick<Turns, "run">;
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
}

/** The records, as a node uses them. */
export class Recorded {
  readonly #parts: RecordedParts;
  readonly #looks: Looks;

  /** Takes over the parts. */
  constructor(parts: RecordedParts) {
    this.#parts = parts;
    const { node, wanted, report, mounts, turns } = parts;
    this.#looks = new Looks({
      ...{ node, wanted, report, atOnce: LOOKS_AT_ONCE },
      here: () => mounts.written(),
      step: (volume) => turns.run(volume, () => this.settle(volume)),
    });
  }

  /** Begins to make true what is recorded. A bucket that is away is waited for. */
  start(): Promise<void> {
    return this.#looks.start();
  }

  /** Looks at a volume, soon. */
  look(volume: string): void {
    this.#looks.look(volume);
  }

  /** Ends, and waits for what is under way. What is mounted stays so. */
  close(): Promise<void> {
    return this.#looks.close();
  }

  /**
   * Mounts a volume for writing, and records it.
   *
   * @param mount Mounts it, or returns the mount that there is. It is called with the wish, and with the
   *   port that this node is to have it at.
   * @throws {EbsError} `volume_in_use` if another node has it, and is there; `unavailable` if it is to be
   *   deleted.
   */
  async mount(wish: MountWish, mount: (wish: MountWish) => Promise<Mount>): Promise<Mount> {
    const { node, wanted, mounts } = this.#parts;
    const { volume } = wish;
    const before = (await wanted.get(volume))?.wanted;
    if (before?.state === "deleted") throw deleting(volume, before.node);
    // From a node that is gone it may be had, if claims and the store allow it. One that is there may be
    // about to mount it again: force too would lose what its journal has.
    await this.#checkFree(volume, before);
    const had = mounts.get(volume);
    const how = before?.state === "attached" && v.is(HOW, before.how) ? before.how : undefined;
    const made = await mount({ ...wish, ...portIn(how, node) });
    try {
      await wanted.attach(volume, node, howOf(made, node), before?.node);
    } catch (error) {
      // Somebody asked for something else meanwhile. One that was there is left to the loop.
      if (had === undefined) await mounts.unmount(volume);
      throw error;
    }
    return made;
  }

  /** The attachment for writing that is recorded, whether it is there or not; undefined for none. */
  async attachment(volume: string): Promise<Attached | undefined> {
    const wanted = (await this.#parts.wanted.get(volume))?.wanted;
    if (wanted?.state !== "attached") return undefined;
    const { instance, device } = v.is(HOW, wanted.how) ? wanted.how : {};
    return { node: wanted.node, instance, device, readOnly: false };
  }

  /** The node that has a volume for writing by what is recorded, or had it last; undefined for none. */
  async lastNode(volume: string): Promise<string | undefined> {
    return (await this.#parts.wanted.get(volume))?.wanted.node;
  }

  /** Records that a node, or any, has a volume no more. */
  async detach(volume: string, node?: string): Promise<void> {
    await this.#parts.wanted.detach(volume, node);
  }

  /**
   * Deletes a volume, or records that the node that has it is to do so.
   *
   * @throws {EbsError} `volume_in_use`; `unavailable` if it is recorded: the same request finds what has
   *   become of it.
   */
  async delete(volume: string): Promise<void> {
    const { wanted, volumes } = this.#parts;
    const before = await wanted.get(volume);
    // Also if its node is gone: that will have it again. One that was stopped in order lost its volumes.
    if (before?.wanted.state === "attached") throw inUse(volume, before.wanted.node);
    try {
      await volumes.delete(volume);
    } catch (error) {
      const holder = await this.#holderOf(volume, before, error);
      if (holder === undefined) throw error;
      await wanted.delete(volume, holder);
      await this.#mark(volume);
      throw deleting(volume, holder);
    }
    if (before !== undefined) await wanted.forget(volume, before.revision);
  }

  /** Marks a volume that is to be deleted later: nobody takes it for one that is there. */
  async #mark(volume: string): Promise<void> {
    await this.#parts.volumes.note(volume, (record) => ({ ...record, state: "deleting" }));
  }

  /** The node that has to bring a volume into order that was detached, or is to be deleted. */
  async #holderOf(
    volume: string,
    before: RecordedWish | undefined,
    error: unknown,
  ): Promise<string | undefined> {
    const isAsked = before !== undefined && before.wanted.state !== "attached";
    if (!isAsked || ebsErrorOf(error).code !== "volume_in_use") return undefined;
    if (before.wanted.state === "deleted") return before.wanted.node;
    const { record: { attachments } } = await this.#parts.volumes.describe(volume);
    if (attachments.some(({ readOnly }) => readOnly)) return undefined;
    return attachments.find(({ node }) => node !== this.#parts.node)?.node;
  }

  /** @throws {EbsError} `volume_in_use` if another node is to have a volume, and is there. */
  async #checkFree(volume: string, wanted: RecordedWish["wanted"] | undefined): Promise<void> {
    if (wanted?.state !== "attached" || wanted.node === this.#parts.node) return;
    if (!await this.#parts.peers.isThere(wanted.node)) return;
    throw inUse(volume, wanted.node);
  }

  /**
   * Takes a step that brings together what is recorded of a volume and what is true of it here.
   *
   * @returns Whether there may be another one.
   */
  async settle(volume: string): Promise<boolean> {
    const { node, wanted, mounts } = this.#parts;
    let found = await wanted.get(volume);
    if (wishOf(found, node) === "attach") return await this.#attach(volume, found!);
    // The notice goes once its work is done. It was written before the record that counts then.
    const noticed = await wanted.noticed(volume, node);
    found = await wanted.get(volume);
    const wish = wishOf(found, node);
    if (wish === "attach") return true;
    const isHere = mounts.written().has(volume);
    if (found === undefined) {
      // That nothing is recorded is no order to end a mount: the bucket may be a new one.
      if (isHere) await this.#adopt(volume);
    } else if (isHere) {
      await mounts.unmount(volume);
      await this.#parts.attachments.unmounted(volume);
    }
    if (wish === "delete") {
      try {
        await this.#parts.volumes.delete(volume);
      } catch (error) {
        await this.#mark(volume);
        throw error;
      }
      await wanted.forget(volume, found!.revision);
      this.#parts.report(`${volume}: deleted, as it was asked for before`);
      return true;
    }
    if (noticed !== undefined) await wanted.dismiss(volume, node, noticed);
    return false;
  }

  /** Mounts a volume as it is recorded, unless it is. */
  async #attach(volume: string, { wanted: { how }, revision }: RecordedWish): Promise<boolean> {
    const { node, wanted, mounts } = this.#parts;
    if (mounts.get(volume)?.readOnly === false) return false;
    const { listens, ...rest } = checked(HOW, how, `the record of ${volume}`);
    const wish = { volume, readOnly: false, ...rest, ...portIn({ listens }, node) };
    const mount = await mounts.mountAgain(volume, wish);
    if (mount !== undefined) {
      // Somebody else may have its port by now.
      if ((mount.port ?? 0) !== (portIn({ listens }, node).port ?? 0)) {
        await wanted.note(volume, node, howOf(mount, node));
      }
      return false;
    }
    if (await this.#isThere(volume)) await wanted.detach(volume, node);
    else await wanted.forget(volume, revision);
    return true;
  }

  /** Records a mount of which nothing is recorded, and which may have to be made first. */
  async #adopt(volume: string): Promise<void> {
    const { node, wanted, mounts } = this.#parts;
    const mount = mounts.get(volume) ?? await mounts.mountAgain(volume);
    if (mount !== undefined) await wanted.attach(volume, node, howOf(mount, node));
  }

  async #isThere(volume: string): Promise<boolean> {
    try {
      await this.#parts.volumes.describe(volume);
      return true;
    } catch (error) {
      if (ebsErrorOf(error).code === "not_found") return false;
      throw error;
    }
  }
}

type How = v.InferOutput<typeof HOW>;

function howOf({ access, instance, device, port = 0 }: Mount, node: string): How {
  return {
    access,
    ...instance !== undefined && { instance },
    ...device !== undefined && { device },
    ...port !== 0 && { listens: { node, port } },
  };
}

/** The port that a node is to have a volume at, if that is recorded. */
function portIn(how: Pick<How, "listens"> | undefined, node: string): Pick<MountWish, "port"> {
  const { listens } = how ?? {};
  return listens?.node === node ? { port: listens.port } : {};
}

function inUse(volume: string, node: string): EbsError {
  return new EbsError(
    "volume_in_use",
    `volume ${volume} is attached to node ${node}; detach it there first`,
  );
}

function deleting(volume: string, node: string): EbsError {
  const reason = `is to be deleted by node ${node}, which had it; ask again once that is back`;
  return new EbsError("unavailable", `volume ${volume} ${reason}`);
}
