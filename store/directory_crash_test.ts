/**
 * A store in a folder whose machine is killed or loses power at any operation on a file, or whose
 * files fail, drawn from seeds.
 *
 * `-- --seed 7` replays a seed, and `-- --seeds 20000` tries many.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { CrashableProcess } from "../files/crashable.ts";
import { CrashableMachine, ProcessEnded } from "../files/crashable_machine.ts";
import { drawnFaults, type FileFaults } from "../files/file_faults.ts";
import { eachSeed } from "../tests/seeds.ts";
import { EIO } from "../uapi/errno.ts";
import type { Dice } from "../uapi/dice.ts";
import { DirectoryStore } from "./directory.ts";
import { type GetTerms, StoreError } from "./store.ts";

const SEEDS = 500;
const ROOT = "/srv/store";
const NAMES = ["a", "b", "x/a", "x/y/a", "x/y/b", "z/w/v/a"];
const SPACE = 1 << 20;

/** The possible objects under a name, by the numbers of their bodies; 0 is no object. */
interface Known {
  readonly may: Set<number>;
  /** A call was rejected: what it did may come and go with the next power cut. */
  isInDoubt: boolean;
}

/** The lives of one store. */
class Lives {
  readonly #dice: Dice;
  readonly #machine: CrashableMachine;
  readonly #known = new Map<string, Known>();
  readonly #faults: FileFaults | undefined;
  /** Bytes that are free at first. */
  readonly #free: number;
  /** The change that was rejected last. */
  #change: { name: string; body: number; wasThere: boolean } | undefined;
  #bodies = 0;
  #ids = 0;
  /** Calls that were resolved, and that were rejected. */
  resolved = 0;
  rejected = 0;

  constructor(seed: number) {
    // Every third filesystem is small.
    this.#machine = new CrashableMachine(seed, seed % 3 === 0 ? 10 * 4096 : SPACE);
    this.#dice = this.#machine.dice;
    this.#free = this.#machine.freeBytes;
    if (seed % 2 === 0) this.#faults = failing(this.#dice);
    for (const name of NAMES) this.#known.set(name, { may: new Set([0]), isInDoubt: false });
  }
  get log(): readonly string[] {
    return this.#machine.log;
  }

  /** Opens the store, works, and ends at some operation or after all of them. */
  async live(): Promise<void> {
    this.#machine.faults = this.#faults;
    const end = this.#dice.draw(4);
    this.#machine.endsAlone = this.#dice.draw(2) === 0;
    if (end > 0) this.#machine.endsAt = this.#machine.operations + 1 + this.#dice.draw(200);
    try {
      await this.#work();
    } catch (error) {
      if (!(error instanceof ProcessEnded)) throw error;
    }
    this.#machine.faults = undefined;
    this.#end();
    await this.check();
    // Whatever was found is there for good.
    this.#end();
    await this.check();
  }

  #end(): void {
    if (this.#dice.draw(3) === 0) this.#machine.kill();
    else this.#machine.cutPower();
  }

  /** Reads everything, as the next process sees it. */
  async check(): Promise<void> {
    const files = new CrashableProcess(this.#machine);
    await using store = await this.#open(files);
    const left = files.status(`${ROOT}/.tmp`) === undefined ? [] : files.list(`${ROOT}/.tmp`);
    assertEquals(left, [], "temporary files are left");
    const listed = new Set<string>();
    for await (const { name, size } of store.list("")) {
      assertEquals((await store.get(name))?.size, size);
      assert(this.#known.has(name), `there is an object ${name}`);
      listed.add(name);
    }
    for (const [name, known] of this.#known) {
      const body = await this.#see(store, name);
      assertEquals(listed.has(name), body !== 0, `the list and ${name}`);
      assertEquals(files.status(`${ROOT}/${name}`)?.links ?? 1, 1);
      // It was found, so it stays.
      if (body !== 0 && !known.isInDoubt) this.#settle(name, body);
    }
  }

  /** Deletes all; then nothing takes space. */
  async end(): Promise<void> {
    {
      await using store = await this.#open(new CrashableProcess(this.#machine));
      for (const name of NAMES) await store.delete(name);
    }
    await using _ = await this.#open(new CrashableProcess(this.#machine));
    assertEquals(this.#machine.freeBytes, this.#free, "space is lost");
  }

  #open(files: CrashableProcess): Promise<DirectoryStore> {
    return DirectoryStore.open(ROOT, { files, create: true, newId: () => `id${++this.#ids}` });
  }

  async #work(): Promise<void> {
    const stores: (DirectoryStore | undefined)[] = [undefined, undefined];
    // Two processes use the folder.
    const processes = stores.map(() => new CrashableProcess(this.#machine));
    const versions = new Map<string, string>();
    const steps = this.#dice.draw(40);
    for (let step = 0; step < steps; step++) {
      const which = this.#dice.draw(2);
      try {
        const store = stores[which] ??= await this.#open(processes[which]);
        await this.#step(store, versions);
        this.resolved++;
      } catch (error) {
        if (error instanceof ProcessEnded && !processes.every((one) => one.hasEnded)) {
          // The other one goes on, with what this one has left.
          processes[which] = processes[1 - which];
          stores[which] = undefined;
          continue;
        }
        if (!(error instanceof StoreError)) throw error;
        assert(error.fault === "unavailable" || error.fault === "full", error.message);
        this.rejected++;
        await this.#reviewRejection(stores, which);
      }
    }
    for (const store of stores) if (this.#dice.draw(2) === 0) await store?.[Symbol.asyncDispose]();
  }

  /** A change that was rejected is not there, or the store refuses to say. */
  async #reviewRejection(
    stores: (DirectoryStore | undefined)[],
    which: number,
  ): Promise<void> {
    const change = this.#change;
    this.#change = undefined;
    const store = stores[which];
    if (change === undefined || store === undefined) return;
    const { faults } = this.#machine;
    this.#machine.faults = undefined;
    try {
      const body = await this.#see(store, change.name);
      assert(body === 0 || body !== change.body, `${change.name} was put by a call that failed`);
      assert(body !== 0 || !change.wasThere, `${change.name} was deleted by a call that failed`);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      assert(error.message.includes("nobody knows"), error.message);
      stores[which] = undefined;
    }
    this.#machine.faults = faults;
  }

  async #step(store: DirectoryStore, versions: Map<string, string>): Promise<void> {
    const name = NAMES[this.#dice.draw(NAMES.length)];
    const known = this.#known.get(name)!;
    const kind = this.#dice.draw(8);
    const body = ++this.#bodies;
    if (kind < 3) {
      const version = await this.#attempt(
        name,
        known.may.has(0) ? [body] : [],
        () => store.putIfAbsent(name, bytesOf(body)),
      );
      if (version !== undefined) {
        assert(known.may.has(0), `put ${name} succeeds over ${[...known.may]}`);
        this.#settle(name, body);
        versions.set(name, version);
        return;
      }
      const isThere = [...known.may].some((one) => one !== 0 && one !== body);
      assert(isThere, `put ${name} finds an object where there is none`);
      if (!known.isInDoubt) known.may.delete(0);
      known.may.delete(body);
    } else if (kind < 6) {
      // Often the right version, sometimes an old one.
      const found = this.#dice.draw(3) > 0 ? await store.get(name) : undefined;
      const version = found?.version ?? versions.get(name) ?? "none";
      const next = await this.#attempt(
        name,
        known.may.has(0) && known.may.size === 1 ? [] : [body],
        () => store.replace(name, bytesOf(body), version),
      );
      if (next === undefined) {
        known.may.delete(body);
        assert(found === undefined, `replace ${name} fails with the version that was just read`);
        return;
      }
      assert([...known.may].some((one) => one !== 0 && one !== body), `replace makes ${name}`);
      this.#settle(name, body);
      versions.set(name, next);
    } else if (kind === 6) {
      await this.#attempt(name, [0], () => store.delete(name));
      this.#settle(name, 0);
    } else {
      const settled = this.#dice.draw(2) === 0;
      const body = await this.#see(store, name, { settled });
      const isDurable = body === 0 ? settled : !known.isInDoubt;
      if (isDurable) this.#settle(name, body);
    }
  }

  /** Performs a change. Until it is resolved, the name may have what it makes. */
  async #attempt<T>(
    name: string,
    outcomes: readonly number[],
    work: () => Promise<T>,
  ): Promise<T> {
    const known = this.#known.get(name)!;
    const wasThere = !known.may.has(0);
    for (const outcome of outcomes) known.may.add(outcome);
    try {
      return await work();
    } catch (error) {
      if (error instanceof StoreError) {
        known.isInDoubt = true;
        this.#change = { name, body: outcomes[0] ?? 0, wasThere };
      }
      throw error;
    }
  }

  /** Reads an object, which must be one of those that may be there. @returns Its body. */
  async #see(store: DirectoryStore, name: string, terms?: GetTerms): Promise<number> {
    const { may } = this.#known.get(name)!;
    const found = await store.get(name, terms);
    if (found === undefined) {
      assert(may.has(0), `${name} is lost; it may be ${[...may]}`);
      return 0;
    }
    const body = new DataView(found.bytes.buffer).getUint32(0, true);
    assert(may.has(body), `${name} is ${body}; it may be ${[...may]}`);
    assertEquals(found.bytes, bytesOf(body), `${name} is partial`);
    return body;
  }

  #settle(name: string, body: number): void {
    this.#known.set(name, { may: new Set([body]), isInDoubt: false });
  }
}

/** The bytes of a body: its number, and then as many others as its number says. */
function bytesOf(body: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4 + body * 977 % 6000).fill(body);
  new DataView(bytes.buffer).setUint32(0, body, true);
  return bytes;
}

/** Faults of data, of syncs and of names. */
function failing(dice: Dice): FileFaults {
  const drawn = drawnFaults(dice, { interrupted: 4, broken: 60, full: 60, unsynced: 12 });
  const names = new Set([
    "open",
    "status",
    "rename",
    "link",
    "remove",
    "make folder",
    "list",
    "lock",
  ]);
  return (operation) => {
    if (names.has(operation.name) && dice.draw(150) === 0) return { errno: EIO };
    return drawn(operation);
  };
}

Deno.test("DirectoryStore keeps what it resolved, through every crash and failure", async (t) => {
  let [resolved, rejected] = [0, 0];
  const ran = await eachSeed(t, SEEDS, async (seed) => {
    const lives = new Lives(seed);
    try {
      const count = 1 + seed % 5;
      for (let life = 0; life < count; life++) {
        await lives.live();
      }
      await lives.end();
    } catch (error) {
      const log = lives.log.slice(-60).join("\n");
      throw new Error(`${error instanceof Error ? error.stack : error}\n${log}`, { cause: error });
    }
    resolved += lives.resolved;
    rejected += lives.rejected;
  });
  if (ran < SEEDS) return;
  assert(resolved > 20 * ran && rejected > ran, `${resolved} resolved, ${rejected} rejected`);
});

type Change = "put" | "replace" | "delete";
type Work = (store: DirectoryStore) => Promise<unknown>;

const FINDS: Readonly<Record<string, Work>> = {
  "reads it": (store) => store.get("x/a"),
  "finds it when it puts its own": (store) => store.putIfAbsent("x/a", bytesOf(3)),
};
/** The step of another process, after the one that changed the object has died. */
const OTHERS: Readonly<Record<Change, Readonly<Record<string, Work>>>> = {
  put: FINDS,
  replace: FINDS,
  delete: { "looks whether it is gone for good": (store) => store.get("x/a", { settled: true }) },
};

for (const [change, others] of Object.entries(OTHERS) as [Change, Record<string, Work>][]) {
  for (const [does, work] of Object.entries(others)) {
    for (const opens of ["before", "afterwards"]) {
      Deno.test(`DirectoryStore + a process dies at each operation of a ${change}, and one that opened ${opens} ${does} + what it saw stays`, async () => {
        for (let operation = 1, isOver = false; !isOver; operation++) {
          for (let seed = 0; seed < 8; seed++) {
            isOver = await dieWithin(seed, operation, change, work, opens === "before");
          }
          assert(operation < 100);
        }
      });
    }
  }
}

/** @returns Whether there was no such operation. */
async function dieWithin(
  seed: number,
  operation: number,
  change: Change,
  work: Work,
  isOpenBefore: boolean,
): Promise<boolean> {
  const machine = new CrashableMachine(seed);
  let ids = 0;
  const open = () => {
    const files = new CrashableProcess(machine);
    return DirectoryStore.open(ROOT, { files, create: true, newId: () => `id${++ids}` });
  };
  const first = await open();
  const other = isOpenBefore ? await open() : undefined;
  // The folder is made and known to both.
  await first.putIfAbsent("x/b", bytesOf(1));
  await other?.putIfAbsent("x/c", bytesOf(1));
  const version = change === "put" ? undefined : await first.putIfAbsent("x/a", bytesOf(1));
  machine.endsAlone = true;
  machine.endsAt = machine.operations + operation;
  let isOver = true;
  try {
    if (version === undefined) await first.putIfAbsent("x/a", bytesOf(2));
    else if (change === "delete") await first.delete("x/a");
    else await first.replace("x/a", bytesOf(2), version);
  } catch (error) {
    if (!(error instanceof ProcessEnded)) throw error;
    isOver = false;
  }
  machine.endsAt = Infinity;
  const store = other ?? await open();
  await work(store);
  // In memory: this process does not look at the names.
  const seen = new CrashableProcess(machine);
  const before = seen.status(`${ROOT}/x/a`)?.bytes;
  machine.cutPower();
  const after = new CrashableProcess(machine).status(`${ROOT}/x/a`)?.bytes;
  if (before !== undefined || change === "delete") {
    assertEquals(after, before, `operation ${operation}, seed ${seed}`);
  }
  return isOver;
}
