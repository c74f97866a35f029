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
import { ENOSPC } from "../../uapi/errno.ts";
import { Dice } from "../../uapi/dice.ts";
import { SECTOR_BYTES } from "../fake_request.ts";
import { History, Violation } from "../stacks/history.ts";
import { Client, idsOf, type Promises } from "./client.ts";
import { disarm, Troubles } from "./troubles.ts";

const LIVES = 4;
const REQUESTS = 24;
/** Operations that a failure tells of. */
const TOLD = 120;

/** A disk that is put to the test. */
export interface CrashedDisk extends Promises {
  /** Bytes of the filesystem. Default: enough. */
  readonly bytes?: number;
  /** Its filesystem can change the space of a range. */
  readonly allocates: boolean;
  /** What was answered may be gone with its server. */
  readonly isVolatile: boolean;
  /** After a failed sync the next server knows that what it reads may be lost. */
  readonly knowsLoss: boolean;
  /** Makes what is there before the first server. */
  make(files: CrashableProcess): void;
  /** Opens it. */
  open(files: CrashableProcess, recovering: boolean): Backend | Promise<Backend>;
}

/** Lives the lives of a seed. @throws {Violation} What is wrong, and the operations before it. */
export async function live(
  seed: number,
  disk: CrashedDisk,
  initial: readonly number[],
): Promise<void> {
  const world = new World(disk, initial, seed, seed);
  await world.telling(async () => {
    for (let life = 0; life < LIVES; life++) await world.live();
  });
}

/** Ends a server at one operation of one history of requests. @returns Whether it came to that. */
export async function endAt(
  operation: number,
  power: boolean,
  seed: number,
  disk: CrashedDisk,
  initial: readonly number[],
): Promise<boolean> {
  const world = new World(disk, initial, seed, 1);
  return await world.telling(() => world.endAt(operation, power));
}

/** A machine with a disk, through all its servers. */
class World {
  readonly #disk: CrashedDisk;
  readonly #machine: CrashableMachine;
  readonly #dice: Dice;
  readonly #history: History;
  readonly #ids = numbers();
  #troubles = new Troubles();
  /** It was open, and its machine has had power since: it may be recovered. */
  #wasOpen = false;

  /** With what its sectors have at first; one seed is the machine's, one draws the requests. */
  constructor(disk: CrashedDisk, initial: readonly number[], seed: number, requests: number) {
    this.#disk = disk;
    this.#machine = new CrashableMachine(seed, disk.bytes);
    this.#machine.allocates = disk.allocates;
    this.#dice = new Dice(requests ^ 0x5eed);
    this.#history = new History(initial);
    disk.make(new CrashableProcess(this.#machine));
    this.#machine.kill();
  }

  /** Does something, and tells of the last operations where that goes wrong. */
  async telling<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const log = this.#machine.log.slice(-TOLD).join("\n");
      if (error instanceof Error) error.message += `\n${log}`;
      throw error;
    }
  }

  /** One server, and its end. */
  async live(): Promise<void> {
    const dice = this.#dice;
    const startsArmed = dice.draw(2) === 0;
    if (startsArmed) this.#troubles.arm(this.#machine, dice);
    const process = new CrashableProcess(this.#machine);
    const client = await this.#start(process, this.#wasOpen && dice.draw(4) === 0);
    if (client !== undefined) this.#wasOpen = true;
    if (!startsArmed) this.#troubles.arm(this.#machine, dice);
    await client?.send(dice.draw(REQUESTS));
    const kind = dice.draw(4);
    if (client !== undefined && !process.hasEnded) {
      if (kind === 0) await client.close();
      if (kind === 1) return await this.#recoverAndFlush(client);
    }
    await this.#crash(dice.draw(2) === 0);
  }

  /** One server, which ends at an operation. */
  async endAt(operation: number, power: boolean): Promise<boolean> {
    const machine = this.#machine;
    machine.endsAt = machine.operations + operation;
    const process = new CrashableProcess(machine);
    const client = await this.#start(process, false);
    await client?.send(REQUESTS);
    if (!process.hasEnded) await client?.close();
    const isOver = process.hasEnded;
    await this.#crash(power);
    return isOver;
  }

  /** Opens the disk; undefined where the server ends meanwhile, or an operation has failed. */
  async #start(process: CrashableProcess, recovering: boolean): Promise<Client | undefined> {
    const troubles = this.#troubles;
    const isExcused = (error: unknown) =>
      this.#disk.bytes !== undefined && errnoOfFile(error) === ENOSPC;
    try {
      const backend = await this.#disk.open(process, recovering);
      if (process.hasEnded) return undefined;
      const [history, dice, ids] = [this.#history, this.#dice, this.#ids];
      const promises = this.#disk;
      return new Client({ process, backend, promises, history, troubles, dice, ids, isExcused });
    } catch (error) {
      if (process.hasEnded || troubles.struck > 0 || isExcused(error)) return undefined;
      throw new Violation(`it cannot be opened, for nothing: ${error}`);
    }
  }

  /** All is well again, and all that was answered can be made durable. */
  async #recoverAndFlush(client: Client): Promise<void> {
    const { unsynced, fuaFailed } = this.#troubles;
    disarm(this.#machine);
    if (this.#disk.bytes !== undefined) this.#machine.grow(1 << 20);
    const ok = await client.flush();
    const mayFail = unsynced || fuaFailed && !this.#disk.failsAtOnce;
    if (!ok && !mayFail) throw new Violation("a flush fails for nothing");
    await this.#crash(true);
  }

  /** Ends what still goes on, and looks at what the next server finds. */
  async #crash(power: boolean): Promise<void> {
    const machine = this.#machine;
    const { unsynced } = this.#troubles;
    if (power) machine.cutPower();
    else machine.kill();
    // Where nothing tells the next server, nothing of what is lost is to be seen.
    if (unsynced && !this.#disk.knowsLoss) machine.dropCaches();
    disarm(machine);
    this.#troubles = new Troubles();
    if (this.#disk.bytes !== undefined) machine.grow(this.#disk.bytes);
    // The next server may be killed as soon as it begins.
    if (this.#dice.draw(3) === 0) {
      machine.endsAt = machine.operations + 1 + this.#dice.draw(16);
      await this.#start(new CrashableProcess(machine), false);
      machine.kill();
    }
    const backend = await this.#disk.open(new CrashableProcess(machine), this.#wasOpen && !power);
    this.#wasOpen = true;
    const buffer = new Uint8Array(this.#disk.sectors * SECTOR_BYTES);
    await backend.readAt(buffer, 0);
    const isLost = power || unsynced || this.#disk.isVolatile;
    this.#history.restart(idsOf(buffer), () => isLost ? "durable" : "seen", !power);
    machine.kill();
  }
}

function* numbers(): Generator<number, never> {
  for (let number = 1;; number++) yield number;
}
