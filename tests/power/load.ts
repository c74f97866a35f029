/**
 * A load for a volume, drawn from a seed: writes, FUA, trims, flushes and syncs, several at a time,
 * in a journal so small that it comes round many times; and a resize in the middle.
 *
 * @module
 */

import { openStore } from "../../store/open.ts";
import type { Store } from "../../store/store.ts";
import type { Dice } from "../../uapi/dice.ts";
import { resizeVolume } from "../../volume/resize.ts";
import { keyOf } from "../../volume/opened_store.ts";
import { unlocked } from "../../volume/seal/unlock.ts";
import type { EngineSizes } from "../../volume/sizes.ts";
import { Volume } from "../../volume/volume.ts";
import type { Recording } from "./recording.ts";
import { BLOCK, filled } from "./stamps.ts";

/** The volume's name. */
export const NAME = "db";
/** Its blocks before and after it is resized. */
const BLOCKS = 192;
export const MOST_BLOCKS = 256;
/** Of a small engine, whose journal has four segments of half a MiB. */
export const SIZES: EngineSizes = { batchData: 64 << 10, batches: 4, openChunks: 16 };
export const JOURNAL_SIZE = "2M";
/** Requests at a time. */
const DEPTH = 6;
/** Requests in each of the two lives of the volume. */
const ACTS = 80;

/** Where the volume of a load is, and what opens it. */
export interface LoadPlace {
  /** The folder of the store, which exists. */
  readonly store: string;
  /** The folder of journals. */
  readonly journal: string;
  /** The key of the volume; undefined for one that is not encrypted. */
  readonly key?: Uint8Array<ArrayBuffer>;
}

/** Runs something with the store, opened with the volume's key. */
export async function withKey<T>(
  { store, key }: LoadPlace,
  run: (store: Store) => Promise<T>,
): Promise<T> {
  await using opened = await openStore(store);
  const sealed = await unlocked(opened, NAME, key);
  using _key = keyOf(sealed);
  return await run(sealed);
}

/** Where the volume is, and what takes down what happens. */
export interface LoadParts extends LoadPlace {
  /** Takes down what happens. */
  readonly recording: Recording;
  /** Writes a mark to the disk's log. */
  readonly mark: (number: number) => void;
  /** Decides. */
  readonly dice: Dice;
}

/** Makes a volume, uses it, gives it another size, uses it again, and closes it. */
export async function runLoad(parts: LoadParts): Promise<void> {
  const { store, key, recording } = parts;
  const created = recording.add({ kind: "create", blocks: BLOCKS });
  await Volume.create(NAME, {
    ...{ store, key, size: BLOCKS * BLOCK, blockSize: BLOCK, chunkSize: "128K" },
  });
  answered(parts, { kind: "created", of: created });
  await use(parts, BLOCKS);
  const resized = recording.add({ kind: "resize", blocks: MOST_BLOCKS });
  await withKey(parts, (opened) => resizeVolume(opened, NAME, MOST_BLOCKS * BLOCK));
  answered(parts, { kind: "resized", of: resized });
  await use(parts, MOST_BLOCKS);
}

/** Notes an answer that promises something, and marks it on the disk's log. */
function answered({ recording, mark }: LoadParts, event: Parameters<Recording["add"]>[0]): void {
  recording.add(event);
  mark(recording.mark());
}

async function use(parts: LoadParts, blocks: number): Promise<void> {
  const { store, journal, key, recording, dice } = parts;
  const volume = await Volume.open(NAME, {
    ...{ store, journal, key, journalSize: JOURNAL_SIZE, sizes: SIZES },
  });
  /** Blocks that are being written: in which order two writes of one happen would be open. */
  const busy = new Set<number>();
  const open = new Set<Promise<void>>();
  for (let act = 0; act < ACTS; act++) {
    const work = request(parts, volume, blocks, busy);
    open.add(work);
    void work.finally(() => open.delete(work));
    // Now and then everything ends, so that a flush covers all there is.
    while (open.size >= DEPTH || dice.draw(12) === 0 && open.size > 0) await Promise.race(open);
  }
  await Promise.all(open);
  const closed = recording.add({ kind: "sync" });
  await volume.close();
  answered(parts, { kind: "synced", of: closed });
}

async function request(
  parts: LoadParts,
  volume: Volume,
  blocks: number,
  busy: Set<number>,
): Promise<void> {
  const { recording, dice } = parts;
  const kind = dice.draw(20);
  if (kind < 3) {
    const of = recording.add({ kind: "flush" });
    await volume.flush();
    answered(parts, { kind: "flushed", of });
    return;
  }
  if (kind === 3) {
    const of = recording.add({ kind: "sync" });
    await volume.sync();
    answered(parts, { kind: "synced", of });
    return;
  }
  const count = 1 + dice.draw(dice.draw(4) === 0 ? 40 : 6);
  const block = dice.draw(blocks - count + 1);
  const range = Array.from({ length: count }, (_, nth) => block + nth);
  if (range.some((one) => busy.has(one))) return;
  range.forEach((one) => busy.add(one));
  const isHole = kind < 7;
  const fua = !isHole && dice.draw(8) === 0;
  const id = isHole ? 0 : recording.nextId();
  const of = recording.add({ kind: "write", block, count, id });
  if (isHole) await volume.trim(block * BLOCK, count * BLOCK);
  else await volume.write(filled(count, id), block * BLOCK, { fua });
  range.forEach((one) => busy.delete(one));
  if (fua) answered(parts, { kind: "written", of, fua });
  else recording.add({ kind: "written", of, fua });
}
