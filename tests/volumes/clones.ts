/**
 * Volumes, their snapshots and clones in one store, with everything that is done to them: each at the
 * same time as others, and each may end at any call of the store, which may fail too. Whatever happens, every volume and
 * every snapshot has what it must have; and once all are removed, nothing is left.
 *
 * @module
 */

import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import { type Store, StoreError } from "../../store/store.ts";
import { Dice } from "../../uapi/dice.ts";
import { isUblkError, type UblkError } from "../../uapi/error.ts";
import { loadMaps } from "../../volume/attach.ts";
import { readCatalog } from "../../volume/catalog.ts";
import { ChunkData } from "../../volume/care/chunk_data.ts";
import { cloneVolume } from "../../volume/clone.ts";
import { briefClaim, Committed } from "../../volume/committed.ts";
import { readHead } from "../../volume/state.ts";
import { VolumeCounters } from "../../volume/counters.ts";
import { createVolume } from "../../volume/create.ts";
import { ChunkAdder } from "../../volume/drain/add.ts";
import type { CollectedRun } from "../../volume/drain/collect.ts";
import { flattenVolume } from "../../volume/flatten.ts";
import { NO_UUID } from "../../volume/format/record.ts";
import { removeVolume } from "../../volume/list.ts";
import { ObjectNames, referenceOf } from "../../volume/names.ts";
import { openedStore } from "../../volume/opened_store.ts";
import { rollbackVolume } from "../../volume/rollback.ts";
import { unlocked } from "../../volume/seal/unlock.ts";
import type { Seam } from "../../volume/seam.ts";
import { createSnapshot, removeSnapshot, stateOfReference } from "../../volume/snapshots.ts";
import { MAKING_MS } from "../../volume/space/clones.ts";
import { collectGarbage } from "../../volume/space/collect.ts";
import { collectVolume } from "../../volume/space/collect_volume.ts";
import { contentsOf } from "./contents.ts";
import { BrokenPromise } from "./history.ts";
import { COMPRESSED, ENCRYPTED, settle } from "./world.ts";

const BLOCK = 512;
const BLOCKS = 12;
/** Volumes have these names, again and again. */
const NAMES = ["a", "b", "c", "d", "e"] as const;
const ROUNDS = 30;
/** What is done at the same time. */
const AT_ONCE = 3;
/** A process that ends does so before or after one of so many turns at the store. */
const MOST_TURNS = 60;
/** One call in so many has a fault, if any has. */
const FAULTS = 30;
/** How one of several that touch the same may end. */
const IN_THE_WAY = ["VOLUME_NOT_FOUND", "VOLUME_EXISTS", "VOLUME_FENCED", "VOLUME_BUSY"];

/** The end of a process, between two calls of the store. */
class Ended extends Error {
  override readonly message = "ended";
}

/** A volume or a snapshot. */
interface State {
  /** The contents that it has had, the newest last: a number for each block. */
  readonly contents: (readonly number[])[];
  /** From this one on, it may have any. */
  from: number;
  /** It may be there or not. */
  isUnsure: boolean;
}

class Clones {
  readonly #dice: Dice;
  /** The key of all volumes; undefined if none is encrypted. Each that is created has its own data key. */
  readonly #key: Uint8Array<ArrayBuffer> | undefined;
  readonly #compression: { readonly compression?: "zstd" };
  readonly #store = new MemoryStore();
  /** By `NAME` or `NAME@SNAPSHOT`. */
  readonly #states = new Map<string, State>();
  /** Volumes that one of those under way changes. */
  readonly #busy = new Set<string>();
  #paused: (() => void)[] = [];
  #log: string[] = [];
  #now = 1;
  #uuids = 0;
  #ids = 0;

  constructor(seed: number) {
    this.#dice = new Dice(seed);
    // Not drawn: see `World`.
    this.#compression = seed % COMPRESSED === 0 ? { compression: "zstd" } : {};
    if (seed % ENCRYPTED === 0) this.#key = new Uint8Array(32).fill(seed);
  }

  readonly #seam: Seam = {
    now: () => ++this.#now,
    clock: () => this.#now,
    elapsed: () => this.#now,
    uuid: () => (++this.#uuids).toString(16).padStart(32, "0"),
  };

  async run(): Promise<void> {
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const count = 1 + this.#dice.draw(AT_ONCE);
        await this.#goOn(Array.from({ length: count }, () => this.#act()));
        await this.#check();
        if (this.#dice.draw(4) === 0) this.#now += 2 * MAKING_MS;
      }
      await this.#removeAll();
    } catch (error) {
      const { message, stack } = error as Error;
      throw new BrokenPromise(`${message}\n${this.#log.join("\n")}\n${stack}`, { cause: error });
    }
  }

  /** Lets what is under way go on in any order, until all is over. */
  async #goOn(acts: Promise<void>[]): Promise<void> {
    let left = acts.length;
    let failure: unknown;
    for (const act of acts) {
      act.catch((error) => failure ??= error).finally(() => left--);
    }
    for (await settle(); left > 0; await settle()) {
      const { length } = this.#paused;
      if (length > 0) this.#paused.splice(this.#dice.draw(length), 1)[0]();
    }
    if (failure !== undefined) throw failure;
  }

  /** A process's store. It may end at a call. */
  #process(): FaultyStore {
    const dice = this.#dice;
    const endsAt = dice.draw(3) === 0 ? dice.draw(MOST_TURNS) : Infinity;
    const fails = dice.draw(3) === 0;
    let turns = 0;
    return new FaultyStore(this.#store, {
      dice,
      faults: ({ name }) => {
        if (!fails || dice.draw(FAULTS) > 0) return undefined;
        if (name === "get" || name === "list") return "unavailable";
        return (["unavailable", "lost answer", "late"] as const)[dice.draw(3)];
      },
      pause: async () => {
        await new Promise<void>((resolve) => this.#paused.push(resolve));
        if (++turns > endsAt) throw new Ended();
      },
    });
  }

  /** A store as whoever has the key uses it. */
  async #opened(store: Store, reference: string): Promise<Store> {
    if (this.#key === undefined) return openedStore(store);
    return await unlocked(store, referenceOf(reference).volume, this.#key);
  }

  #note(words: string): void {
    this.#log.push(words);
  }

  /** Does something, as the dice decide. */
  async #act(): Promise<void> {
    const dice = this.#dice;
    const name = NAMES[dice.draw(NAMES.length)];
    const isFree = !this.#busy.has(name);
    const state = this.#states.get(name);
    const store = this.#process();
    switch (dice.draw(15)) {
      case 0:
      case 1:
      case 2:
        if (isFree && state !== undefined) await this.#write(store, name, state);
        else if (isFree) await this.#create(store, name);
        return;
      case 3:
      case 4:
      case 5:
        if (isFree && state === undefined) await this.#clone(store, name);
        return;
      case 6:
      case 12:
        return await this.#snapshot(store, name);
      case 7:
        return await this.#removeSnapshot(store);
      case 8:
        if (state !== undefined) await this.#collect(store, name);
        return;
      case 9:
        if (isFree && state !== undefined) await this.#remove(store, name);
        return;
      case 10:
        if (isFree && state !== undefined) await this.#flatten(store, name);
        return;
      default:
        if (isFree && state !== undefined) await this.#rollBack(store, name, state);
    }
  }

  /** Runs something. @returns Whether it has succeeded. */
  async #attempt(
    store: FaultyStore,
    words: string,
    busy: string | undefined,
    work: () => Promise<unknown>,
  ): Promise<boolean> {
    if (busy !== undefined) this.#busy.add(busy);
    try {
      await work();
      this.#note(words);
      return true;
    } catch (error) {
      const isInTheWay = isUblkError(error) &&
        (IN_THE_WAY.includes(error.code) || isOfAnotherKey(error));
      const isFault = error instanceof Ended || error instanceof StoreError;
      this.#note(`${words}: ${error instanceof Error ? error.message : error}`);
      if (!isFault && !isInTheWay) throw error;
      return false;
    } finally {
      await store.arrive();
      if (busy !== undefined) this.#busy.delete(busy);
    }
  }

  async #create(store: FaultyStore, name: string): Promise<void> {
    const state = this.#unsure(name, [new Array(BLOCKS).fill(0)]);
    const shape = { size: BLOCKS * BLOCK, blockSize: BLOCK, chunkSize: 8192, ...this.#compression };
    await this.#attempt(
      store,
      `create ${name}`,
      name,
      () => createVolume(store, name, shape, this.#seam, this.#key),
    );
    await this.#settleState(name, state);
  }

  /** What is or becomes of these contents, and may be there or not. */
  #unsure(reference: string, contents: (readonly number[])[]): State {
    const state = { contents, from: 0, isUnsure: true };
    this.#states.set(reference, state);
    return state;
  }

  async #write(store: FaultyStore, name: string, state: State): Promise<void> {
    const before = state.contents.at(-1)!;
    const id = ++this.#ids;
    const from = this.#dice.draw(before.length);
    const count = 1 + this.#dice.draw(before.length - from);
    const isHole = this.#dice.draw(5) === 0;
    const after = before.with(from, 0);
    for (let block = from; block < from + count; block++) after[block] = isHole ? 0 : id;
    state.contents.push(after);
    const run = { block: from, count, nth: isHole ? -1 : 0 };
    await this.#attempt(
      store,
      `write ${name} ${from}+${count} = ${id}`,
      name,
      () => this.#commit(store, name, run, id),
    );
    await this.#settleState(name, state);
  }

  async #commit(store: FaultyStore, name: string, run: CollectedRun, id: number): Promise<void> {
    const claim = briefClaim(this.#seam, "a writer");
    const opened = await this.#opened(store, name);
    const committed = await Committed.claim(opened, name, claim, () => NO_UUID);
    const { sequence } = committed.manifest;
    const fill = (_nth: number, _count: number, target: Uint8Array<ArrayBuffer>) => {
      target.set(contentsOf(target.length, BLOCK, id));
    };
    const collection = { runs: () => [run].values(), copy: fill } as never;
    const adder = new ChunkAdder(committed, new VolumeCounters());
    const { extents: _, ...added } = await adder.add(collection, sequence + 1, sequence + 1);
    await committed.commit({ ...added, sequence: sequence + 1 });
    await committed.release();
  }

  async #clone(store: FaultyStore, name: string): Promise<void> {
    const sources = [...this.#states.keys()].filter((one) =>
      referenceOf(one).volume !== name && this.#states.get(one)!.contents.length > 0
    );
    if (sources.length === 0) return;
    const source = sources[this.#dice.draw(sources.length)];
    const { contents, from } = this.#states.get(source)!;
    const blocks = contents.at(-1)!.length + this.#dice.draw(3);
    const state = this.#unsure(name, []);
    const options = { size: blocks * BLOCK, key: this.#key, seam: this.#seam, patienceMs: 0 };
    await this.#attempt(
      store,
      `clone ${source} ${name} of ${blocks} blocks`,
      name,
      () => cloneVolume(store, source, name, options),
    );
    // What its source has had since this began.
    const zeroes = new Array<number>(blocks).fill(0);
    for (const one of contents.slice(from)) {
      if (one.length <= blocks) state.contents.push([...one, ...zeroes.slice(one.length)]);
    }
    await this.#settleState(name, state);
  }

  async #snapshot(store: FaultyStore, name: string): Promise<void> {
    const source = this.#states.get(name);
    const reference = `${name}@s${this.#dice.draw(2)}`;
    if (source === undefined || this.#states.has(reference) || this.#busy.has(reference)) return;
    const { contents, from } = source;
    if (contents.length === 0) return;
    const state = this.#unsure(reference, []);
    const { snapshot } = referenceOf(reference);
    await this.#attempt(
      store,
      `snapshot ${reference}`,
      reference,
      () => createSnapshot(store, name, snapshot!, { seam: this.#seam, patienceMs: 0 }),
    );
    state.contents.push(...contents.slice(from));
    await this.#settleState(reference, state);
  }

  async #removeSnapshot(store: FaultyStore): Promise<void> {
    const all = [...this.#states.keys()].filter((one) =>
      one.includes("@") && !this.#busy.has(one) && !this.#states.get(one)!.isUnsure
    );
    if (all.length === 0) return;
    const reference = all[this.#dice.draw(all.length)];
    const state = this.#states.get(reference)!;
    state.isUnsure = true;
    const { volume, snapshot } = referenceOf(reference);
    await this.#attempt(
      store,
      `rm ${reference}`,
      reference,
      () => removeSnapshot(store, volume, snapshot!, { seam: this.#seam, patienceMs: 0 }),
    );
    await this.#settleState(reference, state);
  }

  async #collect(store: FaultyStore, name: string): Promise<void> {
    const seam = this.#seam;
    if (!this.#busy.has(name)) {
      await this.#attempt(store, `gc ${name}`, name, async () => {
        await collectVolume(await this.#opened(store, name), name, { seam });
      });
      return;
    }
    // As somebody does it who has no hold on the volume.
    await this.#attempt(store, `gc ${name} beside others`, undefined, async () => {
      const names = new ObjectNames(name);
      const base = (await readHead(store, names))?.head;
      const opened = await this.#opened(store, name);
      if (base !== undefined) await collectGarbage({ store: opened, names, base, seam });
    });
  }

  async #remove(store: FaultyStore, name: string): Promise<void> {
    const mayGo = () => {
      const all = [...this.#states].filter(([one]) => referenceOf(one).volume === name);
      for (const [, one] of all) one.isUnsure = true;
      return all;
    };
    mayGo();
    // Without the key it is refused, or done.
    const hasKey = this.#key !== undefined && this.#dice.draw(2) === 0;
    const remove = async () => {
      const opened = hasKey ? await this.#opened(store, name) : store;
      await removeVolume(opened, name, { force: true, seam: this.#seam });
    };
    await this.#attempt(store, `rm ${name}`, name, remove);
    // Somebody may have made a snapshot meanwhile, or be about to.
    for (const [reference, one] of mayGo()) {
      if (!this.#busy.has(reference)) await this.#settleState(reference, one);
    }
  }

  async #flatten(store: FaultyStore, name: string): Promise<void> {
    const portionBytes = (1 + this.#dice.draw(6)) * BLOCK;
    await this.#attempt(
      store,
      `flatten ${name}`,
      name,
      async () => {
        const opened = await this.#opened(store, name);
        await flattenVolume(opened, name, { portionBytes, seam: this.#seam });
      },
    );
  }

  async #rollBack(store: FaultyStore, name: string, state: State): Promise<void> {
    const all = [...this.#states.keys()].filter((one) => one.startsWith(`${name}@`));
    if (all.length === 0) return;
    const reference = all[this.#dice.draw(all.length)];
    const { contents, isUnsure } = this.#states.get(reference)!;
    if (isUnsure) return;
    state.contents.push(contents.at(-1)!);
    const { snapshot } = referenceOf(reference);
    const rollBack = async () => {
      await rollbackVolume(await this.#opened(store, name), name, snapshot!, this.#seam);
    };
    await this.#attempt(store, `rollback ${reference}`, name, rollBack);
    await this.#settleState(name, state);
  }

  /** Looks what has become of a state: from now on it is that. */
  async #settleState(reference: string, state: State): Promise<void> {
    const found = await this.#contentsOf(reference);
    if (found === undefined) {
      if (!state.isUnsure) throw new BrokenPromise(`${reference} is gone`);
      if (this.#states.get(reference) === state) this.#states.delete(reference);
      return;
    }
    const nth = state.contents.findLastIndex((one) => `${one}` === `${found}`);
    if (nth < state.from) {
      const wanted = state.contents.slice(state.from).join(" or ");
      throw new BrokenPromise(`${reference} has ${found}, and not ${wanted}`);
    }
    // Snapshots and clones that are being made may be of an older one.
    state.contents.push(found);
    state.from = state.contents.length - 1;
    state.isUnsure = false;
  }

  /** The contents of a state in the store; undefined if there is no such state. */
  async #contentsOf(reference: string): Promise<number[] | undefined> {
    const store = await this.#opened(this.#store, reference);
    const parts = referenceOf(reference);
    const names = new ObjectNames(parts.volume);
    try {
      const { manifest } = await stateOfReference(store, parts);
      const { chunks } = await loadMaps({ store, names, manifest });
      const data = new ChunkData(store, names, manifest);
      const ids: number[] = new Array(manifest.size / BLOCK).fill(0);
      for (const cursor = chunks.cursor(); cursor.next();) {
        const bytes = await data.read(cursor.place, cursor.count, BLOCK);
        for (let nth = 0; nth < cursor.count; nth++) {
          ids[cursor.block + nth] = new DataView(bytes.buffer).getUint32(nth * BLOCK, true);
        }
      }
      return ids;
    } catch (error) {
      if (isUblkError(error) && error.code === "VOLUME_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** Compares every block of everything. */
  async #check(): Promise<void> {
    for (const [reference, state] of this.#states) {
      const found = await this.#contentsOf(reference);
      const wanted = state.contents.at(-1);
      if (`${found}` !== `${wanted}`) {
        throw new BrokenPromise(`${reference} has ${found}, and not ${wanted}`);
      }
    }
  }

  /** Removes all volumes: nothing is left but what never goes. */
  async #removeAll(): Promise<void> {
    const seam = this.#seam;
    const left = new Set<string>();
    for await (const { name } of this.#store.list("")) left.add(name.slice(0, name.indexOf("/")));
    this.#now += 2 * MAKING_MS;
    while (left.size > 0) {
      const name = [...left][this.#dice.draw(left.size)];
      left.delete(name);
      await unlessGone(async () => {
        await removeVolume(await this.#opened(this.#store, name), name, { force: true, seam });
      });
      for (const reference of [...this.#states.keys()]) {
        if (referenceOf(reference).volume === name) this.#states.delete(reference);
      }
      await this.#check();
    }
    // An interrupted removal may have let nobody know.
    for (let nth = 0; nth < NAMES.length; nth++) {
      for (const name of NAMES) {
        await unlessGone(async () => {
          await collectVolume(await this.#opened(this.#store, name), name, { seam });
        });
      }
    }
    for await (const { name } of this.#store.list("")) {
      if (!name.endsWith("/catalog")) throw new BrokenPromise(`${name} is left`);
    }
    for (const name of NAMES) {
      const entries = (await readCatalog(this.#store, new ObjectNames(name)))?.catalog.entries;
      if ((entries ?? []).length > 0) throw new BrokenPromise(`the catalog of ${name} has entries`);
    }
  }
}

/** Whether a name has become another volume's, with another data key, since somebody has opened it. */
function isOfAnotherKey({ code, message }: UblkError): boolean {
  return code === "VOLUME_KEY" || code === "VOLUME_DAMAGED" && /key does not open/.test(message);
}

async function unlessGone(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isUblkError(error) || error.code !== "VOLUME_NOT_FOUND") throw error;
  }
}

/** Lets all that happen to volumes, their snapshots and clones. */
export async function clones(seed: number): Promise<void> {
  await new Clones(seed).run();
}
