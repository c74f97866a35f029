/**
 * A host for engines in a simulation: operations are performed in any order, as dice decide, on files
 * that can crash.
 *
 * A sync is performed when it is begun or when it ends, as the dice decide: one that is over may not
 * have covered what was written while it ran.
 *
 * @module
 */

import type { Engine, EngineHost, EngineMemory } from "../../disk/engine.ts";
import { ProcessEnded } from "../../files/crashable_machine.ts";
import { errnoOfFile } from "../../files/file_error.ts";
import type { File } from "../../files/port.ts";
import type { Dice } from "../../uapi/dice.ts";
import { EBADF, ETIME } from "../../uapi/errno.ts";
import { assert } from "../../uapi/error.ts";
import { UBLK_IO_OP_READ } from "../../uapi/ublk_io.ts";

/** A request as the simulation makes it. */
export interface SimRequest {
  /** `UBLK_IO_OP_*`. */
  readonly op: number;
  /** In bytes. */
  readonly offset: number;
  /** The data to write, or room for what is read. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** Bytes. */
  readonly length: number;
  /** Force unit access. */
  readonly fua: boolean;
  /** Takes the answer. */
  readonly answered: (result: number) => void;
}

/** One operation in so many is slow, and takes up to so many steps. */
const SLOW = 20;
const SLOW_STEPS = 400;

interface Operation {
  readonly token: number;
  /** The step from which on it is performed, unless there is nothing else to do. */
  readonly due: number;
  readonly perform: () => number;
}

/** The host. */
export class SimHost implements EngineHost {
  readonly requests: number;
  readonly #dice: Dice;
  readonly #slots: (SimRequest | undefined)[];
  readonly #operations: Operation[] = [];
  readonly #files: File[] = [];
  #engine: Engine | undefined;
  /** Reads that begin are performed last of all. */
  holdsReads = false;
  #nowUs = 0;
  #steps = 0;

  /** For so many requests at once. */
  constructor(dice: Dice, requests: number) {
    this.#dice = dice;
    this.requests = requests;
    this.#slots = new Array(requests).fill(undefined);
  }

  /** Starts an engine. */
  serve(engine: Engine): void {
    this.#engine = engine;
    engine.start(this);
  }

  /** The number of a file, as a descriptor. */
  readonly fdOf = (file: File): number => this.#files.push(file) - 1;

  /** Memory without an address. */
  readonly allocate = (bytes: number): EngineMemory => ({
    bytes: new Uint8Array(bytes),
    address: 0,
  });

  /** Whether another request can be made. */
  get hasRoom(): boolean {
    return this.#slots.includes(undefined);
  }

  /** The number of requests without an answer. */
  get open(): number {
    return this.#slots.filter((slot) => slot !== undefined).length;
  }

  /** The number of reads without an answer. */
  get reading(): number {
    return this.#slots.filter((slot) => slot?.op === UBLK_IO_OP_READ).length;
  }

  /** The number of operations that have not completed. */
  get underWay(): number {
    return this.#operations.length;
  }

  /** The number of operations that wait until there are no others. */
  get held(): number {
    return this.#operations.filter(({ due }) => due === Infinity).length;
  }

  /** Makes a request. */
  make(request: SimRequest): void {
    const slot = this.#slots.indexOf(undefined);
    assert(slot >= 0, "a slot is free");
    this.#slots[slot] = request;
    this.#engine!.request(slot);
  }

  /** Ends the batch. */
  batchEnd(): void {
    this.#engine!.batchEnd();
  }

  /** Completes one operation. @returns Whether there was one. */
  step(): boolean {
    if (this.#operations.length === 0) return false;
    this.#steps++;
    const due = this.#operations.filter((operation) => operation.due <= this.#steps);
    const ready = due.length > 0 ? due : this.#operations;
    const operation = ready[this.#dice.draw(ready.length)];
    this.#operations.splice(this.#operations.indexOf(operation), 1);
    const { token, perform } = operation;
    this.#engine!.done(token, perform());
    return true;
  }

  #request(request: number): SimRequest {
    const found = this.#slots[request];
    assert(found !== undefined, "the engine touches a request only until it has answered");
    return found;
  }

  op = (request: number): number => this.#request(request).op;
  offset = (request: number): number => this.#request(request).offset;
  length = (request: number): number => this.#request(request).length;
  fua = (request: number): boolean => this.#request(request).fua;
  mayUnmap = (): boolean => true;
  data = (request: number): Uint8Array<ArrayBuffer> => this.#request(request).data;

  answer(request: number, result: number): void {
    const { answered } = this.#request(request);
    this.#slots[request] = undefined;
    answered(result);
  }

  readInto(
    request: number,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
  ): void {
    const { data } = this.#request(request);
    const perform = () => this.#file(fd).readAt(data.subarray(at, at + length), offset);
    this.#add(token, perform, this.holdsReads ? Infinity : undefined);
  }

  read(
    { bytes }: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
  ): void {
    this.#add(token, () => this.#file(fd).readAt(bytes.subarray(at, at + length), offset));
  }

  write(
    { bytes }: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
    durable = false,
  ): void {
    const part = bytes.subarray(at, at + length);
    this.#add(token, () => {
      const file = this.#file(fd);
      return durable ? file.writeDurably(part, offset) : file.writeAt(part, offset);
    });
  }

  sync(fd: number, token: number): void {
    const perform = () => {
      this.#file(fd).sync(true);
      return 0;
    };
    if (this.#dice.draw(2) === 0) return this.#add(token, perform);
    const result = resultOf(perform);
    this.#add(token, () => result);
  }

  timeout(microseconds: number, token: number): void {
    this.#add(token, () => {
      this.#nowUs += microseconds;
      return -ETIME;
    });
  }

  nowUs(): number {
    return this.#nowUs;
  }

  #file(fd: number): File {
    return this.#files[fd];
  }

  #add(token: number, perform: () => number, dueAt?: number): void {
    const isSlow = this.#dice.draw(SLOW) === 0;
    const due = dueAt ?? (isSlow ? this.#steps + this.#dice.draw(SLOW_STEPS) : 0);
    this.#operations.push({ token, due, perform: () => resultOf(perform) });
  }
}

function resultOf(perform: () => number): number {
  try {
    return perform();
  } catch (error) {
    if (error instanceof ProcessEnded) throw error;
    const errno = errnoOfFile(error);
    if (errno === undefined) throw error;
    return -(errno === EBADF ? EBADF : errno);
  }
}
