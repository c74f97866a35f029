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
  return ownerOf(names, ancestry, (ancestor) => chunk < ancestor.chunk);
}

/** The owner of a run. */
export function ownerOfRun(names: ObjectNames, ancestry: Ancestry, run: number): Owner {
  return ownerOf(names, ancestry, (ancestor) => run < ancestor.run);
}

function ownerOf(
  names: ObjectNames,
  { volume, ancestors }: Ancestry,
  isOf: (ancestor: Ancestor) => boolean,
): Owner {
  // The oldest is the first, and their numbers only rise.
  const ancestor = ancestors.find(isOf);
  if (ancestor === undefined) return { names, volume };
  return { names: new ObjectNames(ancestor.name), volume: ancestor.volume };
}

/** Whether a chunk is among the objects of the volume itself. A copied clone has all of them. */
export function isOwnChunk(names: ObjectNames, ancestry: Ancestry, chunk: number): boolean {
  return ownerOfChunk(names, ancestry, chunk).names.volume === names.volume;
}

/** Whether a run is among the objects of the volume itself. */
export function isOwnRun(names: ObjectNames, ancestry: Ancestry, run: number): boolean {
  return ownerOfRun(names, ancestry, run).names.volume === names.volume;
}

/** The ancestors whose objects are elsewhere. */
export function sharedAncestors(
  names: ObjectNames,
  { ancestors }: Pick<Manifest, "ancestors">,
): Ancestor[] {
  return ancestors.filter(({ name }) => name !== names.volume);
}
