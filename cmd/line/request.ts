/**
 * Makes the backend of a disk from the request for it.
 *
 * @module
 */

import type { BackendSpec } from "../../disk/spec.ts";
import type { Target } from "../../disk/target.ts";
import type { DiskRequest } from "../devices/disk_request.ts";
import { loadTarget, targetSpec } from "./targets.ts";
import { findWrapper, wrapped } from "./wraps.ts";

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
 * @param more What the target is told beside its options.
 * @throws {UblkError} `INVALID_ARGUMENT` where target, files or values are not possible.
 */
export async function requestedDisk(
  request: DiskRequest,
  more: Readonly<Record<string, unknown>> = {},
): Promise<RequestedDisk> {
  const { values, files } = request;
  const target = await loadTarget(request.target);
  const wraps = request.wraps.map(({ name, options }) => ({ wrapper: findWrapper(name), options }));
  const keeps = wraps.every(({ wrapper, options }) => wrapper.keeps?.(options) !== false);
  return {
    target: keeps ? target : { ...target, persistent: false },
    backend: wrapped(wraps, targetSpec(target, { ...values, ...more }, files)),
  };
}
