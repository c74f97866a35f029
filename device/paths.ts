/**
 * The data paths that can serve a backend, best first. Pure functions; negotiation decides which of
 * them the kernel has.
 *
 * @module
 */

import { conflict } from "../ctrl/data_path.ts";
import type { BackendTraits } from "../disk/traits.ts";
import { DATA_PATHS, type DataPathName, isZeroCopy } from "../uapi/data_path.ts";
import { UblkError } from "../uapi/error.ts";
import { isAutomatic } from "./assignment.ts";

/** The inputs that decide which data paths are possible. */
export interface PathQuestion {
  /** The backend's traits. */
  readonly traits: Pick<BackendTraits, "address" | "ring" | "preferZeroCopy" | "zones">;
  /** The backend's name for messages. */
  readonly backend: string;
  /** Whether it runs in the caller's own thread. */
  readonly local: boolean;
  /** The path that the caller demands. */
  readonly forced?: DataPathName;
  /** Mandatory `UBLK_F_*` flags. */
  readonly required: number;
  /** Whether threads may share a queue. */
  readonly sharedQueues: boolean;
}

/**
 * The suitable data paths, best first.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if the demanded path cannot serve the backend.
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
  // Drop conflicting paths silently: nobody asked for one of them.
  const possible = best(question).filter((path) =>
    objection(path, question) === "" && conflict(path, required) === ""
  );
  // Integrity metadata and zones need user copy, which is never the best path otherwise.
  return possible.length > 0 ? possible : ["user-copy"];
}

function best({ traits }: PathQuestion): DataPathName[] {
  if (traits.address) return ["get-data", "copy"];
  if (traits.ring && traits.preferZeroCopy) return ["auto-zero-copy", "copy"];
  return ["copy"];
}

/** The reason why a path cannot serve a backend, or "". */
function objection(path: DataPathName, question: PathQuestion): string {
  // The commit's address field reports where an append landed, so it cannot carry a data address; and
  // the contents of a zone report are not in any file.
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
