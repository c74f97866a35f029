/**
 * Snapshots, clones and garbage of a simulated volume. All are at work beside a server, and every call to the
 * store may be the last: a snapshot or a clone has the same contents for ever, and nothing is deleted that
 * somebody reads.
 *
 * @module
 */

import { CrashableProcess } from "../../files/crashable.ts";
import type { Store } from "../../store/store.ts";
import { isUblkError } from "../../uapi/error.ts";
import type { Dice } from "../../uapi/dice.ts";
import { loadMaps } from "../../volume/attach.ts";
import { cloneVolume } from "../../volume/clone.ts";
import { decodeChunkTable, tableBytesOf } from "../../volume/format/chunk.ts";
import type { Head } from "../../volume/format/head.ts";
import type { Manifest } from "../../volume/format/manifest.ts";
import { chunkOf, nthOf } from "../../volume/format/place.ts";
import { sumOf } from "../../volume/format/sum.ts";
import type { BlockMap } from "../../volume/map/block_map.ts";
import { removeVolume } from "../../volume/list.ts";
import { ObjectNames, type VolumeReference } from "../../volume/names.ts";
import { ownerOfChunk } from "../../volume/owners.ts";
import { rollbackVolume } from "../../volume/rollback.ts";
import { createSnapshot, removeSnapshot, stateOfReference } from "../../volume/snapshots.ts";
import type { Bases } from "../../volume/space/bases.ts";
import { collectGarbage } from "../../volume/space/collect.ts";
import { collectVolume } from "../../volume/space/collect_volume.ts";
import { Moves, PendingMoves } from "../../volume/space/moves.ts";
import { BrokenPromise, type VolumeHistory } from "./history.ts";
import { hasEnded, NAME, type World } from "./world.ts";

const NAMES = new ObjectNames(NAME);
/** Most snapshots at a time. */
const MOST = 4;
/** One of each may be under way, beside each other. */
const NAMING = 0;
const COLLECTING = 1;

/** The parts of a {@linkcode SimSpace}. */
export interface SimSpaceParts {
  /** The server's store, which waits and fails. */
  readonly store: Store;
  /** The states that garbage may be judged by. */
  readonly bases: Bases;
  /** So many commits no read of the engine is older than. */
  readonly quietAfter: () => number;
  /** The engine's map of chunks. */
  readonly chunks: BlockMap;
  /** The server's epoch. */
  readonly epoch: number;
  /** The clients' knowledge of the volume. */
  readonly history: () => VolumeHistory;
  /** Whether a call may fail so. */
  readonly mayFail: (error: unknown) => boolean;
}

/** What happens to the space of a volume beside one of its servers. */
export class SimSpace {
  /** Why the simulation has failed. */
  failure: unknown;
  /** Data that is to be moved. */
  readonly pending = new PendingMoves();
  readonly #world: World;
  readonly #parts: SimSpaceParts;
  readonly #isBusy = [false, false];

  /** Takes over the parts. */
  constructor(world: World, parts: SimSpaceParts) {
    this.#world = world;
    this.#parts = parts;
  }

  /** Begins something, as the dice decide. */
  act(): void {
    const { dice } = this.#world;
    switch (dice.draw(8)) {
      case 0:
        return this.#begin(NAMING, "a snapshot", () => this.#snapshot());
      case 1:
        return this.#begin(NAMING, "a snapshot's end", () => this.#remove());
      case 2:
      case 3:
        return this.#begin(NAMING, "a look", () => lookAtHead(this.#world));
      case 4:
        return this.#begin(NAMING, "a clone", () => this.#clone());
      case 5:
        return this.#begin(NAMING, "a clone's end", () => this.#removeClone());
      default:
        return this.collect();
    }
  }

  /** Begins a collection, unless one is under way. */
  collect(): void {
    this.#begin(COLLECTING, "a collection", () => this.#collect());
  }

  #begin(kind: number, what: string, work: () => Promise<void>): void {
    if (this.#isBusy[kind]) return;
    this.#isBusy[kind] = true;
    work().then(() => this.#isBusy[kind] = false, (error) => {
      this.#isBusy[kind] = false;
      // Its server may have been fenced, and the volume be another's.
      if (!this.#parts.mayFail(error)) this.failure ??= error;
      else this.#world.note(`${what} failed: ${error.message}`);
    });
  }

  async #collect(): Promise<void> {
    const { store, bases, quietAfter } = this.#parts;
    bases.quiet(quietAfter());
    const base = bases.newest;
    this.pending.begin(bases.since);
    try {
      const { dice, seam } = this.#world;
      const found = await collectGarbage({ store, names: NAMES, base, seam });
      this.#world.note(
        `garbage before manifest ${base.manifest}: ${found?.objects ?? "no"} objects`,
      );
      await this.#checkChunks();
      // Whether they are sparse or not.
      const chunks = new Set(
        found?.held.filter(() => dice.draw(2) === 0).slice(0, 3).map(({ chunk }) => chunk),
      );
      const moves = chunks.size === 0
        ? undefined
        : await Moves.read({ store, names: NAMES, ...found!, chunks });
      this.pending.ready(moves);
    } catch (error) {
      this.pending.ready(undefined);
      throw error;
    }
  }

  /** The store has all chunks that the engine reads. It holds some open, and would not notice at once. */
  async #checkChunks(): Promise<void> {
    const { chunks, epoch } = this.#parts;
    await alone(this.#world, async (store) => {
      const there = new Set<string>();
      for await (const { name } of store.list(NAMES.chunks)) there.add(name);
      const { head } = await stateOfReference(store, { volume: NAME });
      // Whoever has the volume by now deletes what the own engine may still read.
      if (head.epoch !== epoch) return;
      for (const cursor = chunks.cursor(); cursor.next();) {
        const name = NAMES.chunk(chunkOf(cursor.place));
        if (!there.has(name)) throw new BrokenPromise(`${name} is gone, and the engine reads it`);
      }
    });
  }

  async #snapshot(): Promise<void> {
    const { snapshots, dice, seam } = this.#world;
    const { store, history, epoch } = this.#parts;
    if (snapshots.size >= MOST) return;
    const name = `s${dice.draw(1000)}`;
    if (snapshots.has(name)) return;
    snapshots.set(name, undefined);
    this.#world.naming.add(name);
    const [stored, sizesGiven] = [history().storedWrites(), history().sizesGiven];
    await createSnapshot(store, NAME, name, { seam, patienceMs: 0 });
    const reference = { volume: NAME, snapshot: name };
    const { ids, head } = await alone(this.#world, (own) => contentsOf(own, reference));
    snapshots.set(name, ids);
    this.#world.naming.delete(name);
    // What is beyond a smaller end is forgotten; and another server's writes are not known here.
    const isKnown = history().sizesGiven === sizesGiven && head.epoch === epoch;
    if (isKnown) history().checkState(ids, stored);
    this.#world.note(`a snapshot ${name}`);
  }

  async #remove(): Promise<void> {
    const { snapshots, dice, seam } = this.#world;
    // Another server may be about to make or remove the others.
    const name = oneThatIsThere(snapshots, dice);
    if (name === undefined) return;
    snapshots.set(name, undefined);
    this.#world.naming.add(name);
    await removeSnapshot(this.#parts.store, NAME, name, { seam, patienceMs: 0 });
    snapshots.delete(name);
    this.#world.naming.delete(name);
  }

  /** Clones the volume, or one of its snapshots. */
  async #clone(): Promise<void> {
    const { snapshots, clones, naming, dice, seam, key } = this.#world;
    const { store, history, epoch } = this.#parts;
    const name = `c${dice.draw(MOST)}`;
    if (clones.has(name)) return;
    const snapshot = dice.draw(2) === 0 ? undefined : oneThatIsThere(snapshots, dice);
    const wanted = snapshot && snapshots.get(snapshot);
    clones.set(name, undefined);
    naming.add(name);
    const [stored, sizesGiven] = [history().storedWrites(), history().sizesGiven];
    const source = snapshot === undefined ? NAME : `${NAME}@${snapshot}`;
    try {
      await cloneVolume(store, source, name, { key, seam, patienceMs: 0 });
    } catch (error) {
      if (isUblkError(error) && error.message.includes("is being removed")) {
        // By a server that has died meanwhile.
        await removeVolume(store, name, { seam });
        naming.delete(name);
        clones.delete(name);
        return this.#world.note(`the removal of ${name} is over`);
      }
      const isRemoved = snapshot !== undefined && snapshots.get(snapshot) === undefined;
      if (!isRemoved || !isUblkError(error) || error.code !== "VOLUME_NOT_FOUND") throw error;
      naming.delete(name);
      return this.#world.note(`no clone ${name}: another server has removed ${source}`);
    }
    const { ids, head } = await alone(this.#world, async (own) => {
      const { head } = await stateOfReference(own, { volume: NAME });
      return { ...await contentsOf(own, { volume: name }), head };
    });
    clones.set(name, ids);
    naming.delete(name);
    if (wanted !== undefined && `${ids}` !== `${wanted}`) {
      throw new BrokenPromise(`the clone ${name} of ${source} has ${ids}, and not ${wanted}`);
    }
    const isKnown = history().sizesGiven === sizesGiven && head.epoch === epoch;
    if (wanted === undefined && isKnown) history().checkState(ids, stored);
    this.#world.note(`a clone ${name} of ${source}`);
  }

  async #removeClone(): Promise<void> {
    const { clones, naming, dice, seam } = this.#world;
    const name = oneThatIsThere(clones, dice);
    if (name === undefined) return;
    clones.set(name, undefined);
    naming.add(name);
    await removeVolume(this.#parts.store, name, { seam });
    clones.delete(name);
    naming.delete(name);
  }
}

/** One of those that nobody is making or removing. */
function oneThatIsThere(
  states: ReadonlyMap<string, readonly number[] | undefined>,
  dice: Dice,
): string | undefined {
  const names = [...states.keys()].filter((name) => states.get(name) !== undefined);
  return names[dice.draw(Math.max(1, names.length))];
}

/** What the store has been seen to have never goes back, whatever answers are late or lost. */
async function lookAtHead(world: World): Promise<void> {
  const { sequence, number } = await alone(
    world,
    async (store) => (await stateOfReference(store, { volume: NAME })).manifest,
  );
  const { seen } = world;
  if (sequence < seen.sequence || number < seen.number) {
    throw new BrokenPromise(
      `the store has manifest ${number} with batch ${sequence}, and had manifest ${seen.number} ` +
        `with batch ${seen.sequence}`,
    );
  }
  world.seen = { sequence, number };
}

/** Collects the garbage of a volume that nobody has attached; that may end at any operation. */
export async function collectDetached(world: World): Promise<void> {
  const { dice, machine } = world;
  if (dice.draw(2) === 0) machine.endsAt = machine.operations + dice.draw(200);
  try {
    const store = world.opened(await world.store(new CrashableProcess(machine)));
    await collectVolume(store, NAME, { seam: world.seam });
  } catch (error) {
    if (!hasEnded(error)) throw error;
  }
  world.end(dice.draw(2) === 0 ? "power" : "killed");
}

/** Rolls a volume back that nobody has attached; that may end at any operation. */
export async function rollBackDetached(world: World): Promise<void> {
  const { dice, machine, snapshots, history } = world;
  await checkSnapshots(world);
  if (snapshots.size === 0) return;
  const name = [...snapshots.keys()][dice.draw(snapshots.size)];
  if (dice.draw(2) === 0) machine.endsAt = machine.operations + dice.draw(100);
  try {
    const store = world.opened(await world.store(new CrashableProcess(machine)));
    await rollbackVolume(store, NAME, name, world.seam);
  } catch (error) {
    if (!hasEnded(error)) throw error;
  }
  const isCut = machine.endsAt === Infinity && dice.draw(2) === 0;
  world.end(isCut ? "power" : "killed");
  await alone(world, async (store) => {
    const { manifest: now } = await stateOfReference(store, { volume: NAME });
    const { manifest: then } = await stateOfReference(store, { volume: NAME, snapshot: name });
    const isBack = now.size === then.size && JSON.stringify(now.runs) === JSON.stringify(then.runs);
    if (isBack) history.becomes(snapshots.get(name)!);
    world.note(`a rollback to ${name}${isBack ? "" : " that was cut short"}`);
  });
}

/** Compares all snapshots and clones with what they were. */
export async function checkSnapshots(world: World): Promise<void> {
  const { snapshots, clones, naming } = world;
  if (snapshots.size + clones.size + world.marked.size === 0) return;
  await alone(world, async (store) => {
    for (const [name, asked] of world.marked) {
      const found = await contentsIfThere(store, { volume: NAME, snapshot: name });
      if (found === undefined) continue;
      const { history, sizesGiven, kept, taken } = asked;
      // What is beyond a smaller end is forgotten.
      if (history === world.history && history.sizesGiven === sizesGiven) {
        history.checkState(found, kept, taken);
        world.marksChecked++;
      }
      world.marked.delete(name);
      snapshots.set(name, found);
    }
    for (const states of [snapshots, clones]) {
      for (const [name, before] of states) {
        if (naming.has(name)) continue;
        const reference = states === clones ? { volume: name } : { volume: NAME, snapshot: name };
        const found = await contentsIfThere(store, reference);
        if (before === undefined) {
          // It was being made or removed when its process ended: now it is either.
          if (found === undefined) states.delete(name);
          else states.set(name, found);
        } else if (`${found}` !== `${before}`) {
          throw new BrokenPromise(`${name} has ${found}, and had ${before}`);
        }
      }
    }
  });
}

/** Does something with a sound store, which is no part of what is simulated. */
async function alone<T>(world: World, work: (store: Store) => Promise<T>): Promise<T> {
  const { machine, ends } = world;
  const { faults, endsAt, operations } = machine;
  machine.faults = undefined;
  machine.endsAt = Infinity;
  try {
    return await work(world.opened(await world.store(new CrashableProcess(machine))));
  } finally {
    // All may have ended meanwhile.
    if (world.ends === ends) {
      machine.faults = faults;
      machine.endsAt = endsAt + machine.operations - operations;
    }
  }
}

async function contentsIfThere(
  store: Store,
  reference: VolumeReference,
): Promise<number[] | undefined> {
  try {
    return (await contentsOf(store, reference)).ids;
  } catch (error) {
    if (isUblkError(error) && error.code === "VOLUME_NOT_FOUND") return undefined;
    throw error;
  }
}

/** The numbers of the blocks of a snapshot or a clone. */
async function contentsOf(
  store: Store,
  reference: VolumeReference,
): Promise<{ ids: number[]; head: Head }> {
  const { head, manifest } = await stateOfReference(store, reference);
  const names = new ObjectNames(reference.volume);
  const maps = await loadMaps({ store, names, manifest });
  const chunks = new Map<number, Uint8Array<ArrayBuffer>>();
  const ids: number[] = new Array(maps.blocks).fill(0);
  for (const cursor = maps.chunks.cursor(); cursor.next();) {
    for (let nth = 0; nth < cursor.count; nth++) {
      const place = cursor.place + nth;
      const chunk = chunkOf(place);
      const owner = ownerOfChunk(names, manifest, chunk);
      const name = owner.names.chunk(chunk);
      const bytes = chunks.get(chunk) ?? (await store.get(name))?.bytes;
      if (bytes === undefined) throw new BrokenPromise(`${name} is gone`);
      chunks.set(chunk, bytes);
      const { blockSize } = manifest;
      ids[cursor.block + nth] = idIn(bytes, { ...owner, blockSize }, chunk, nthOf(place));
    }
  }
  return { ids, head };
}

function idIn(
  bytes: Uint8Array<ArrayBuffer>,
  { volume, blockSize }: Pick<Manifest, "volume" | "blockSize">,
  chunk: number,
  nth: number,
): number {
  const table = decodeChunkTable(bytes.subarray(0, tableBytesOf(bytes)), volume, chunk);
  const at = table.dataAt + nth * blockSize;
  const block = bytes.subarray(at, at + blockSize);
  if (sumOf(block) !== table.sums[nth]) throw new BrokenPromise(`chunk ${chunk} is damaged`);
  return new DataView(block.buffer, block.byteOffset).getUint32(0, true);
}
