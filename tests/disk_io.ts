/**
 * Requests of a disk in bytes, for `RingRequests`.
 *
 * @module
 */

import type { BackendSpec } from "../disk/spec.ts";
import { Dice } from "../uapi/dice.ts";
import { UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import { DiskModel } from "./disk_model.ts";
import { RingRequests } from "./ring_requests.ts";

/** Data of 64 KiB. */
export const FILL: Uint8Array<ArrayBuffer> = new Uint8Array(64 << 10).fill(0x5a);

/** Bytes as sectors. */
export const sectors = (bytes: number): number => bytes / 512;

/** A WRITE at so many bytes. */
export const write = (offset: number, data: Uint8Array<ArrayBuffer>, flags = 0) => {
  const io = { op: UBLK_IO_OP_WRITE, sector: sectors(offset), sectors: sectors(data.length) };
  return { ...io, data, flags };
};

/** A READ of so many bytes at so many. */
export const read = (offset: number, bytes: number) => {
  return { op: UBLK_IO_OP_READ, sector: sectors(offset), sectors: sectors(bytes) };
};

/**
 * Sends the same requests to a disk and to a model of it.
 *
 * @param shorten Cuts what the kernel does at once. Default: it does all.
 */
export async function compare(spec: BackendSpec, seed: number, shorten?: Dice): Promise<void> {
  await using disk = await RingRequests.open(spec);
  if (shorten !== undefined) {
    disk.shorten = (bytes) => {
      return shorten.draw(3) > 0 ? bytes : Math.max(512, shorten.draw(bytes / 512) * 512);
    };
  }
  const { size, blockSize = 512 } = disk.backend;
  const model = new DiskModel(size, blockSize, 64 << 10, new Dice(seed));
  for (let round = 0; round < 30; round++) {
    const batch = model.batch(8);
    const requests = disk.run(batch.map(({ io }) => io));
    for (const [index, { check }] of batch.entries()) check(requests[index]);
  }
}
