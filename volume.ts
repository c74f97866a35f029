/**
 * Volumes: disks that outlive their servers and their machines.
 *
 * {@linkcode volume} makes a disk of one, for `serve()`. {@linkcode Volume} reads and writes one
 * without any device, on any machine: no ublk, no root. Writes go to a journal on a local disk, and
 * from there in order into a store of objects.
 *
 * @module
 */

export { volume, type VolumeDiskOptions } from "./backends/volume.ts";
export type { CacheSizes, EngineSizes } from "./volume/sizes.ts";
export { type CheckOptions, type CheckReport, checkVolume } from "./volume/check.ts";
export { type CopyOptions, copyVolume } from "./volume/care/copy.ts";
export {
  type ChangedExtent,
  type DiffOptions,
  diffVolumes,
  exportChanges,
} from "./volume/care/diff.ts";
export { importChanges } from "./volume/care/import_changes.ts";
export { diffStream, importDiff } from "./volume/care/diff_stream.ts";
export { PacedStore } from "./volume/care/paced_store.ts";
export { type ScrubOptions, type ScrubReport, scrubVolume } from "./volume/care/scrub.ts";
export { type RepairOptions, type RepairReport, repairVolume } from "./volume/care/repair.ts";
export type { Finding } from "./volume/findings.ts";
export {
  listVolumes,
  removeVolume,
  type RemoveVolumeOptions,
  type VolumeInfo,
  volumeInfo,
} from "./volume/list.ts";
export {
  createSnapshot,
  listSnapshots,
  removeSnapshot,
  type RemoveSnapshotOptions,
  type SnapshotInfo,
  type SnapshotOptions,
} from "./volume/snapshots.ts";
export { waitForSnapshot } from "./volume/wait_for_snapshot.ts";
export { rollbackVolume } from "./volume/rollback.ts";
export { type CloneOptions, cloneVolume } from "./volume/clone.ts";
export { type Flattened, type FlattenOptions, flattenVolume } from "./volume/flatten.ts";
export type { WaitForStoreOptions } from "./volume/wait_for_store.ts";
export type { Freed } from "./volume/space/collect.ts";
export { collectVolume, type CollectVolumeOptions } from "./volume/space/collect_volume.ts";
export { rekeyVolume, unlocked } from "./volume/seal/unlock.ts";
export type { VolumeKeyFile, VolumeKeySource } from "./volume/seal/key_source.ts";
export type { Seam } from "./volume/seam.ts";
export type { Compression } from "./volume/format/compression.ts";
export type { ShapeOptions } from "./volume/shape.ts";
export type { StoreLike } from "./volume/store_like.ts";
export type { LostJournal } from "./volume/lost.ts";
export {
  exportImage,
  importImage,
  type TransferOptions,
  type TransferProgress,
} from "./volume/transfer.ts";
export type { VolumeCounter } from "./volume/counters.ts";
export {
  type CreateVolumeOptions,
  type OpenVolumeOptions,
  Volume,
  type VolumeStats,
  type VolumeWriteOptions,
} from "./volume/volume.ts";
export type { BesideOthers } from "./store/directory.ts";
export { openStore, type OpenStoreOptions } from "./store/open.ts";
export type { S3Credentials } from "./store/s3/credentials.ts";
export {
  type ByteRange,
  type DeleteTerms,
  type GetTerms,
  type ListedObject,
  type Store,
  type StoredObject,
  StoreError,
  type StoreFault,
  type StoreTerms,
  type Version,
} from "./store/store.ts";
export type { Size } from "./disk/geometry.ts";
export type { BackendSpec } from "./disk/spec.ts";
export type { Allocation, File, Files, OpenOptions, PathStatus } from "./files/port.ts";
export type { FileKind, FileStatus } from "./uring/file.ts";
export { UblkError, type UblkErrorCode, type UblkErrorInit } from "./uapi/error.ts";
