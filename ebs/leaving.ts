/**
 * How a node lets go of a volume: its journal is brought into the store, its claim is given up, and its
 * record goes last.
 *
 * @module
 */

import { isUblkError } from "../uapi/error.ts";
import { ebsErrorOf } from "./error.ts";
import type { Claim, Exclusion } from "./exclusion.ts";
import type { Exporter } from "./exports.ts";
import { isFinal } from "./mount.ts";
import type { MountRecord, MountRecords } from "./mount_records.ts";

/** The parts of {@linkcode Leaving}. */
export interface LeavingParts {
  readonly records: MountRecords;
  readonly exporter: Exporter;
  readonly exclusion: Exclusion;
  /**
   * Gives back the room of a volume's journal on this node, if nothing needs it.
   *
   * @returns Whether there is no journal any more.
   */
  readonly forget: (volume: string) => Promise<boolean>;
  /** Gives back the room of a volume's cache on this node, unless somebody uses it. It must not throw. */
  readonly dropCache: (volume: string) => void;
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
}

/** Lets go of volumes. The caller has the turn of each. */
export class Leaving {
  readonly #parts: LeavingParts;

  /** Takes over the parts. */
  constructor(parts: LeavingParts) {
    this.#parts = parts;
  }

  /** Brings a journal that was left here into the store. */
  async drain(volume: string): Promise<void> {
    const { exporter, exclusion, report } = this.#parts;
    let claim: Claim | undefined;
    try {
      claim = await exclusion.claim(volume);
      await exporter.drain(volume);
    } catch (error) {
      if (!isFinal(error) && !await this.#isOthers(volume, error)) throw ebsErrorOf(error);
      report(`${volume}: nothing is left to do here: ${ebsErrorOf(error).message}`);
    } finally {
      await this.release(volume, claim);
    }
    await this.done(volume);
  }

  /**
   * Whether another node has a volume and this one has nothing that the store lacks. Otherwise whoever
   * came back would ask for the claim as long as that one has it.
   */
  async #isOthers(volume: string, error: unknown): Promise<boolean> {
    if (!isUblkError(error) || error.code !== "VOLUME_BUSY") return false;
    // If it cannot be found out now, it is tried again.
    return await this.#parts.forget(volume).catch(() => false);
  }

  /**
   * Takes a volume from a node that is dead, and leaves it in order: what only the journal there has is
   * lost. The claim and the lease of that node have to run out before, so that it writes no more.
   *
   * @throws {UblkError} `VOLUME_BUSY` if they have not.
   */
  async take(volume: string): Promise<void> {
    const { exporter, exclusion } = this.#parts;
    const claim = await exclusion.claim(volume);
    try {
      await exporter.drain(volume, true);
    } finally {
      await this.release(volume, claim);
    }
    await this.done(volume);
  }

  /** Gives a claim up. One that cannot be given up runs out by itself. */
  async release(volume: string, claim: Claim | undefined): Promise<void> {
    await claim?.release().catch((error) => {
      this.#parts.report(`${volume}: its claim runs out later: ${ebsErrorOf(error).message}`);
    });
  }

  /** This node has nothing of a volume any more. */
  async done(volume: string, record?: MountRecord): Promise<void> {
    const { forget, dropCache, records, report } = this.#parts;
    // A reader uses no journal.
    if (record?.readOnly !== true) {
      await forget(volume).catch((error) => {
        report(`${volume}: its journal is still there: ${ebsErrorOf(error).message}`);
      });
    }
    // A node that dies here finds the record at its next start, and repeats this.
    dropCache(volume);
    records.remove(volume);
  }
}
