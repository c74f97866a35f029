/**
 * Resizes a live device: backend and disk, in an order that never exposes a backend smaller than the
 * disk.
 *
 * @module
 */

import type { Control } from "../ctrl/control.ts";
import type { BackendTraits } from "../disk/traits.ts";
import { UblkError } from "../uapi/error.ts";
import { FEATURES, UBLK_F_UPDATE_SIZE } from "../uapi/features.ts";
import { logLine } from "./log.ts";

/** The parts that a resize works on. */
export interface ResizeParts {
  /** The device. */
  readonly id: number;
  /** Its size now, in bytes. */
  readonly from: number;
  /** The backend's traits. */
  readonly traits: Pick<BackendTraits, "blockSize" | "resize">;
  /** The control device. */
  readonly control: Pick<Control, "features" | "updateSize">;
  /** Resizes the backend in all its threads. */
  readonly resizeBackend: (bytes: number) => Promise<void>;
}

/**
 * Resizes a device.
 *
 * @param bytes The new size.
 * @param onDisk Called as soon as the disk has the new size, even if a later step fails.
 * @throws {UblkError} `INVALID_ARGUMENT`, `KERNEL_TOO_OLD`, or the error of the backend or kernel.
 */
export async function resizeDevice(
  parts: ResizeParts,
  bytes: number,
  onDisk: () => void,
): Promise<void> {
  checkResize(parts, bytes);
  const { id, from, control, resizeBackend } = parts;
  if (bytes === from) return;
  const updateDisk = async () => {
    await control.updateSize(id, bytes);
    onDisk();
  };
  if (bytes < from) {
    await updateDisk();
    return await resizeBackend(bytes);
  }
  try {
    await resizeBackend(bytes);
    await updateDisk();
  } catch (error) {
    // Some threads may have grown their backend already. The disk has not grown, so nobody saw it.
    await resizeBackend(from).catch((reason) => logLine(30, `undo: ${reason.message}`));
    throw error;
  }
}

function checkResize({ id, traits, control }: ResizeParts, bytes: number): void {
  const { blockSize, resize } = traits;
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % blockSize !== 0) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "resize",
      device: id,
      reason: `size ${bytes} is not possible`,
      hint: `use a positive multiple of the block size (${blockSize}) up to 2^53 - 1`,
    });
  }
  if (!resize) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "resize",
      device: id,
      reason: "its backend cannot be resized",
      hint: "use one with a resize method",
    });
  }
  if ((control.features & UBLK_F_UPDATE_SIZE) === 0) {
    const { kernel } = FEATURES.find(({ flag }) => flag === UBLK_F_UPDATE_SIZE)!;
    throw new UblkError("KERNEL_TOO_OLD", {
      operation: "resize",
      device: id,
      reason: "this kernel's ublk driver cannot resize a device",
      hint: `use Linux ${kernel} or newer`,
    });
  }
}
