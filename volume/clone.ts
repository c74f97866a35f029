/**
 * Clones: volumes that begin as what another one is, or was at a snapshot. No data is copied. The first
 * manifest of a clone names the runs of its source, and the source as its newest ancestor.
 *
 * ```
 *   a head that holds the name ─▶ entry in the source's catalog ─▶ manifest ─▶ the head
 * ```
 *
 * Before the clone is there, its source knows what it needs. If this is interrupted, an entry is left
 * whose clone may still come to be. Whoever removes it replaces the head that holds the name first:
 * then the last step fails for sure (see `space/clones.ts`). That head had to come first, since nobody
 * can replace what is not there.
 *
 * @module
 */

import { retried } from "../store/retry.ts";
import { UblkError } from "../uapi/error.ts";
import { putManifest } from "./committed.ts";
import {
  exists,
  firstNumbers,
  freeName,
  lostName,
  newHead,
  placeholder,
  putFirstHead,
} from "./create.ts";
import type { Manifest } from "./format/manifest.ts";
import { ObjectNames, referenceOf } from "./names.ts";
import type { VolumeKeySource } from "./seal/key_source.ts";
import { innerOf, keyOf } from "./opened_store.ts";
import { createKey, unlocked } from "./seal/unlock.ts";
import { MACHINE, type Seam } from "./seam.ts";
import { keepFor, stateOfReference } from "./snapshots.ts";
import { type StoreLike, storeOf } from "./store_like.ts";
import { waitForReference } from "./wait_for_snapshot.ts";
import type { WaitForStoreOptions } from "./wait_for_store.ts";

/** How long a store that fails is asked again, in milliseconds. */
const PATIENCE_MS = 30_000;

/** Options of {@linkcode cloneVolume}. */
export interface CloneOptions extends Partial<WaitForStoreOptions> {
  /**
   * The size of the clone's disk in bytes: a multiple of the block size, and no less than its source.
   *
   * @default As its source
   */
  readonly size?: number;
  /**
   * The folder of journals. What the journal of a volume has is in the clone too: it is waited for until
   * the store has it.
   *
   * @default The clone is of the last state that the store has
   */
  readonly journal?: string;
  /**
   * The key of a source that is encrypted. It opens the clone too, until either gets another one.
   *
   * @default None: the source is not encrypted
   */
  readonly key?: VolumeKeySource;
  /**
   * How long a store that fails is tried again, in milliseconds.
   *
   * @default 30 s
   */
  readonly patienceMs?: number;
  /**
   * Time and randomness, for tests.
   *
   * @default The machine's
   */
  readonly seam?: Seam;
}

/**
 * Makes a volume of another one, which goes on, or of a snapshot. It shares what neither of both has
 * written since, and may be cloned itself. The snapshot may be removed afterwards.
 *
 * The clone of an encrypted volume has the same data key, in a key of its own (`rekeyVolume`).
 *
 * @param from `NAME`, or `NAME@SNAPSHOT`.
 * @param clone The name of the new volume.
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_EXISTS` if the name is taken; `INVALID_ARGUMENT` if the
 *   size is not possible; `VOLUME_KEY` if the source is encrypted and the key is missing or wrong;
 *   `VOLUME_JOURNAL` or `VOLUME_BUSY` if the journal is elsewhere, or nobody
 *   brings it to the store; `VOLUME_FENCED` if somebody has taken the name meanwhile.
 */
export async function cloneVolume(
  store: StoreLike,
  from: string,
  clone: string,
  { size, journal, files, key, patienceMs = PATIENCE_MS, seam = MACHINE }: CloneOptions = {},
): Promise<void> {
  const reference = referenceOf(from);
  const names = new ObjectNames(clone);
  await using stack = new AsyncDisposableStack();
  const patiently = <T>(call: () => Promise<T>) => retried(call, { withinMs: patienceMs });
  const plain = innerOf(await storeOf(store, stack));
  const opened = await patiently(() => unlocked(plain, reference.volume, key));
  const dataKey = keyOf(opened);
  stack.defer(() => dataKey?.[Symbol.dispose]());
  if (journal !== undefined) await waitForReference(opened, from, { journal, files });
  // Before anything is changed.
  const before = await patiently(() => stateOfReference(opened, reference));
  checkSize(clone, size, before.manifest);
  const version = await patiently(() => freeName(opened, names, "clone to", seam));
  const volume = seam.uuid();
  const time = seam.now();
  const held = placeholder(volume, seam, time);
  const place = await patiently(() => putFirstHead(opened, names, held, version));
  if (place === undefined) throw exists(opened, clone, "clone to");
  const first = await patiently(() => firstNumbers(opened, names));
  const entry = { name: clone, kind: "clone", id: volume } as const;
  const { manifest: shared } = await patiently(() => keepFor(opened, reference, entry, seam));
  checkSize(clone, size, shared);
  const source = new ObjectNames(reference.volume);
  // Before the head that says so.
  if (dataKey !== undefined) {
    await createKey(plain, names, volume, key!, { key: dataKey, patienceMs });
  }
  const { manifest, encoded } = await patiently(() =>
    putManifest(opened, names, first.manifest, (number) => ({
      ...cloneOf(shared, source, { volume, number, since: number, time }),
      size: size ?? shared.size,
      nextChunk: Math.max(first.chunk, shared.nextChunk),
      nextRun: Math.max(first.run, shared.nextRun),
    }))
  );
  const state = { volume, manifest: manifest.number, manifestSum: encoded.sum };
  const head = newHead({ ...state, encrypted: dataKey !== undefined }, seam, time);
  const made = await patiently(() => putFirstHead(opened, names, head, place));
  if (made === undefined) {
    if (dataKey !== undefined) await plain.delete(names.key(volume), { neverReused: true });
    throw lostName(opened, clone, "clone to");
  }
}

/** The first manifest of a clone, if it has its source's size, and no volume had its name before. */
export function cloneOf(
  shared: Manifest,
  { volume: name }: ObjectNames,
  { time, ...own }: Pick<Manifest, "volume" | "number" | "since" | "time">,
): Manifest {
  const { volume, nextChunk: chunk, nextRun: run } = shared;
  return {
    ...shared,
    ...{ epoch: 0, sequence: 0, position: 0, chain: 0, written: 0, time, created: time },
    ...own,
    ancestors: [...shared.ancestors, { name, volume, chunk, run }],
  };
}

function checkSize(
  clone: string,
  size: number | undefined,
  { size: least, blockSize }: Pick<Manifest, "size" | "blockSize">,
): void {
  if (size === undefined) return;
  const invalid = (reason: string, hint: string) =>
    new UblkError("INVALID_ARGUMENT", { operation: `clone to ${clone}`, reason, hint });
  if (!Number.isSafeInteger(size) || size % blockSize !== 0) {
    throw invalid(`${size} bytes are not whole blocks of ${blockSize}`, "round it up");
  }
  if (size < least) {
    throw invalid(`its source has ${least} bytes`, "a clone has that size, or a greater one");
  }
}
