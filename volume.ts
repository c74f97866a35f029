/**
 * Volumes: disks that outlive their servers and their machines.
 *
 * {@linkcode volume} makes a disk of one, for `serve()`. {@linkcode Volume} reads and writes one
 * without any device, on any machine: no ublk, no root.
 *
 * @module
 */

export { volume, type VolumeDiskOptions } from "./backends/volume.ts";
export {
  type CreateVolumeOptions,
  type OpenVolumeOptions,
  Volume,
  type VolumeWriteOptions,
} from "./volume/volume.ts";
export type { StoreLike } from "./volume/store_like.ts";
