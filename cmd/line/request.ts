/**
 * Turns the request for a disk into its backend.
 *
 * The lists of all targets and wrappers are loaded on demand.
 *
 * @module
 */

import type { BackendSpec } from "../../disk/spec.ts";
import type { Target } from "../../disk/target.ts";
import type { DiskRequest } from "../devices/disk_request.ts";
import { targetSpec } from "./target_line.ts";

/** The disk that results from a request. */
export interface RequestedDisk {
  /** The target; not marked persistent if a wrapper forgets what is written. */
  readonly target: Target;
  /** The target's backend inside its wrappers. */
  readonly backend: BackendSpec;
}

/**
 * Makes the disk of a request.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for an impossible target, file or value.
 */
export async function requestedDisk(request: DiskRequest): Promise<RequestedDisk> {
  const { loadTarget } = await import("./targets.ts");
  return await diskOf(await loadTarget(request.target), request);
}

/**
 * Makes the disk of a request whose target is known.
 *
 * @param more Values passed to the target besides its options.
 * @throws {UblkError} `INVALID_ARGUMENT` for impossible files or values.
 */
export async function diskOf(
  target: Target,
  { values, files, wraps }: Pick<DiskRequest, "values" | "files" | "wraps">,
  more: Readonly<Record<string, unknown>> = {},
): Promise<RequestedDisk> {
  const backend = targetSpec(target, { ...values, ...more }, files);
  if (wraps.length === 0) return { target, backend };
  const { findWrapper, wrapped } = await import("./wraps.ts");
  const found = wraps.map(({ name, options }) => ({ wrapper: findWrapper(name), options }));
  const isDurable = found.every(({ wrapper, options }) => wrapper.isDurable?.(options) !== false);
  return {
    target: isDurable ? target : { ...target, persistent: false },
    backend: wrapped(found, backend),
  };
}
