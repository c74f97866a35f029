/**
 * Where volumes are mounted, as their records tell all nodes.
 *
 * @module
 */

import { EbsError, ebsErrorOf } from "./error.ts";
import type { Mount } from "./mounts.ts";
import type { VolumeRecord } from "./records.ts";
import type { Volumes } from "./volumes.ts";

/** The attachments of a node. */
export class Attachments {
  readonly #node: string;
  readonly #volumes: Volumes;
  readonly #report: (line: string) => void;
  /** Changes of records that nobody waits for. */
  readonly #late = new Set<Promise<unknown>>();

  /** Of a node's volumes. */
  constructor(node: string, volumes: Volumes, report: (line: string) => void) {
    this.#node = node;
    this.#volumes = volumes;
    this.#report = report;
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
      .catch((error) => this.#report(ebsErrorOf(error).message))
      .finally(() => this.#late.delete(done));
    this.#late.add(done);
  }

  /** Waits for what is told late. */
  async settled(): Promise<void> {
    await Promise.all(this.#late);
  }

  /** A refusal to mount in the words of who asked, who knows nodes and no journals. */
  refusal({ id, attachments }: VolumeRecord, error: EbsError): EbsError {
    const others = attachments.filter(({ node, readOnly }) => node !== this.#node && !readOnly);
    if (error.code !== "volume_in_use" || others.length === 0) return error;
    const nodes = others.map(({ node }) => node).join(", ");
    return new EbsError("volume_in_use", `volume ${id} is mounted on ${nodes}`, { cause: error });
  }
}
