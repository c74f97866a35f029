/**
 * The lives of a disk that is in files, drawn from a seed: servers that are killed and machines that
 * lose their power at any operation on a file, operations that fail, and the next server.
 *
 * @module
 */

import type { Backend } from "../../disk/backend.ts";
import { CrashableProcess } from "../../files/crashable.ts";
import { CrashableMachine } from "../../files/crashable_machine.ts";
import { errnoOfFile } from "../../files/file_error.ts";
import { drawnFaults, type FaultRates } from "../../files/file_faults.ts";
import { EINTR, ENOSPC } from "../../uapi/errno.ts";
import { FaultDice } from "../../uring/fake_faults.ts";
import { SECTOR_BYTES } from "../fake_request.ts";
import { ANYTHING, contentOf, History, idOf, Violation } from "../stacks/history.ts";

const LIVES = 4;
const REQUESTS = 24;
/** The most sectors of a request. */
const MOST = 20;

/** A disk that is put to the test. */
export interface CrashedDisk {
  /** Sectors of it. */
  readonly sectors: number;
  /** Bytes of the filesystem. Default: enough. */
  readonly bytes?: number;
  /** Its filesystem can change the space of a range. */
  readonly allocates: boolean;
  /** What was answered may be gone with its server. */
  readonly isVolatile: boolean;
  /** After a failed sync the next server knows that what it reads may be lost. */
  readonly knowsLoss: boolean;
  /** Once a sync has failed no flush of this server succeeds. */
  readonly failureIsFinal: boolean;
  /** Its end is a flush. */
  readonly closeFlushes: boolean;
  /** A request fails only where an operation for it does. */
  readonly failsAtOnce: boolean;
  /** Makes what is there before the first server. */
  make(files: CrashableProcess): void;
  /** Opens it. */
  open(files: CrashableProcess, recovering: boolean): Backend | Promise<Backend>;
}

/** Lives the lives of a seed. @throws {Violation} What is wrong, and the operations before it. */
export async function live(seed: number, disk: CrashedDisk, initial: readonly number[]) {
  const world = new World(seed, disk, initial);
  try {
    for (let life = 0; life < LIVES; life++) await world.live();
  } catch (error) {
    if (error instanceof Error) error.message += `\n${world.log}`;
    throw error;
  }
}

/** Ends a server at one operation of a given history of requests. @returns Whether it came to that. */
export async function endAt(
  operation: number,
  power: boolean,
  seed: number,
  disk: CrashedDisk,
  initial: readonly number[],
): Promise<boolean> {
  const world = new World(seed, disk, initial, 1);
  try {
    return await world.endAt(operation, power);
  } catch (error) {
    if (error instanceof Error) error.message += `\n${world.log}`;
    throw error;
  }
}

const NO_FAULTS: FaultRates = {};

/** A machine with a disk, through all its servers. */
class World {
  readonly #disk: CrashedDisk;
  readonly #machine: CrashableMachine;
  readonly #dice: FaultDice;
  readonly #history: History;
  #nextId = 1;
  /** Operations that have failed. */
  #struck = 0;
  /** A sync has failed in this life. */
  #unsynced = false;
  /** A write with FUA has failed: a cache cannot tell that from a failed sync. */
  #fuaFailed = false;
  /** It was open, and its machine has had power since: it may be recovered. */
  #wasOpen = false;

  /** With what its sectors have at first. */
  constructor(seed: number, disk: CrashedDisk, initial: readonly number[], requests = seed) {
    this.#disk = disk;
    this.#machine = new CrashableMachine(seed, disk.bytes);
    this.#dice = new FaultDice(requests ^ 0x5eed);
    this.#history = new History(initial);
    this.#machine.allocates = disk.allocates;
    disk.make(new CrashableProcess(this.#machine));
    this.#machine.kill();
  }

  /** The last operations. */
  get log(): string {
    return this.#machine.log.slice(-120).join("\n");
  }

  async live(): Promise<void> {
    const machine = this.#machine;
    const startsArmed = this.#dice.draw(2) === 0;
    if (startsArmed) this.#arm();
    const process = new CrashableProcess(machine);
    const before = this.#struck;
    const backend = await this.#attempt(process, async () => {
      return await this.#disk.open(process, this.#wasOpen && this.#dice.draw(4) === 0);
    }, () => this.#struck > before);
    if (backend !== undefined) this.#wasOpen = true;
    if (!startsArmed) this.#arm();
    if (backend !== undefined) await this.#serve(process, backend, this.#dice.draw(REQUESTS));
    await this.#end(process, backend);
  }

  async endAt(operation: number, power: boolean): Promise<boolean> {
    const machine = this.#machine;
    machine.endsAt = machine.operations + operation;
    const process = new CrashableProcess(machine);
    const attempt = async () => await this.#disk.open(process, false);
    const backend = await this.#attempt(process, attempt, () => false);
    if (backend !== undefined) {
      await this.#serve(process, backend, REQUESTS);
      if (!process.hasEnded) await this.#close(process, backend);
    }
    const isOver = process.hasEnded;
    await this.#crash(power);
    return isOver;
  }

  /** Faults, and an end, from now on. */
  #arm(): void {
    const machine = this.#machine;
    // Often while it is opened.
    const most = this.#dice.draw(3) === 0 ? 16 : 70;
    if (this.#dice.draw(3) > 0) machine.endsAt = machine.operations + 1 + this.#dice.draw(most);
    const rates = RATES[this.#dice.draw(RATES.length)];
    const drawn = drawnFaults(this.#dice, rates);
    machine.faults = (operation) => {
      // One at a time: what a failed sync is followed by is there to say so.
      const fault = this.#unsynced ? undefined : drawn(operation);
      if (fault?.errno !== undefined && fault.errno !== EINTR) {
        this.#struck++;
        if (operation.name === "sync") {
          this.#unsynced = true;
          // Whoever is killed before he has noted that cannot be helped.
          machine.endsAt += 2;
        }
      }
      return fault;
    };
  }

  async #serve(process: CrashableProcess, backend: Backend, requests: number): Promise<void> {
    for (let request = 0; request < requests && !process.hasEnded; request++) {
      await this.#request(process, backend);
    }
  }

  async #request(process: CrashableProcess, backend: Backend): Promise<void> {
    const dice = this.#dice;
    const { sectors } = this.#disk;
    const count = 1 + dice.draw(dice.draw(3) === 0 ? MOST : 4);
    const from = dice.draw(sectors - count + 1);
    const kind = dice.draw(12);
    if (kind < 3) return await this.#read(process, backend, from, count);
    if (kind < 8) return await this.#write(process, backend, from, count, dice.draw(4) === 0);
    if (kind < 10) return void await this.#flush(process, backend);
    await this.#clear(process, backend, from, count, kind === 10);
  }

  async #read(process: CrashableProcess, backend: Backend, from: number, count: number) {
    const buffer = new Uint8Array(count * SECTOR_BYTES).fill(0xa5);
    const check = this.#history.read(from, count);
    const ok = await this.#try(
      process,
      "read",
      () => backend.readAt(buffer, from * SECTOR_BYTES),
    );
    if (ok) check(idsOf(buffer));
  }

  async #write(
    process: CrashableProcess,
    backend: Backend,
    from: number,
    count: number,
    wantsFua: boolean,
  ) {
    const fua = wantsFua && backend.fua === true;
    const ids = Array.from({ length: count }, () => this.#nextId++);
    const buffer = new Uint8Array(count * SECTOR_BYTES);
    for (const [index, id] of ids.entries()) buffer.set(contentOf(id), index * SECTOR_BYTES);
    const done = this.#history.write(from, ids);
    const wasUnsynced = this.#unsynced;
    const ok = await this.#try(
      process,
      fua ? "fua" : "write",
      () => backend.writeAt(buffer, from * SECTOR_BYTES, { fua }),
    );
    if (ok === undefined) return;
    if (ok && fua) this.#mustNotFollow(wasUnsynced);
    if (!ok && fua) this.#fuaFailed = true;
    done(ok, fua);
  }

  async #clear(
    process: CrashableProcess,
    backend: Backend,
    from: number,
    count: number,
    trims: boolean,
  ) {
    const [offset, length] = [from * SECTOR_BYTES, count * SECTOR_BYTES];
    const mayUnmap = this.#dice.draw(2) === 0;
    const done = this.#history.write(from, new Array(count).fill(trims ? ANYTHING : 0));
    const ok = await this.#try(
      process,
      "clear",
      () =>
        trims ? backend.trim!(offset, length) : backend.writeZeroes!(offset, length, { mayUnmap }),
    );
    if (ok !== undefined) done(ok, false);
  }

  async #flush(process: CrashableProcess, backend: Backend): Promise<boolean | undefined> {
    const done = this.#history.flush();
    const wasUnsynced = this.#unsynced;
    const ok = await this.#try(process, "flush", () => backend.flush!());
    if (ok) {
      this.#mustNotFollow(wasUnsynced);
      done();
    }
    return ok;
  }

  async #close(process: CrashableProcess, backend: Backend): Promise<void> {
    const done = this.#history.flush();
    const wasUnsynced = this.#unsynced;
    const ok = await this.#try(process, "flush", () => backend.close?.());
    if (!ok || !this.#disk.closeFlushes) return;
    this.#mustNotFollow(wasUnsynced);
    done();
  }

  #mustNotFollow(failure: boolean): void {
    if (!failure || !this.#disk.failureIsFinal) return;
    throw new Violation("a flush succeeds after one that has failed");
  }

  /** Whether it succeeds; undefined where its answer never left the process. */
  async #try(
    process: CrashableProcess,
    what: "read" | "write" | "fua" | "flush" | "clear",
    call: () => void | Promise<void>,
  ): Promise<boolean | undefined> {
    const before = this.#struck;
    const sinceStart = what === "flush" || what === "fua" || !this.#disk.failsAtOnce;
    const isAllowed = () => sinceStart ? this.#struck > 0 : this.#struck > before;
    let isDone = false;
    await this.#attempt(process, async () => {
      await call();
      isDone = true;
    }, isAllowed);
    return process.hasEnded ? undefined : isDone;
  }

  /** Does what may fail where something failed below, or may be the end of the process. */
  async #attempt<T>(
    process: CrashableProcess,
    work: () => Promise<T>,
    isAllowed: () => boolean,
  ): Promise<T | undefined> {
    try {
      const result = await work();
      return process.hasEnded ? undefined : result;
    } catch (error) {
      if (process.hasEnded) return undefined;
      if (error instanceof Violation || isAllowed()) return undefined;
      if (this.#disk.bytes !== undefined && errnoOfFile(error) === ENOSPC) return undefined;
      throw new Violation(`it fails for nothing: ${error}`);
    }
  }

  async #end(process: CrashableProcess, backend: Backend | undefined): Promise<void> {
    const machine = this.#machine;
    const kind = this.#dice.draw(4);
    if (!process.hasEnded && backend !== undefined && kind === 0) {
      await this.#close(process, backend);
    } else if (!process.hasEnded && backend !== undefined && kind === 1) {
      // All is well again, and all that was answered can be made durable.
      machine.faults = undefined;
      machine.endsAt = Infinity;
      if (this.#disk.bytes !== undefined) machine.grow(1 << 20);
      const ok = await this.#flush(process, backend);
      const mayFail = this.#unsynced || this.#fuaFailed && !this.#disk.failsAtOnce;
      if (!ok && !mayFail) throw new Violation("a flush fails for nothing");
      return await this.#crash(true);
    }
    await this.#crash(this.#dice.draw(2) === 0);
  }

  /** Ends what still goes on, and looks at what the next server finds. */
  async #crash(power: boolean): Promise<void> {
    const machine = this.#machine;
    const wasUnsynced = this.#unsynced;
    const loses = wasUnsynced && !this.#disk.knowsLoss;
    if (power) machine.cutPower();
    else machine.kill();
    if (loses) machine.dropCaches();
    machine.faults = undefined;
    machine.endsAt = Infinity;
    this.#struck = 0;
    this.#unsynced = false;
    this.#fuaFailed = false;
    if (this.#disk.bytes !== undefined) machine.grow(this.#disk.bytes);
    // The next server may be killed as soon as it begins.
    if (this.#dice.draw(3) === 0) {
      machine.endsAt = machine.operations + 1 + this.#dice.draw(16);
      const early = new CrashableProcess(machine);
      await this.#attempt(early, async () => await this.#disk.open(early, false), () => false);
      machine.kill();
    }
    const process = new CrashableProcess(machine);
    const backend = await this.#disk.open(process, this.#wasOpen && !power);
    this.#wasOpen = true;
    const buffer = new Uint8Array(this.#disk.sectors * SECTOR_BYTES);
    await backend.readAt(buffer, 0);
    const isLost = power || wasUnsynced || this.#disk.isVolatile;
    this.#history.restart(idsOf(buffer), () => isLost ? "durable" : "seen", !power);
    machine.kill();
  }
}

const RATES: readonly FaultRates[] = [
  NO_FAULTS,
  NO_FAULTS,
  { interrupted: 4 },
  { unsynced: 4 },
  { full: 6, interrupted: 3 },
  { broken: 15 },
];

function idsOf(buffer: Uint8Array): number[] {
  return Array.from(
    { length: buffer.length / SECTOR_BYTES },
    (_, index) => idOf(buffer.subarray(index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES)),
  );
}
