/**
 * Volumes: disks that outlive their servers and their machines.
 *
 * {@linkcode Volume} reads and writes one without any device, on any Linux machine: no ublk, no root.
 * Writes go to a journal on a local disk, and from there in order into a store of objects.
 *
 * @example A volume in a folder
 * ```ts
 * import { Volume } from "@ublk/ublk/volume";
 * import { assertEquals } from "@std/assert";
 *
 * const folder = await Deno.makeTempDir();
 * const options = { store: `${folder}/store`, journal: `${folder}/journal`, journalSize: "16M" };
 * await Volume.create("db", { store: options.store, size: "10G" });
 *
 * await using volume = await Volume.open("db", options);
 * await volume.write(new TextEncoder().encode("hello".padEnd(4096)), 0);
 * await volume.sync();
 *
 * const block = new Uint8Array(4096);
 * await volume.read(block, 0);
 * assertEquals(new TextDecoder().decode(block).trimEnd(), "hello");
 * ```
 *
 * @module
 */

export type { EngineSizes } from "./volume/attach.ts";
export { type CheckOptions, type CheckReport, checkVolume } from "./volume/check.ts";
export type { Finding } from "./volume/findings.ts";
export {
  listVolumes,
  removeVolume,
  type RemoveVolumeOptions,
  type VolumeInfo,
  volumeInfo,
} from "./volume/list.ts";
export type { Seam } from "./volume/seam.ts";
export type { ShapeOptions } from "./volume/shape.ts";
export type { StoreLike } from "./volume/store_like.ts";
export type { LostJournal } from "./volume/take.ts";
export {
  exportImage,
  importImage,
  type TransferOptions,
  type TransferProgress,
} from "./volume/transfer.ts";
export {
  type CreateVolumeOptions,
  type OpenVolumeOptions,
  Volume,
  type VolumeWriteOptions,
} from "./volume/volume.ts";
export { openStore, type OpenStoreOptions } from "./store/open.ts";
export {
  type ByteRange,
  type ListedObject,
  type Store,
  type StoredObject,
  StoreError,
  type StoreFault,
  type StoreTerms,
  type Version,
} from "./store/store.ts";
export type { Size } from "./disk/geometry.ts";
export type { Allocation, File, Files, OpenOptions, PathStatus } from "./files/port.ts";
export type { FileKind, FileStatus } from "./uring/file.ts";
export { UblkError, type UblkErrorCode, type UblkErrorInit } from "./uapi/error.ts";
