/**
 * A volume that another thread can shut: the backend of block devices.
 *
 * @module
 */

import type { Backend, OpenContext } from "../disk/backend.ts";
import type { BackendSpec } from "../disk/spec.ts";
import { openDisk, type VolumeDisk } from "../volume/open_disk.ts";
import { gatedEngine, SharedGate } from "./engine_gate.ts";

/** The options that the serving thread gets. */
interface GatedVolume {
  readonly disk: VolumeDisk;
  /** {@linkcode SharedGate.memory}. */
  readonly gate: SharedArrayBuffer;
}

/** A volume behind a gate. */
export function gatedVolume(disk: VolumeDisk, { memory }: SharedGate): BackendSpec {
  return { module: import.meta.url, options: { disk, gate: memory } satisfies GatedVolume };
}

/** Opens the volume. Serving threads call its engine, and nothing else. */
export async function open(
  options: unknown,
  { deadlineMs }: Pick<OpenContext, "deadlineMs">,
): Promise<Backend> {
  const { disk, gate } = options as GatedVolume;
  const opened = await openDisk(disk, deadlineMs);
  const shared = new SharedGate(gate);
  shared.epoch = opened.epoch;
  return Object.assign(opened, { engine: gatedEngine(opened.engine!, shared) });
}
