/**
 * Which attachment of a volume a detachment is about: a volume may have a writer and readers, each on
 * a node of its own.
 *
 * @module
 */

import { EbsError } from "./error.ts";
import type { Attachment } from "./records.ts";

/** The parts of an attachment that a detachment is matched against. */
export type Attached = Pick<Attachment, "node" | "instance" | "device" | "readOnly">;

/** The attachment that is meant. What is left out is any. */
export interface Meant {
  /** The node that has it. */
  readonly node?: string;
  /** The instance that it is for. One that is for nobody in particular may be meant too. */
  readonly instance?: string;
  /** The name that the instance has for it. Likewise. */
  readonly device?: string;
}

/**
 * The attachment that is meant; undefined if there is nothing to detach.
 *
 * @param all Those of the volume.
 * @throws {EbsError} `invalid_argument` if none of them is meant, or more than one may be.
 */
export function meantOf(
  volume: string,
  all: readonly Attached[],
  { node, instance, device }: Meant,
): Attached | undefined {
  // A node that has nothing of it has detached it: the same request may come again.
  const there = all.filter((one) => node === undefined || one.node === node);
  if (there.length === 0) return undefined;
  const mayBe = there.filter((one) =>
    fits(instance, one.instance ?? instance) && fits(device, one.device ?? device)
  );
  if (mayBe.length === 0) {
    throw invalid(`volume ${volume} has no such attachment; it is attached ${wordsOf(there)}`);
  }
  const named = mayBe.filter((one) => fits(instance, one.instance) && fits(device, one.device));
  const found = named.length === 1 ? named : mayBe;
  if (found.length === 1) return found[0];
  const how = "say which: give NodeId or InstanceId, or ask at ebs.NODE.unmount";
  throw invalid(`volume ${volume} is attached ${wordsOf(found)}; ${how}`);
}

function fits(asked: string | undefined, has: string | undefined): boolean {
  return asked === undefined || asked === has;
}

/** Words for attachments: few, for a volume may have many. */
function wordsOf(all: readonly Attached[]): string {
  const words = all.slice(0, 4).map(({ node, instance, device, readOnly }) =>
    (instance === undefined ? "" : `to ${instance} `) +
    (device === undefined ? "" : `as ${device} `) +
    `on node ${node}${readOnly ? " for reading" : ""}`
  );
  return words.join(", ") + (all.length > words.length ? ` and ${all.length - 4} more` : "");
}

function invalid(words: string): EbsError {
  return new EbsError("invalid_argument", words);
}
