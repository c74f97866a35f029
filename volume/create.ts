/**
 * Makes a volume in a store.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { readCatalog } from "./catalog.ts";
import { areEqual, readHead } from "./committed.ts";
import { encodeHead, type Head } from "./format/head.ts";
import { encodeManifest, type Manifest } from "./format/manifest.ts";
import { NO_UUID } from "./format/record.ts";
import { ObjectNames } from "./names.ts";
import type { Seam } from "./seam.ts";

/** The properties that are decided when a volume is created. */
export interface VolumeShape {
  /** Of the disk in bytes: a multiple of the block size. */
  readonly size: number;
  /** Bytes of a block: 512, 1024, 2048 or 4096. */
  readonly blockSize: number;
  /** Most bytes of a chunk object. */
  readonly chunkSize: number;
}

/** Creates a volume. @throws {UblkError} `VOLUME_EXISTS` */
export async function createVolume(
  store: Store,
  name: string,
  shape: VolumeShape,
  seam: Seam,
): Promise<Head> {
  const names = new ObjectNames(name);
  await store.verify?.();
  const volume = seam.uuid();
  const time = seam.now();
  if (await readHead(store, names) !== undefined) throw exists(store, name);
  // Whoever still deletes objects of a removed volume deletes none of the new one.
  const removed = (await readCatalog(store, names))?.catalog.removed;
  const first = removed ?? { chunk: 1, run: 1, manifest: 1 };
  let manifest: Manifest = {
    ...shape,
    ...{ volume, number: first.manifest, epoch: 0, sequence: 0, position: 0, chain: 0, written: 0 },
    ...{ nextChunk: first.chunk, nextRun: first.run, time, created: time, runs: [] },
  };
  let encoded = encodeManifest(manifest);
  // A volume of this name that was only half created, or removed, has left a manifest.
  while (await store.putIfAbsent(names.manifest(manifest.number), encoded.bytes) === undefined) {
    const found = await store.get(names.manifest(manifest.number));
    if (found !== undefined && areEqual(found.bytes, encoded.bytes)) break;
    manifest = { ...manifest, number: manifest.number + 1 };
    encoded = encodeManifest(manifest);
  }
  const head: Head = {
    ...{ volume, nonce: seam.uuid(), epoch: 0 },
    ...{ manifest: manifest.number, manifestSum: encoded.sum },
    ...{ attached: false, journal: NO_UUID, owner: NO_UUID, leaseMs: 0, written: 0, time },
    host: "",
  };
  if (await store.putIfAbsent(names.head, encodeHead(head)) === undefined) {
    const found = await readHead(store, names);
    if (found?.head.nonce !== head.nonce) throw exists(store, name);
  }
  return head;
}

function exists(store: Store, name: string): UblkError {
  return new UblkError("VOLUME_EXISTS", {
    operation: `create ${name}`,
    reason: `${store.url} has a volume of that name`,
    hint: "choose another name, or remove that one first",
  });
}
