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
 * Makes the disk of a recorded request, and returns it with that request. Options for one start,
 * which records of earlier versions have, are left out.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for an impossible target, file or value.
 */
export async function requestedDisk(
  recorded: DiskRequest,
): Promise<RequestedDisk & { readonly request: DiskRequest }> {
  const { loadTarget } = await import("./targets.ts");
  const target = await loadTarget(recorded.target);
  const request = { ...recorded, values: lastingValues(target, recorded.values) };
  return { ...await diskOf(target, request), request };
}

/**
 * The values of a target's options that a later server needs too. Once, `ublk recover` repeated
 * `--without-journal`, and gave up the data of a mounted filesystem that only the journal had.
 */
export function lastingValues(
  { options }: Target,
  values: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const isOnce = (name: string) => options.some((option) => option.name === name && option.once);
  return Object.fromEntries(Object.entries(values).filter(([name]) => !isOnce(name)));
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
