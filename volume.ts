/**
 * Volumes: disks that outlive their servers and their machines.
 *
 * {@linkcode Volume} reads and writes one without any device, on any machine: no ublk, no root.
 *
 * @module
 */

export {
  type CreateVolumeOptions,
  type OpenVolumeOptions,
  type StoreLike,
  Volume,
  type VolumeWriteOptions,
} from "./volume/volume.ts";
