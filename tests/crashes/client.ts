/**
 * Who uses a disk that may end at any moment: random requests, and what each tells of the history.
 *
 * @module
 */

import type { Backend } from "../../disk/backend.ts";
import type { CrashableProcess } from "../../files/crashable.ts";
import type { Dice } from "../../uapi/dice.ts";
import { SECTOR_BYTES } from "../fake_request.ts";
import { ANYTHING, contentOf, type History, idOf, Violation } from "../stacks/history.ts";
import type { Troubles } from "./troubles.ts";

/** The most sectors of a request. */
const MOST = 20;

/** What a disk promises, as far as its client judges it. */
export interface Promises {
  /** Sectors of it. */
  readonly sectors: number;
  /** A request fails only where an operation for it does. */
  readonly failsAtOnce: boolean;
  /** Once a sync has failed no flush of this server succeeds. */
  readonly failureIsFinal: boolean;
  /** Its end is a flush. */
  readonly closeFlushes: boolean;
}

/** An open disk, and all that is known of it. */
export interface Served {
  /** Its server's process. */
  readonly process: CrashableProcess;
  /** The disk. */
  readonly backend: Backend;
  /** What it promises. */
  readonly promises: Promises;
  /** What it may hold. */
  readonly history: History;
  /** What goes wrong. */
  readonly troubles: Troubles;
  /** What the requests are drawn from. */
  readonly dice: Dice;
  /** Numbers of writes that none has had. */
  readonly ids: Iterator<number>;
  /** Whether something thrown is no mistake of the disk's. */
  readonly isExcused: (error: unknown) => boolean;
}

/** The client of one server. */
export class Client {
  readonly #served: Served;

  /** Of an open disk. */
  constructor(served: Served) {
    this.#served = served;
  }

  /** Sends so many requests, or fewer where the server ends before. */
  async send(requests: number): Promise<void> {
    for (let request = 0; request < requests && !this.#served.process.hasEnded; request++) {
      await this.#request();
    }
  }

  async #request(): Promise<void> {
    const { dice, promises } = this.#served;
    const count = 1 + dice.draw(dice.draw(3) === 0 ? MOST : 4);
    const from = dice.draw(promises.sectors - count + 1);
    const kind = dice.draw(12);
    if (kind < 3) return await this.#read(from, count);
    if (kind < 8) return await this.#write(from, count, dice.draw(4) === 0);
    if (kind < 10) return void await this.flush();
    await this.#clear(from, count, kind === 10);
  }

  async #read(from: number, count: number): Promise<void> {
    const { backend, history } = this.#served;
    const buffer = new Uint8Array(count * SECTOR_BYTES).fill(0xa5);
    const check = history.read(from, count);
    const ok = await this.#try("read", () => backend.readAt(buffer, from * SECTOR_BYTES));
    if (ok) check(idsOf(buffer));
  }

  async #write(from: number, count: number, wantsFua: boolean): Promise<void> {
    const { backend, history, ids, troubles } = this.#served;
    const fua = wantsFua && backend.fua === true;
    const numbers = Array.from({ length: count }, () => ids.next().value as number);
    const buffer = new Uint8Array(count * SECTOR_BYTES);
    for (const [index, id] of numbers.entries()) buffer.set(contentOf(id), index * SECTOR_BYTES);
    const done = history.write(from, numbers);
    const wasUnsynced = troubles.unsynced;
    const write = () => backend.writeAt(buffer, from * SECTOR_BYTES, { fua });
    const ok = await this.#try(fua ? "flush" : "write", write);
    if (ok === undefined) return;
    if (ok && fua) this.#mustNotFollow(wasUnsynced);
    if (!ok && fua) troubles.fuaFailed = true;
    done(ok, fua);
  }

  async #clear(from: number, count: number, trims: boolean): Promise<void> {
    const { backend, dice, history } = this.#served;
    const [offset, length] = [from * SECTOR_BYTES, count * SECTOR_BYTES];
    const mayUnmap = dice.draw(2) === 0;
    const done = history.write(from, new Array(count).fill(trims ? ANYTHING : 0));
    const ok = await this.#try(
      "clear",
      () =>
        trims ? backend.trim!(offset, length) : backend.writeZeroes!(offset, length, { mayUnmap }),
    );
    if (ok !== undefined) done(ok, false);
  }

  /** Flushes. @returns Whether that succeeded; undefined where the server has ended. */
  async flush(): Promise<boolean | undefined> {
    const { backend, history, troubles } = this.#served;
    const done = history.flush();
    const wasUnsynced = troubles.unsynced;
    const ok = await this.#try("flush", () => backend.flush!());
    if (!ok) return ok;
    this.#mustNotFollow(wasUnsynced);
    done();
    return true;
  }

  /** Ends the disk in order. */
  async close(): Promise<void> {
    const { backend, history, promises, troubles } = this.#served;
    const done = history.flush();
    const wasUnsynced = troubles.unsynced;
    const ok = await this.#try("flush", () => backend.close?.());
    if (!ok || !promises.closeFlushes) return;
    this.#mustNotFollow(wasUnsynced);
    done();
  }

  #mustNotFollow(failure: boolean): void {
    if (!failure || !this.#served.promises.failureIsFinal) return;
    throw new Violation("a flush succeeds after one that has failed");
  }

  /** Whether it succeeds; undefined where its answer never left the process. */
  async #try(
    what: "read" | "write" | "flush" | "clear",
    call: () => void | Promise<void>,
  ): Promise<boolean | undefined> {
    const { process, promises, troubles, isExcused } = this.#served;
    const before = what === "flush" || !promises.failsAtOnce ? 0 : troubles.struck;
    try {
      await call();
      return process.hasEnded ? undefined : true;
    } catch (error) {
      if (process.hasEnded) return undefined;
      if (troubles.struck > before || isExcused(error)) return false;
      throw new Violation(`a ${what} fails for nothing: ${error}`);
    }
  }
}

/** Which writes the sectors of a buffer are of. */
export function idsOf(buffer: Uint8Array): number[] {
  return Array.from(
    { length: buffer.length / SECTOR_BYTES },
    (_, index) => idOf(buffer.subarray(index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES)),
  );
}
