/**
 * The lives of a stack of wrappers over an adversarial disk, drawn from a seed: concurrent requests,
 * ends of every kind, and the next server.
 *
 * @module
 */

import type { Backend } from "../../disk/backend.ts";
import type { OperationName } from "../../disk/operations.ts";
import { Dice } from "../../uapi/dice.ts";
import { SECTOR_BYTES } from "../fake_request.ts";
import { endAsKilled, openStack, type Stack } from "../stack.ts";
import {
  Adversary,
  type DiskTraits,
  type Faults,
  Gate,
  initialId,
  NO_FAULTS,
} from "./adversary.ts";
import { ANYTHING, contentOf, History, idOf, Violation } from "./history.ts";
import { type PartialStack, STACKS, WRAPS } from "./wraps.ts";

/** Maximum of concurrent requests. */
const MAX_CONCURRENT = 14;
const REQUESTS = 70;
const LIVES = 3;
/** Maximum of sectors of a request: more than the smaller caches hold. */
const MAX_SECTORS = 40;
/** Turns without progress after which requests count as lost. */
const MAX_IDLE_TURNS = 20_000;
const POISON = 0xdb;

/** The stack of a seed, outermost first. */
export function stackOf(seed: number): readonly string[] {
  return STACKS[seed % STACKS.length];
}

/** Runs all lives of a seed. `folder` must be empty. */
export async function live(seed: number, folder: string): Promise<void> {
  const names = stackOf(seed);
  const dice = new Dice(seed);
  const gate = new Gate(dice);
  using _timers = gateTimers(gate);
  const clock = { ms: 0 };
  using _clock = fakeClock(clock);
  const traits = drawTraits(dice, names);
  // On a slow disk one write takes as long as a flush may continue after a refusal.
  const slow = seed % 2 === 0;
  using disk = new Adversary(traits, dice, gate, () => void (clock.ms += slow ? 3_001 : 0));
  let layers: PartialStack = { spec: disk.spec, start: 0, overlays: [] };
  for (const name of names.toReversed()) layers = WRAPS[name].apply(layers, folder, disk);
  const ids = Array.from(
    { length: traits.sectors - layers.start },
    (_, sector) => initialId(layers.start + sector),
  );
  const setup = {
    names,
    dice,
    gate,
    disk,
    layers,
    history: new History(ids),
    forgets: traits.forgets,
    slow,
    nextId: 1,
  };
  for (let life = 0; life < LIVES; life++) {
    const stack = await runAlone(gate, () => openStack(layers.spec));
    await new Life(setup, stack).run();
  }
}

function drawTraits(dice: Dice, names: readonly string[]): DiskTraits {
  const has = new Set(["flush", "fua", "trim", "zero"] as const);
  if (dice.draw(3) === 0) has.delete("fua");
  if (dice.draw(8) === 0) has.delete("flush");
  if (dice.draw(8) === 0) has.delete("trim");
  if (dice.draw(8) === 0) has.delete("zero");
  const style = (["late", "late", "late", "sync", "plain"] as const)[dice.draw(5)];
  // A partition table needs small blocks, and the size leaves the last block of a cache incomplete.
  const innermost = names.at(-1);
  const forgets = innermost !== undefined && WRAPS[innermost].volatile === true;
  const large = dice.draw(4) === 0 && !names.includes("partition");
  return {
    sectors: large ? 38 * 8 : 37 * 8 + 3,
    blockSize: large ? 4096 : 512,
    style,
    forgets,
    has,
  };
}

/** Runs one piece of work alone, releasing the disk's answers meanwhile. */
async function runAlone<T>(gate: Gate, work: () => Promise<T>): Promise<T> {
  let done = false;
  const working = work().finally(() => done = true);
  working.catch(() => {});
  for (let idleTurns = 0; !done; idleTurns++) {
    if (gate.waiting > 0) idleTurns = 0;
    if (idleTurns > MAX_IDLE_TURNS) throw new Violation("no answer, and the disk owes none");
    gate.releaseOne();
    await null;
  }
  return await working;
}

/** A disk and the stack above it. */
interface Setup {
  readonly names: readonly string[];
  readonly dice: Dice;
  readonly gate: Gate;
  readonly disk: Adversary;
  readonly layers: PartialStack;
  readonly history: History;
  /** Whether data lost by a failed flush of the disk stays lost. */
  readonly forgets: boolean;
  /** Whether a request takes seconds, by the test's clock. */
  readonly slow: boolean;
  /** The id of the next write's contents. */
  nextId: number;
}

/** The life of one server. */
class Life {
  readonly #setup: Setup;
  readonly #stack: Stack;
  readonly #backend: Backend;
  readonly #dice: Dice;
  /** Sectors of a logical block. */
  readonly #unit: number;
  readonly #sectors: number;
  /** Whether a flush or FUA write of the inner disk has failed: then no later flush may succeed. */
  #flushFailed = false;
  readonly #released: Uint8Array[] = [];
  /** The number of requests that the disk had refused before this life. */
  readonly #refusedBefore: number;

  constructor(setup: Setup, stack: Stack) {
    this.#setup = setup;
    this.#stack = stack;
    this.#backend = stack.backend;
    this.#dice = setup.dice;
    this.#refusedBefore = setup.disk.refusals.length;
    this.#unit = (this.#backend.blockSize ?? 512) / SECTOR_BYTES;
    this.#sectors = this.#backend.size / SECTOR_BYTES;
  }

  async run(): Promise<void> {
    const { disk, names } = this.#setup;
    disk.faults = this.#faults();
    await this.#runConcurrently(REQUESTS);
    // With two caches the inner one's flush also fails after a refused write.
    const caches = names.filter((name) => WRAPS[name].volatile).length;
    // A cache cannot tell why a FUA write failed: an overlay's may need a read of the base.
    const copiesBelow = names.some((name, index) =>
      WRAPS[name].copies !== undefined && names.slice(0, index).some((one) => WRAPS[one].volatile)
    );
    this.#flushFailed = disk.refusals.slice(this.#refusedBefore).some(({ op, durably }) =>
      durably || copiesBelow || caches > 1 && op === "write"
    );
    for (const buffer of this.#released) {
      if (buffer.some((byte) => byte !== POISON)) throw new Violation("a buffer is written late");
    }
    await this.#end();
  }

  #faults(): Faults {
    const ops: OperationName[] = ["read", "write", "trim", "zero"];
    // Whole blocks, because a disk refuses whole blocks.
    const from = Math.floor(this.#dice.draw(this.#sectors) / this.#unit) * this.#unit;
    const drawn = Math.ceil((1 + this.#dice.draw(12)) / this.#unit) * this.#unit;
    // Only one block of a slow disk: a cache may give up after several refusals in a row.
    const bad = { from, to: from + (this.#setup.slow ? this.#unit : drawn) };
    switch (this.#dice.draw(6)) {
      case 0:
        return { oneIn: 12, ops };
      case 1:
        return { oneIn: 0, ops: ["write", "zero"], bad };
      case 2:
        return { oneIn: 0, ops: ["read"], bad };
      case 3:
        return { oneIn: 6, ops: ["flush"] };
    }
    return NO_FAULTS;
  }

  async #runConcurrently(requests: number): Promise<void> {
    let begun = 0;
    let inFlight = 0;
    let idleTurns = 0;
    let failure: unknown;
    const limit = 1 + this.#dice.draw(MAX_CONCURRENT);
    while (begun < requests || inFlight > 0) {
      if (failure !== undefined) throw failure;
      if (begun < requests && inFlight < limit && this.#dice.draw(3) > 0) {
        begun++;
        inFlight++;
        this.#request().catch((error) => failure = error).finally(() => inFlight--);
      } else if (this.#setup.gate.waiting > 0) {
        this.#setup.gate.releaseOne();
      } else if (++idleTurns > MAX_IDLE_TURNS) {
        throw new Violation(`${inFlight} requests have no answer, and the disk owes none`);
      } else {
        await null;
        continue;
      }
      idleTurns = 0;
      for (let turns = this.#dice.draw(6); turns > 0; turns--) await null;
    }
    if (failure !== undefined) throw failure;
  }

  async #request(): Promise<void> {
    const dice = this.#dice;
    const blocks = Math.floor(this.#sectors / this.#unit);
    const longest = Math.min(blocks, MAX_SECTORS / this.#unit);
    const length = dice.draw(3) === 0
      ? 1 + dice.draw(longest)
      : 1 + dice.draw(Math.min(longest, 9));
    // Many at the same place, because bugs appear where requests overlap.
    const room = dice.draw(2) === 0 ? Math.min(blocks, 48 / this.#unit) : blocks;
    const from = dice.draw(Math.max(1, room - length + 1)) * this.#unit;
    const kind = dice.draw(12);
    if (kind < 4 || this.#backend.readOnly) return await this.#read(from, length * this.#unit);
    if (kind < 9) return await this.#write(from, length * this.#unit, dice.draw(3) === 0);
    if (kind === 9) return void await this.#flush();
    await this.#clear(from, length * this.#unit, kind === 10 ? "trim" : "zero");
  }

  async #read(from: number, count: number): Promise<void> {
    const buffer = new Uint8Array(count * SECTOR_BYTES).fill(0xa5);
    const check = this.#setup.history.read(from, count);
    const ok = await this.#try(
      "read",
      from,
      count,
      () => this.#backend.readAt(buffer, from * SECTOR_BYTES),
    );
    if (ok) check(idsOf(buffer));
    this.#release(buffer);
  }

  async #write(from: number, count: number, wantsFua: boolean): Promise<void> {
    const backend = this.#backend;
    const fua = wantsFua && backend.fua === true && backend.flush !== undefined;
    const ids = Array.from({ length: count }, () => this.#setup.nextId++);
    const buffer = new Uint8Array(count * SECTOR_BYTES);
    for (const [index, id] of ids.entries()) buffer.set(contentOf(id), index * SECTOR_BYTES);
    const done = this.#setup.history.write(from, ids);
    const ok = await this.#try(
      "write",
      from,
      count,
      () => backend.writeAt(buffer, from * SECTOR_BYTES, { fua }),
    );
    done(ok, fua || backend.flush === undefined);
    this.#release(buffer);
  }

  async #clear(from: number, count: number, op: "trim" | "zero"): Promise<void> {
    const { trim, writeZeroes, flush } = this.#backend;
    if ((op === "trim" ? trim : writeZeroes) === undefined) return;
    const id = op === "trim" ? ANYTHING : 0;
    const done = this.#setup.history.write(from, new Array(count).fill(id));
    const [offset, length] = [from * SECTOR_BYTES, count * SECTOR_BYTES];
    const mayUnmap = this.#dice.draw(2) === 0;
    const ok = await this.#try(
      op,
      from,
      count,
      () =>
        op === "trim"
          ? this.#backend.trim!(offset, length)
          : this.#backend.writeZeroes!(offset, length, { mayUnmap }),
    );
    done(ok, flush === undefined);
  }

  async #flush(): Promise<boolean> {
    if (this.#backend.flush === undefined) return true;
    const done = this.#setup.history.flush();
    const ok = await this.#try("flush", 0, this.#sectors, () => this.#backend.flush!());
    if (ok) done();
    return ok;
  }

  /** Whether a request succeeds. It may fail only if the inner disk refused a request it needed. */
  async #try(
    op: OperationName,
    from: number,
    count: number,
    call: () => void | Promise<void>,
  ): Promise<boolean> {
    const { disk, names, layers } = this.#setup;
    const before = op === "flush" ? this.#refusedBefore : disk.refusals.length;
    try {
      await call();
      return true;
    } catch (error) {
      if (names.some((name) => WRAPS[name].fails)) return false;
      const copies = Math.max(0, ...names.map((name) => WRAPS[name].copies ?? 0));
      const slack = op === "read" ? 0 : copies;
      const [first, end] = [layers.start + from - slack, layers.start + from + count + slack];
      const refused = disk.refusals.slice(before).some((one) =>
        one.from < end && one.to > first &&
        (op === "flush" || op === one.op || op !== "read" && one.op !== "trim" ||
          one.op === "flush")
      );
      if (refused) return false;
      throw new Violation(`a ${op} of ${count} sectors at ${from} fails for nothing: ${error}`);
    }
  }

  #release(buffer: Uint8Array): void {
    this.#released.push(buffer.fill(POISON));
  }

  async #readAll(backend: Backend): Promise<number[]> {
    const buffer = new Uint8Array(this.#sectors * SECTOR_BYTES);
    await runAlone(this.#setup.gate, async () => await backend.readAt(buffer, 0));
    return idsOf(buffer);
  }

  /** Ends the server in a random way, and checks the contents that the next server finds. */
  async #end(): Promise<void> {
    const { disk, dice, names } = this.#setup;
    const volatile = names.some((name) => WRAPS[name].volatile);
    const fails = names.some((name) => WRAPS[name].fails);
    const { bad, oneIn } = disk.faults;
    const kind = dice.draw(4);
    // No later server can know what the disk has lost: only a loss of power reveals it.
    const forgot = this.#flushFailed && this.#setup.forgets;
    switch (forgot && kind < 3 ? 1 : kind) {
      case 0: // The server is killed.
        endAsKilled(this.#stack, this.#setup.layers.overlays);
        return await this.#restart(false, () => volatile ? "durable" : "seen");
      case 1: // The machine loses its power.
        endAsKilled(this.#stack, this.#setup.layers.overlays);
        return await this.#restart(true, () => "durable");
      case 2: { // An orderly end: only data that the disk refuses is lost.
        // Avoid a loss that only a later server would see.
        if (this.#setup.forgets && disk.faults.ops.includes("flush")) disk.faults = NO_FAULTS;
        await runAlone(this.#setup.gate, async () => {
          try {
            await this.#stack[Symbol.asyncDispose]();
          } catch (error) {
            if (bad === undefined && oneIn === 0 && !fails) throw error;
          }
        });
        const start = this.#setup.layers.start;
        const copies = Math.max(0, ...names.map((name) => WRAPS[name].copies ?? 0));
        const spared = (sector: number) =>
          bad === undefined || start + sector < bad.from - copies ||
          start + sector >= bad.to + copies;
        const some = fails || oneIn > 0;
        return await this.#restart(
          false,
          (sector) => volatile && (some || !spared(sector)) ? "durable" : "seen",
        );
      }
    }
    // The disk recovers, and everything that was answered can be made durable.
    disk.faults = NO_FAULTS;
    if (!fails) await runAlone(this.#setup.gate, () => this.#read(0, this.#sectors));
    let ok = false;
    await runAlone(this.#setup.gate, async () => void (ok = await this.#flush()));
    if (!ok && !this.#flushFailed && !fails) throw new Violation("a flush fails for nothing");
    endAsKilled(this.#stack, this.#setup.layers.overlays);
    await this.#restart(true, () => "durable");
  }

  async #restart(power: boolean, which: (sector: number) => "seen" | "durable"): Promise<void> {
    const { disk, gate, layers, history, names } = this.#setup;
    disk.crash(power);
    disk.faults = NO_FAULTS;
    if (power) { for (const overlay of layers.overlays) otherBoot(overlay); }
    const stack = await runAlone(gate, () => openStack(layers.spec));
    for (let tries = 0;; tries++) {
      try {
        history.restart(await this.#readAll(stack.backend), which, !power);
        break;
      } catch (error) {
        // The wrapper that fails requests does so here too.
        const mayRetry = names.some((name) => WRAPS[name].fails) && tries < 20;
        if (error instanceof Violation || !mayRetry) throw error;
      }
    }
    await runAlone(gate, async () => await stack[Symbol.asyncDispose]());
  }
}

function idsOf(buffer: Uint8Array): number[] {
  return Array.from(
    { length: buffer.length / SECTOR_BYTES },
    (_, index) => idOf(buffer.subarray(index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES)),
  );
}

/** Changes an overlay as if it came from another boot of the machine. */
function otherBoot(path: string): void {
  using file = Deno.openSync(path, { read: true, write: true });
  const page = new Uint8Array(4096);
  if ((file.readSync(page) ?? 0) < page.length) return;
  const text = new TextDecoder().decode(page);
  const header = text.replace(
    /"boot":"[^"]*"/,
    (boot) => boot.replace(/[0-9a-f](?=[^"]*"$)/g, "0"),
  );
  file.seekSync(0, Deno.SeekMode.Start);
  file.writeSync(new TextEncoder().encode(header));
}

/** Replaces the wrappers' clock, so that a seed does not depend on time. */
function fakeClock(clock: { readonly ms: number }): Disposable {
  const { now } = performance;
  performance.now = () => clock.ms;
  return { [Symbol.dispose]: () => void (performance.now = now) };
}

/** Makes timers fire through the gate, so that a seed does not depend on time. */
function gateTimers(gate: Gate): Disposable {
  const { setTimeout } = globalThis;
  globalThis.setTimeout =
    ((work: () => void) => (gate.hold(work), 0)) as unknown as typeof setTimeout;
  return { [Symbol.dispose]: () => void (globalThis.setTimeout = setTimeout) };
}
