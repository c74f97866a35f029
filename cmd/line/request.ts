/**
 * Makes the backend of a disk from the request for it.
 *
 * The lists of all targets and wrappers are loaded where they are needed, and not before.
 *
 * @module
 */

import type { BackendSpec } from "../../disk/spec.ts";
import type { Target } from "../../disk/target.ts";
import type { DiskRequest } from "../devices/disk_request.ts";
import { targetSpec } from "./target_line.ts";

/** What a request comes to. */
export interface RequestedDisk {
  /** The target; not persistent where a wrapper forgets what it was given. */
  readonly target: Target;
  /** The target's backend, in its wrappers. */
  readonly backend: BackendSpec;
}

/**
 * The disk of a request.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where target, files or values are not possible.
 */
export async function requestedDisk(request: DiskRequest): Promise<RequestedDisk> {
  const { loadTarget } = await import("./targets.ts");
  return await diskOf(await loadTarget(request.target), request);
}

/**
 * The disk of a request, whose target is known.
 *
 * @param more What the target is told beside its options.
 * @throws {UblkError} `INVALID_ARGUMENT` where files or values are not possible.
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
  const keeps = found.every(({ wrapper, options }) => wrapper.keeps?.(options) !== false);
  return {
    target: keeps ? target : { ...target, persistent: false },
    backend: wrapped(found, backend),
  };
}
