/**
 * A disk as it was asked for, by whichever command line, file or record: plain data that a record
 * keeps, and that comes to the same disk later.
 *
 * The lists of all targets and wrappers are loaded where they are needed, and not before.
 *
 * @module
 */

import type { BackendSpec } from "../../disk/spec.ts";
import type { Target } from "../../disk/target.ts";
import type { GivenOptions } from "../../disk/wrapper.ts";
import type { ServingOptions } from "./device_flags.ts";
import type { ProcessOptions } from "./process_flags.ts";
import { targetSpec } from "./target_line.ts";

/** A disk as it was asked for. All paths are absolute. */
export interface DiskRequest {
  /** The target's name, or the URL of a module. */
  readonly target: string;
  /** The target's own options, and those of every device that it wants to know. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Its files. */
  readonly files: readonly string[];
  /** Wrappers, the outermost first, and their options. */
  readonly wraps: readonly { readonly name: string; readonly options: GivenOptions }[];
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
