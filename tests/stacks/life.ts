/**
 * The lives of a stack of wrappers over an unkind disk, drawn from a seed: requests side by side,
 * ends of every kind, and the next server.
 *
 * @module
 */

import type { Backend } from "../../disk/backend.ts";
import type { OperationName } from "../../disk/operations.ts";
import { Dice } from "../../uapi/dice.ts";
import { SECTOR_BYTES } from "../fake_request.ts";
import { endAsKilled, openStack, type Stack } from "../stack.ts";
import { Adversary, type Faults, Gate, initialId, type Manner, NO_FAULTS } from "./adversary.ts";
import { ANYTHING, contentOf, History, idOf, Violation } from "./history.ts";
import { type Pile, STACKS, WRAPS } from "./wraps.ts";

/** The most requests that are under way at a time. */
const SIDE_BY_SIDE = 14;
const REQUESTS = 70;
const LIVES = 3;
/** The most sectors of a request: beyond the smaller caches. */
const MOST = 40;
/** So many turns of nothing are the end. */
const STILL_TURNS = 20_000;
const POISON = 0xdb;

/** The stack of a seed, outermost first. */
export function stackOf(seed: number): readonly string[] {
  return STACKS[seed % STACKS.length];
}

/** Lives the lives of a seed. `folder` is empty. */
export async function live(seed: number, folder: string): Promise<void> {
  const names = stackOf(seed);
  const dice = new Dice(seed);
  const gate = new Gate(dice);
  using _timers = timersThrough(gate);
  const clock = { ms: 0 };
  using _clock = timeOf(clock);
  const manner = mannerOf(dice, names);
  // A slow disk takes as long over one write as a flush may go on after a refusal.
  const slow = seed % 2 === 0;
  using disk = new Adversary(manner, dice, gate, () => void (clock.ms += slow ? 3_001 : 0));
  let pile: Pile = { spec: disk.spec, start: 0, overlays: [] };
  for (const name of names.toReversed()) pile = WRAPS[name].put(pile, folder, disk);
  const ids = Array.from(
    { length: manner.sectors - pile.start },
    (_, sector) => initialId(pile.start + sector),
  );
  const one = {
    names,
    dice,
    gate,
    disk,
    pile,
    history: new History(ids),
    forgets: manner.forgets,
    slow,
    nextId: 1,
  };
  for (let life = 0; life < LIVES; life++) {
    const stack = await alone(gate, () => openStack(pile.spec));
    await new Life(one, stack).run();
  }
}

function mannerOf(dice: Dice, names: readonly string[]): Manner {
  const has = new Set(["flush", "fua", "trim", "zero"] as const);
  if (dice.draw(3) === 0) has.delete("fua");
  if (dice.draw(8) === 0) has.delete("flush");
  if (dice.draw(8) === 0) has.delete("trim");
  if (dice.draw(8) === 0) has.delete("zero");
  const style = (["late", "late", "late", "sync", "plain"] as const)[dice.draw(5)];
  // A table is in blocks of the disk; and the last block of a cache is not whole.
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

/** Does one thing, with the disk's answers as they come. */
async function alone<T>(gate: Gate, work: () => Promise<T>): Promise<T> {
  let done = false;
  const working = work().finally(() => done = true);
  working.catch(() => {});
  for (let still = 0; !done; still++) {
    if (gate.waiting > 0) still = 0;
    if (still > STILL_TURNS) throw new Violation("no answer, and the disk owes none");
    gate.letGo();
    await null;
  }
  return await working;
}

/** A disk and all that is over it. */
interface Whole {
  readonly names: readonly string[];
  readonly dice: Dice;
  readonly gate: Gate;
  readonly disk: Adversary;
  readonly pile: Pile;
  readonly history: History;
  /** What a failed flush of the disk has lost stays lost. */
  readonly forgets: boolean;
  /** A request takes seconds, by the clock of the test. */
  readonly slow: boolean;
  /** The next write's contents say so. */
  nextId: number;
}

/** One server. */
class Life {
  readonly #whole: Whole;
  readonly #stack: Stack;
  readonly #backend: Backend;
  readonly #dice: Dice;
  /** Sectors of a logical block. */
  readonly #unit: number;
  readonly #sectors: number;
  /** A flush of the disk inside has failed, or a FUA write: no flush may be true after that. */
  #flushFailed = false;
  readonly #released: Uint8Array[] = [];
  /** How many requests the disk had refused before. */
  readonly #first: number;

  constructor(whole: Whole, stack: Stack) {
    this.#whole = whole;
    this.#stack = stack;
    this.#backend = stack.backend;
    this.#dice = whole.dice;
    this.#first = whole.disk.refusals.length;
    this.#unit = (this.#backend.blockSize ?? 512) / SECTOR_BYTES;
    this.#sectors = this.#backend.size / SECTOR_BYTES;
  }

  async run(): Promise<void> {
    const { disk, names } = this.#whole;
    disk.faults = this.#faults();
    await this.#sideBySide(REQUESTS);
    // Of two caches the inner one's flush also fails where a write of its was refused.
    const caches = names.filter((name) => WRAPS[name].volatile).length;
    // And a cache cannot tell what made a FUA write fail: an overlay's may need a read of the base.
    const copiesBelow = names.some((name, index) =>
      WRAPS[name].copies !== undefined && names.slice(0, index).some((one) => WRAPS[one].volatile)
    );
    this.#flushFailed = disk.refusals.slice(this.#first).some(({ op, durably }) =>
      durably || copiesBelow || caches > 1 && op === "write"
    );
    for (const buffer of this.#released) {
      if (buffer.some((byte) => byte !== POISON)) throw new Violation("a buffer is written late");
    }
    await this.#end();
  }

  #faults(): Faults {
    const ops: OperationName[] = ["read", "write", "trim", "zero"];
    // Whole blocks: a disk refuses no less.
    const from = Math.floor(this.#dice.draw(this.#sectors) / this.#unit) * this.#unit;
    const drawn = Math.ceil((1 + this.#dice.draw(12)) / this.#unit) * this.#unit;
    // One block of a slow disk: where it refuses more in a row, a cache may give it up.
    const bad = { from, to: from + (this.#whole.slow ? this.#unit : drawn) };
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

  async #sideBySide(requests: number): Promise<void> {
    let begun = 0;
    let underWay = 0;
    let still = 0;
    let failure: unknown;
    const most = 1 + this.#dice.draw(SIDE_BY_SIDE);
    while (begun < requests || underWay > 0) {
      if (failure !== undefined) throw failure;
      if (begun < requests && underWay < most && this.#dice.draw(3) > 0) {
        begun++;
        underWay++;
        this.#request().catch((error) => failure = error).finally(() => underWay--);
      } else if (this.#whole.gate.waiting > 0) {
        this.#whole.gate.letGo();
      } else if (++still > STILL_TURNS) {
        throw new Violation(`${underWay} requests have no answer, and the disk owes none`);
      } else {
        await null;
        continue;
      }
      still = 0;
      for (let turns = this.#dice.draw(6); turns > 0; turns--) await null;
    }
    if (failure !== undefined) throw failure;
  }

  async #request(): Promise<void> {
    const dice = this.#dice;
    const blocks = Math.floor(this.#sectors / this.#unit);
    const longest = Math.min(blocks, MOST / this.#unit);
    const length = dice.draw(3) === 0
      ? 1 + dice.draw(longest)
      : 1 + dice.draw(Math.min(longest, 9));
    // Many in the same place: it is where they meet that they go wrong.
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
    const check = this.#whole.history.read(from, count);
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
    const ids = Array.from({ length: count }, () => this.#whole.nextId++);
    const buffer = new Uint8Array(count * SECTOR_BYTES);
    for (const [index, id] of ids.entries()) buffer.set(contentOf(id), index * SECTOR_BYTES);
    const done = this.#whole.history.write(from, ids);
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
    const done = this.#whole.history.write(from, new Array(count).fill(id));
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
    const done = this.#whole.history.flush();
    const ok = await this.#try("flush", 0, this.#sectors, () => this.#backend.flush!());
    if (ok) done();
    return ok;
  }

  /** Whether it succeeds. It fails only where the disk inside has refused what it needs. */
  async #try(
    op: OperationName,
    from: number,
    count: number,
    call: () => void | Promise<void>,
  ): Promise<boolean> {
    const { disk, names, pile } = this.#whole;
    const before = op === "flush" ? this.#first : disk.refusals.length;
    try {
      await call();
      return true;
    } catch (error) {
      if (names.some((name) => WRAPS[name].fails)) return false;
      const copies = Math.max(0, ...names.map((name) => WRAPS[name].copies ?? 0));
      const slack = op === "read" ? 0 : copies;
      const [first, end] = [pile.start + from - slack, pile.start + from + count + slack];
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
    await alone(this.#whole.gate, async () => await backend.readAt(buffer, 0));
    return idsOf(buffer);
  }

  /** An end of one of all kinds, and a look at what the next server finds. */
  async #end(): Promise<void> {
    const { disk, dice, names } = this.#whole;
    const volatile = names.some((name) => WRAPS[name].volatile);
    const fails = names.some((name) => WRAPS[name].fails);
    const { bad, oneIn } = disk.faults;
    const kind = dice.draw(4);
    // No later server can know what the disk has forgotten: only a loss of power shows it.
    const forgot = this.#flushFailed && this.#whole.forgets;
    switch (forgot && kind < 3 ? 1 : kind) {
      case 0: // The server is killed.
        endAsKilled(this.#stack, this.#whole.pile.overlays);
        return await this.#restart(false, () => volatile ? "durable" : "seen");
      case 1: // The machine loses its power.
        endAsKilled(this.#stack, this.#whole.pile.overlays);
        return await this.#restart(true, () => "durable");
      case 2: { // An orderly end; what the disk refuses is lost, and no more.
        // Nothing that only a later server would see.
        if (this.#whole.forgets && disk.faults.ops.includes("flush")) disk.faults = NO_FAULTS;
        await alone(this.#whole.gate, async () => {
          try {
            await this.#stack[Symbol.asyncDispose]();
          } catch (error) {
            if (bad === undefined && oneIn === 0 && !fails) throw error;
          }
        });
        const start = this.#whole.pile.start;
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
    // The disk recovers, and all that was answered can be made durable.
    disk.faults = NO_FAULTS;
    if (!fails) await alone(this.#whole.gate, () => this.#read(0, this.#sectors));
    let ok = false;
    await alone(this.#whole.gate, async () => void (ok = await this.#flush()));
    if (!ok && !this.#flushFailed && !fails) throw new Violation("a flush fails for nothing");
    endAsKilled(this.#stack, this.#whole.pile.overlays);
    await this.#restart(true, () => "durable");
  }

  async #restart(power: boolean, which: (sector: number) => "seen" | "durable"): Promise<void> {
    const { disk, gate, pile, history, names } = this.#whole;
    disk.crash(power);
    disk.faults = NO_FAULTS;
    if (power) { for (const overlay of pile.overlays) otherBoot(overlay); }
    const stack = await alone(gate, () => openStack(pile.spec));
    for (let tries = 0;; tries++) {
      try {
        history.restart(await this.#readAll(stack.backend), which, !power);
        break;
      } catch (error) {
        // The wrapper that fails requests does so here, too.
        const again = names.some((name) => WRAPS[name].fails) && tries < 20;
        if (error instanceof Violation || !again) throw error;
      }
    }
    await alone(gate, async () => await stack[Symbol.asyncDispose]());
  }
}

function idsOf(buffer: Uint8Array): number[] {
  return Array.from(
    { length: buffer.length / SECTOR_BYTES },
    (_, index) => idOf(buffer.subarray(index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES)),
  );
}

/** What an overlay looks like to another boot of the machine. */
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

/** The time that the wrappers see: nothing of a seed depends on a clock. */
function timeOf(clock: { readonly ms: number }): Disposable {
  const { now } = performance;
  performance.now = () => clock.ms;
  return { [Symbol.dispose]: () => void (performance.now = now) };
}

/** Timers fire when the gate says so: nothing of a seed depends on a clock. */
function timersThrough(gate: Gate): Disposable {
  const { setTimeout } = globalThis;
  globalThis.setTimeout =
    ((work: () => void) => (gate.hold(work), 0)) as unknown as typeof setTimeout;
  return { [Symbol.dispose]: () => void (globalThis.setTimeout = setTimeout) };
}
