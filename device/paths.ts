/**
 * The data paths that a backend can be served by, best first. Pure: what the kernel has of them is
 * for negotiation to say.
 *
 * @module
 */

import { conflict } from "../ctrl/data_path.ts";
import type { BackendTraits } from "../disk/traits.ts";
import { DATA_PATHS, type DataPathName, isZeroCopy } from "../uapi/data_path.ts";
import { UblkError } from "../uapi/error.ts";
import { isAutomatic } from "./assignment.ts";

/** What decides which data paths there are. */
export interface PathQuestion {
  /** What the backend is and can do. */
  readonly traits: Pick<BackendTraits, "address" | "ring" | "preferZeroCopy" | "zones">;
  /** What to call it. */
  readonly backend: string;
  /** Whether it runs in the caller's own thread. */
  readonly local: boolean;
  /** The path that the caller insists on. */
  readonly forced?: DataPathName;
  /** `UBLK_F_*` without which the device is of no use. */
  readonly required: number;
  /** Whether threads may have a queue in common. */
  readonly sharedQueues: boolean;
}

/**
 * The data paths that will do, best first.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where the path that is insisted on cannot serve the
 *   backend.
 */
export function dataPathsOf(question: PathQuestion): DataPathName[] {
  const { forced, required } = question;
  if (forced !== undefined) {
    const why = objection(forced, question);
    if (why === "") return [forced];
    const others = DATA_PATHS.filter((path) => objection(path, question) === "");
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "serve",
      reason: `no data path "${forced}": ${why}`,
      hint: `choose among ${others.join(", ")}, or leave dataPath out`,
    });
  }
  // What excludes itself is no loss to speak of: nobody has asked for it.
  const possible = best(question).filter((path) =>
    objection(path, question) === "" && conflict(path, required) === ""
  );
  // Integrity metadata, and zones, need a path that nobody would choose otherwise.
  return possible.length > 0 ? possible : ["user-copy"];
}

function best({ traits }: PathQuestion): DataPathName[] {
  if (traits.address) return ["get-data", "copy"];
  if (traits.ring && traits.preferZeroCopy) return ["auto-zero-copy", "copy"];
  return ["copy"];
}

/** Why a path cannot serve a backend, or "". */
function objection(path: DataPathName, question: PathQuestion): string {
  // A commit's address says where an append landed, so that none can be given for data; and what a
  // report tells is not in any file.
  if (question.traits.zones !== undefined && path !== "user-copy") {
    return "zones are reported, and appended to, by user-copy";
  }
  if (isZeroCopy(path) && !question.traits.ring) {
    return question.local
      ? "a backend given as an object is served through its methods, which need the bytes"
      : `the server never sees the bytes with zero copy; backend ${question.backend} computes them`;
  }
  if (isAutomatic(path) && question.sharedQueues) {
    return "with batch I/O it needs no more threads than queues";
  }
  return "";
}
