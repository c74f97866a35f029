/**
 * The removal of a volume in a folder: at each operation on a file its process dies, or a sync of a
 * folder fails. Others go by what they see then, and the power goes: the volume is whole or gone.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { CrashableProcess } from "../files/crashable.ts";
import { CrashableMachine, ProcessEnded } from "../files/crashable_machine.ts";
import { DirectoryStore } from "../store/directory.ts";
import { StoreError } from "../store/store.ts";
import { EIO } from "../uapi/errno.ts";
import { loadMaps } from "./attach.ts";
import { cloneVolume } from "./clone.ts";
import { briefClaim, Committed } from "./committed.ts";
import { VolumeCounters } from "./counters.ts";
import { createVolume } from "./create.ts";
import { ChunkAdder } from "./drain/add.ts";
import type { Collection } from "./drain/collect.ts";
import { chunkOf } from "./format/place.ts";
import { NO_UUID } from "./format/record.ts";
import { listVolumes, removeVolume } from "./list.ts";
import { ObjectNames } from "./names.ts";
import { ownerOfChunk } from "./owners.ts";
import { MACHINE } from "./seam.ts";
import { collectVolume } from "./space/collect_volume.ts";
import { stateOf } from "./state.ts";

const BLOCK = 4096;
const SHAPE = { size: 1 << 20, blockSize: BLOCK, chunkSize: 1 << 20 };
const SEEDS = 2;
const MOST_OPERATIONS = 400;

class Rig {
  readonly machine: CrashableMachine;
  #ids = 0;

  constructor(seed: number) {
    this.machine = new CrashableMachine(seed);
  }

  open(): Promise<DirectoryStore> {
    const files = new CrashableProcess(this.machine);
    return DirectoryStore.open("/store", { files, create: true, newId: () => `${++this.#ids}` });
  }

  /** A volume and its clone, which needs what it has overwritten, and has own data; and another volume. */
  async prepare(): Promise<void> {
    await using store = await this.open();
    await createVolume(store, "v", SHAPE, MACHINE);
    await write(store, "v", 1);
    await cloneVolume(store, "v", "c");
    await write(store, "v", 1);
    await write(store, "c", 2);
    await createVolume(store, "w", SHAPE, MACHINE);
    await write(store, "w", 1);
  }
}

/** Writes a block. */
async function write(store: DirectoryStore, name: string, block: number): Promise<void> {
  const claim = briefClaim(MACHINE, "a test");
  const committed = await Committed.claim(store, name, claim, () => NO_UUID);
  const runs = [{ block, count: 1, nth: 0 }];
  const collection = {
    runs: () => runs.values(),
    copy: (_nth: number, _count: number, target: Uint8Array<ArrayBuffer>) => void target.fill(1),
  } as Partial<Collection> as Collection;
  const { sequence } = committed.manifest;
  const adder = new ChunkAdder(committed, new VolumeCounters());
  const { extents: _, ...added } = await adder.add(collection, sequence + 1, sequence + 1);
  await committed.commit({ ...added, sequence: sequence + 1 });
  await committed.release();
}

/** What somebody else does who sees what was left of a clone, or of a volume that shares nothing. */
const OTHERS:
  readonly (readonly ["c" | "w", string, (store: DirectoryStore) => Promise<unknown>])[] = [
    ["c", "its source's garbage is collected", (store) => collectVolume(store, "v")],
    ["c", "another is made of that name", (store) => createVolume(store, "c", SHAPE, MACHINE)],
    ["w", "its remains are collected", (store) => collectVolume(store, "w")],
    ["w", "it is removed again", (store) => removeVolume(store, "w")],
  ];

for (const end of ["its process dies", "a sync of a folder fails"] as const) {
  for (const [name, does, work] of OTHERS) {
    Deno.test(`removeVolume + ${end}, ${does}, and the power goes + each volume that is there is whole`, async () => {
      for (let operation = 1, isOver = false; !isOver; operation++) {
        for (let seed = 0; seed < SEEDS; seed++) {
          isOver = await removed(name, seed, operation, end, work);
        }
        assert(operation < MOST_OPERATIONS);
      }
    });
  }
}

/** @returns Whether there was no such operation. */
async function removed(
  name: string,
  seed: number,
  operation: number,
  end: "its process dies" | "a sync of a folder fails",
  work: (store: DirectoryStore) => Promise<unknown>,
): Promise<boolean> {
  const rig = new Rig(seed);
  const { machine } = rig;
  await rig.prepare();
  // They had opened the store before.
  const [first, other] = [await rig.open(), await rig.open()];
  machine.endsAlone = true;
  let isOver = true;
  if (end === "its process dies") machine.endsAt = machine.operations + operation;
  let syncs = 0;
  machine.faults = ({ name }) => {
    if (end === "its process dies" || name !== "sync folder" || ++syncs !== operation) {
      return undefined;
    }
    isOver = false;
    return { errno: EIO };
  };
  try {
    await removeVolume(first, name);
  } catch (error) {
    if (!(error instanceof ProcessEnded || error instanceof StoreError)) throw error;
    isOver = false;
  }
  machine.endsAt = Infinity;
  machine.faults = undefined;
  await work(other).catch((error) => {
    // The name may be taken, or free.
    if (!["VOLUME_EXISTS", "VOLUME_NOT_FOUND"].includes(error.code)) throw error;
  });
  machine.cutPower();
  await using store = await rig.open();
  for (const name of await listVolumes(store)) {
    assertEquals(await missing(store, name), [], `operation ${operation}, seed ${seed}`);
  }
  return isOver;
}

/** The chunks that a volume needs and that are not there. Without its manifest or a run this throws. */
async function missing(store: DirectoryStore, name: string): Promise<string[]> {
  const names = new ObjectNames(name);
  const { manifest } = await stateOf(store, names);
  const { chunks } = await loadMaps({ store, names, manifest });
  const missing: string[] = [];
  for (const cursor = chunks.cursor(); cursor.next();) {
    const chunk = chunkOf(cursor.place);
    const object = ownerOfChunk(names, manifest, chunk).names.chunk(chunk);
    if (await store.get(object) === undefined) missing.push(object);
  }
  return missing;
}
