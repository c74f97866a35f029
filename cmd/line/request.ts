/**
 * A disk as it was asked for, by whichever command line, file or record: plain data that a record
 * keeps, and that comes to the same disk later.
 *
 * @module
 */

import type { BackendSpec } from "../../disk/spec.ts";
import type { Target } from "../../disk/target.ts";
import type { ServingOptions } from "./device_flags.ts";
import type { ProcessOptions } from "./process_flags.ts";
import { loadTarget, targetSpec } from "./targets.ts";
import { findWrapper, type Wrap, wrapped } from "./wraps.ts";

/** A disk as it was asked for. All paths are absolute. */
export interface DiskRequest {
  /** The target's name, or the URL of a module. */
  readonly target: string;
  /** The target's own options, and those of every device that it wants to know. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Its files. */
  readonly files: readonly string[];
  /** Wrappers, the outermost first, and their options. */
  readonly wraps: readonly { readonly name: string; readonly options: Wrap["options"] }[];
  /** The device, as far as it was not left to the defaults. */
  readonly device: ServingOptions;
  /** The server's process. */
  readonly process: ProcessOptions;
  /** Where metrics are served; nowhere if left out. */
  readonly metrics?: string;
}

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
