/**
 * Whose chunk or run a number is. A clone takes its own numbers from where its ancestors' end, so a
 * number alone tells it, and no object is looked for in two places however deep the ancestry is.
 *
 * @module
 */

import type { Ancestor, Manifest } from "./format/manifest.ts";
import { ObjectNames } from "./names.ts";

/** A volume or an ancestor of it, as the owner of an object. */
export interface Owner {
  /** The names of its objects. */
  readonly names: ObjectNames;
  /** Its UUID, which they have. */
  readonly volume: string;
}

/** The part of a manifest that tells of whom its objects are. */
export type Ancestry = Pick<Manifest, "volume" | "ancestors">;

/** The owner of a chunk. */
export function ownerOfChunk(names: ObjectNames, ancestry: Ancestry, chunk: number): Owner {
  return ownerOf(names, ancestry, ancestorOfChunk(ancestry, chunk));
}

/** The owner of a run. */
export function ownerOfRun(names: ObjectNames, ancestry: Ancestry, run: number): Owner {
  return ownerOf(names, ancestry, ancestorOfRun(ancestry, run));
}

function ownerOf(
  names: ObjectNames,
  { volume }: Ancestry,
  ancestor: Ancestor | undefined,
): Owner {
  if (ancestor === undefined) return { names, volume };
  return { names: new ObjectNames(ancestor.name), volume: ancestor.volume };
}

// The oldest ancestor is the first, and their numbers only rise.

function ancestorOfChunk({ ancestors }: Ancestry, chunk: number): Ancestor | undefined {
  return ancestors.find((ancestor) => chunk < ancestor.chunk);
}

function ancestorOfRun({ ancestors }: Ancestry, run: number): Ancestor | undefined {
  return ancestors.find((ancestor) => run < ancestor.run);
}

/** Whether a chunk is among the objects of the volume itself. A copied clone has all of them. */
export function isOwnChunk({ volume }: ObjectNames, ancestry: Ancestry, chunk: number): boolean {
  return (ancestorOfChunk(ancestry, chunk)?.name ?? volume) === volume;
}

/** Whether a run is among the objects of the volume itself. */
export function isOwnRun({ volume }: ObjectNames, ancestry: Ancestry, run: number): boolean {
  return (ancestorOfRun(ancestry, run)?.name ?? volume) === volume;
}

/** The ancestors whose objects are elsewhere. */
export function sharedAncestors(
  { volume }: ObjectNames,
  { ancestors }: Pick<Manifest, "ancestors">,
): Ancestor[] {
  return ancestors.filter(({ name }) => name !== volume);
}
