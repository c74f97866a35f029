/**
 * The topology of a disk: the backend's hints, overridden by the options.
 *
 * @module
 */

import type { Topology } from "../disk/backend.ts";
import type { BackendTraits } from "../disk/traits.ts";
import { UblkError } from "../uapi/error.ts";
import type { Member } from "./option_row.ts";
import type { TopologyOptions } from "./options.ts";

/** The block layer's physical block size if nothing else is known. */
const USUAL_PHYSICAL_BYTES = 4096;

/**
 * The topology of a new device. The options override the backend's hints. Hints that would
 * contradict the options are raised or dropped.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for options that do not fit the disk's blocks.
 */
export function chosenTopology(
  { blockSize, topology = {}, trim, writeZeroes }: Pick<
    BackendTraits,
    "blockSize" | "topology" | "trim" | "writeZeroes"
  >,
  asked: TopologyOptions | undefined,
): Topology {
  if (asked === undefined) return topology;
  const physical = asked.physicalBlockSize ?? topology.physicalBlockSize ??
    Math.max(blockSize, USUAL_PHYSICAL_BYTES);
  const granularity = asked.discardGranularityBytes;
  if (physical < blockSize) {
    throw refused(
      "topology.physicalBlockSize",
      `${physical} is less than a block of the disk (${blockSize})`,
      `use ${blockSize} or more`,
    );
  }
  if (asked.ioOptBytes !== undefined && asked.ioOptBytes < physical) {
    throw refused(
      "topology.ioOptBytes",
      `${asked.ioOptBytes} is less than the physical block (${physical})`,
      `use ${physical} or more`,
    );
  }
  if (granularity !== undefined && !trim && !writeZeroes) {
    const cause = "the disk discards nothing";
    throw refused("topology.discardGranularityBytes", cause, "leave it out");
  }
  if (granularity !== undefined && granularity % blockSize !== 0) {
    throw refused(
      "topology.discardGranularityBytes",
      `${granularity} is not a multiple of the disk's blocks (${blockSize})`,
      `use ${Math.ceil(granularity / blockSize) * blockSize}`,
    );
  }
  const { ioMinBytes, ioOptBytes, discardAlignmentBytes = 0 } = topology;
  const best = asked.ioOptBytes ??
    (ioOptBytes !== undefined && ioOptBytes >= physical ? ioOptBytes : undefined);
  const least = ioMinBytes === undefined ? undefined : Math.max(ioMinBytes, physical);
  return {
    ...topology,
    rotational: asked.rotational ?? topology.rotational,
    physicalBlockSize: physical,
    // The optimal request is never smaller than the minimum one.
    ioMinBytes: least === undefined ? undefined : Math.min(least, best ?? least),
    ioOptBytes: best,
    discardGranularityBytes: granularity ?? topology.discardGranularityBytes,
    discardAlignmentBytes: granularity === undefined
      ? topology.discardAlignmentBytes
      : discardAlignmentBytes % granularity,
  };
}

function refused(member: Member, cause: string, remedy: string): UblkError {
  const reason = `${member}: ${cause}`;
  return new UblkError("INVALID_ARGUMENT", { operation: "serve", reason, hint: remedy });
}
