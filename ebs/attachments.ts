/**
 * Where volumes are mounted, as their records tell all nodes.
 *
 * @module
 */

import { isUblkError } from "../uapi/error.ts";
import { EbsError, ebsErrorOf } from "./error.ts";
import type { Exclusion } from "./exclusion.ts";
import type { Mount } from "./mount.ts";
import type { Peers } from "./peers.ts";
import type { VolumeRecord } from "./records.ts";
import type { Volumes } from "./volumes.ts";

/** The parts of {@linkcode Attachments}. */
export interface AttachmentsParts {
  /** This node. */
  readonly node: string;
  /** The others. */
  readonly peers: Peers;
  readonly volumes: Volumes;
  readonly exclusion: Exclusion;
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
}

/** The attachments of a node. */
export class Attachments {
  readonly #parts: AttachmentsParts;
  readonly #node: string;
  readonly #volumes: Volumes;
  /** Changes of records that nobody waits for. */
  readonly #late = new Set<Promise<unknown>>();

  /** Of a node's volumes. */
  constructor(parts: AttachmentsParts) {
    this.#parts = parts;
    this.#node = parts.node;
    this.#volumes = parts.volumes;
  }

  /** Tells of a mount that nobody uses yet. @throws {EbsError} If the volume is being deleted. */
  async mounted({ volume, uri, readOnly, instance, device, time }: Mount): Promise<void> {
    const node = this.#node;
    const attachment = { node, uri, readOnly, instance, device, time };
    await this.#volumes.note(volume, (record) => {
      // A deletion marks the record, then looks whether the volume is open. A mount opens the volume,
      // then looks at the record. So at most one of the two goes on.
      if (record.state !== "available") {
        throw new EbsError("unavailable", `volume ${volume} is ${record.state}`);
      }
      // This mount has fenced any earlier writer, so a writer's attachment elsewhere has ended.
      const others = record.attachments.filter((one) =>
        one.node !== node && (one.readOnly || readOnly)
      );
      return { ...record, attachments: [...others, attachment] };
    });
  }

  /** Tells that nodes are dead, and have a volume no more. */
  async abandoned(volume: string, nodes: ReadonlySet<string>): Promise<void> {
    await this.#volumes.note(volume, (record) => ({
      ...record,
      attachments: record.attachments.filter(({ node }) => !nodes.has(node)),
    }));
  }

  /** Tells that a volume is mounted no more. */
  async unmounted(volume: string): Promise<void> {
    await this.#volumes.note(volume, (record) => {
      const attachments = record.attachments.filter(({ node }) => node !== this.#node);
      return { ...record, attachments };
    }).catch((error) => {
      if (ebsErrorOf(error).code !== "not_found") throw error;
    });
  }

  /** The same, while others go on. */
  unmountedLate(volume: string): void {
    const done = this.unmounted(volume)
      .catch((error) => this.#parts.report(ebsErrorOf(error).message))
      .finally(() => this.#late.delete(done));
    this.#late.add(done);
  }

  /** Waits for what is told late. */
  async settled(): Promise<void> {
    await Promise.all(this.#late);
  }

  /** A refusal to mount in the words of who asked, who knows nodes and no journals. */
  async refusal({ id, attachments }: VolumeRecord, error: EbsError): Promise<EbsError> {
    if (error.code !== "volume_in_use") return error;
    const others = attachments.filter(({ node, readOnly }) => node !== this.#node && !readOnly);
    if (others.length > 0) {
      const nodes = others.map(({ node }) => node).join(", ");
      return new EbsError("volume_in_use", `volume ${id} is mounted on ${nodes}`, { cause: error });
    }
    if (!isUblkError(error.cause) || error.cause.code !== "VOLUME_BUSY") return error;
    const node = await this.#mounting(id).catch(() => undefined);
    if (node === undefined) return error;
    // Perhaps by the same request, which came there before. Once it is done, requests are passed on.
    const words = `volume ${id} is being mounted, or left, by node ${node}; ask again`;
    return new EbsError("unavailable", words, { cause: error });
  }

  /** Another node, which is there, that has claimed a volume; undefined if there is none. */
  async #mounting(volume: string): Promise<string | undefined> {
    const { exclusion, peers } = this.#parts;
    const node = (await exclusion.holder?.(volume))?.owner;
    if (node === undefined || node === this.#node) return undefined;
    return await peers.isThere(node) ? node : undefined;
  }
}
