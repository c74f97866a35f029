/**
 * A host for a volume's engine in a program with an event loop. Requests are Promises; their data is
 * copied through memory of the host, which the kernel can read and write.
 *
 * Each request that the engine has needs a slot. Reads wait for the store, writes for room in the
 * journal, and FLUSHes for its disk or the lease, each for as long as it takes. So no kind of them may
 * have all slots, and each has some that the others leave ({@linkcode MOST}, {@linkcode KEPT}). There
 * was once one queue for all: reads of a store that was away stopped writes to a healthy journal.
 *
 * @module
 */

import type { Engine, EngineHost, EngineMemory } from "../disk/engine.ts";
import { EIO, ETIME } from "../uapi/errno.ts";
import { assert, fail, thrownText } from "../uapi/error.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import { monotonicUs } from "../uring/libc.ts";
import type { FileOperations } from "./file_operations.ts";

/**
 * Most bytes of a request that makes zeroes: the journal counts blocks in 32 bits, and the smallest have
 * 512 bytes.
 */
const MOST_ZEROES = 2 ** 31 * 512;

/** Kinds of requests, by what they wait for. */
const READS = 0;
const CHANGES = 1;
const FLUSHES = 2;
/** The part of the slots that each kind has at most. */
const MOST = [1 / 2, 3 / 4, 1 / 2] as const;
/** The part of the slots that the other kinds leave to each. */
const KEPT = 1 / 8;

/** Looks at the age of requests until one is overdue. */
const LOOKS = 16;

/** A request of the program. */
export interface LoopRequest {
  /** `UBLK_IO_OP_*`. */
  readonly op: number;
  /** Bytes from the start of the disk. */
  readonly offset: number;
  /** Bytes; at most {@linkcode LoopHost.requestBytes} if it has data. */
  readonly length: number;
  /** Durable before it is answered. */
  readonly fua?: boolean;
  /** The data of a write. */
  readonly source?: Uint8Array<ArrayBuffer>;
  /** Takes the data of a read. */
  readonly target?: Uint8Array<ArrayBuffer>;
}

interface Pending {
  readonly request: LoopRequest;
  readonly kind: typeof READS | typeof CHANGES | typeof FLUSHES;
  /** Its place in the order of all requests. */
  readonly nth: number;
  /** Since when it has waited, or has had a slot, by the host's clock in microseconds. */
  sinceUs: number;
  readonly resolve: (result: number) => void;
  readonly reject: (error: unknown) => void;
}

/** A request that the engine has, and its memory. */
interface Slot {
  readonly memory: EngineMemory & Disposable;
  pending: Pending | undefined;
}

/** The parts of a {@linkcode LoopHost}. */
export interface LoopHostParts {
  /** The operations on files. */
  readonly operations: FileOperations;
  /** The number of requests at once; more wait. */
  readonly requests: number;
  /** Most bytes of a request's data. */
  readonly requestBytes: number;
  /**
   * The age at which nobody waits for a request any more, in microseconds. Then it is answered with an
   * error, unless it waits for an operation on the journal.
   *
   * @default {Infinity}
   */
  readonly overdueUs?: number;
  /** Takes a line for the log. */
  readonly report: (words: string) => void;
}

/** Serves an engine. */
export class LoopHost implements EngineHost {
  readonly requests: number;
  /** Most bytes of a request's data. */
  readonly requestBytes: number;
  readonly #operations: FileOperations;
  readonly #report: (words: string) => void;
  readonly #slots: readonly Slot[];
  /** Numbers of slots that are free. */
  readonly #free: number[];
  /** By kind: requests without a slot, the oldest first, and the number of those that have one. */
  readonly #waiting: readonly Pending[][] = [[], [], []];
  readonly #held = [0, 0, 0];
  #made = 0;
  #engine: Engine | undefined;
  #isBatchDue = false;
  /** Operations and timers without a result; of them, writes and syncs. */
  #underWay = 0;
  #writes = 0;
  #syncs = 0;
  readonly #overdueUs: number;
  #looks: ReturnType<typeof setTimeout> | undefined;
  /** Requests that have had a slot since before this time are given up; -1 for none. */
  #givesUpBefore = -1;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  /** Those who wait until nothing is under way. */
  #idle: (() => void)[] = [];
  #isOver = false;

  /** Makes the memory of the requests. */
  constructor({ operations, requests, requestBytes, overdueUs, report }: LoopHostParts) {
    this.requests = requests;
    this.#overdueUs = overdueUs ?? Infinity;
    this.requestBytes = requestBytes;
    this.#operations = operations;
    this.#report = report;
    this.#slots = Array.from({ length: requests }, () => ({
      memory: operations.allocate(requestBytes),
      pending: undefined,
    }));
    this.#free = Array.from({ length: requests }, (_, nth) => requests - 1 - nth);
  }

  /** Starts an engine. Called once. */
  serve(engine: Engine): void {
    assert(this.#engine === undefined, "a host serves one engine");
    this.#engine = engine;
    this.#call(() => engine.start(this));
  }

  /** Makes a request. @returns 0 or a negative errno. */
  make(request: LoopRequest): Promise<number> {
    if (this.#isOver) return Promise.resolve(-EIO);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const kind = kindOf(request.op);
    const sinceUs = this.#overdueUs < Infinity ? monotonicUs() : 0;
    this.#waiting[kind].push({ request, kind, nth: this.#made++, sinceUs, resolve, reject });
    this.#letIn();
    if (this.#overdueUs < Infinity) this.#look();
    return promise;
  }

  /** Reads a whole buffer from an offset in bytes. @returns As {@linkcode inParts}. */
  readWhole(buffer: Uint8Array<ArrayBuffer>, offset: number): Promise<number> {
    return this.inParts(buffer.length, this.requestBytes, (at, length) => ({
      ...{ op: UBLK_IO_OP_READ, offset: offset + at, length },
      target: buffer.subarray(at, at + length),
    }));
  }

  /** Writes a whole buffer at an offset in bytes. @returns As {@linkcode inParts}. */
  writeWhole(buffer: Uint8Array<ArrayBuffer>, offset: number, fua: boolean): Promise<number> {
    return this.inParts(buffer.length, this.requestBytes, (at, length) => ({
      ...{ op: UBLK_IO_OP_WRITE, offset: offset + at, length, fua },
      source: buffer.subarray(at, at + length),
    }));
  }

  /**
   * Makes a range of bytes zeroes, however long it is.
   *
   * @param op `UBLK_IO_OP_DISCARD` or `_WRITE_ZEROES`.
   * @returns As {@linkcode inParts}.
   */
  zeroWhole(op: number, offset: number, length: number): Promise<number> {
    return this.inParts(length, MOST_ZEROES, (at, part) => ({
      ...{ op, offset: offset + at, length: part },
    }));
  }

  /**
   * Makes a request in parts of at most so many bytes.
   *
   * @returns 0, or the negative errno of a part that failed; once all parts are over, so that nobody
   *   uses their buffer any more.
   */
  async inParts(
    bytes: number,
    most: number,
    request: (at: number, length: number) => LoopRequest,
  ): Promise<number> {
    const parts: Promise<number>[] = [];
    for (let at = 0; at < bytes; at += most) {
      parts.push(this.make(request(at, Math.min(most, bytes - at))));
    }
    let failure = 0;
    for (const part of await Promise.allSettled(parts)) {
      if (part.status === "rejected") throw part.reason;
      if (failure === 0) failure = part.value;
    }
    return failure;
  }

  /** Has the engine look again soon: a commit waits for it, for example. */
  wake(): void {
    this.#batchIsDue();
  }

  /** Tells the engine something of its own. */
  tell(call: () => void): void {
    this.#call(call);
    this.#batchIsDue();
  }

  /** Has the engine answer everything that waits with an error. */
  giveUp(): void {
    this.#call(() => this.#engine?.giveUp());
    this.#batchIsDue();
  }

  /** Resolves once no request is open and nothing is under way. */
  async idle(): Promise<void> {
    while (!this.#isIdle) await new Promise<void>((resolve) => void this.#idle.push(resolve));
  }

  /**
   * The same, but once some time has passed what only waits is given up: for the store, for room or for
   * the lease. The journal goes on.
   */
  async finish(graceMs: number): Promise<void> {
    if (this.#isIdle) return;
    const timer = setTimeout(() => {
      this.#givesUpBefore = Infinity;
      this.#batchIsDue();
    }, graceMs);
    await this.idle();
    clearTimeout(timer);
  }

  /** Calls the engine no more. What is open is answered with EIO. */
  end(): void {
    this.#isOver = true;
    clearTimeout(this.#looks);
    for (const timer of this.#timers) clearTimeout(timer);
    // They once stayed under way for ever, and with them whoever waited until nothing is.
    this.#underWay -= this.#timers.size;
    this.#timers.clear();
    for (let slot = 0; slot < this.#slots.length; slot++) {
      if (this.#slots[slot].pending !== undefined) this.#answer(slot, -EIO);
    }
    for (const queue of this.#waiting) {
      for (const { resolve } of queue.splice(0)) resolve(-EIO);
    }
    if (this.#isIdle) { for (const resolve of this.#idle.splice(0)) resolve(); }
  }

  get #isIdle(): boolean {
    return this.#underWay === 0 && !this.#someWait && !this.#isBatchDue && !this.#hasOpen;
  }

  /** Whether requests wait for a slot. */
  get #someWait(): boolean {
    return this.#waiting.some((queue) => queue.length > 0);
  }

  /** Whether the engine has requests. */
  get #hasOpen(): boolean {
    return this.#free.length < this.#slots.length;
  }

  /** Whether a request of a kind may have a slot now. */
  #hasSlotFor(kind: number): boolean {
    const { length } = this.#slots;
    if (this.#held[kind] >= Math.max(1, Math.floor(MOST[kind] * length))) return false;
    const kept = Math.floor(KEPT * length);
    let left = this.#free.length;
    for (let other = 0; other < this.#held.length; other++) {
      if (other !== kind) left -= Math.max(0, kept - this.#held[other]);
    }
    return left > 0;
  }

  /** Takes the request that has waited longest, of the kinds that may have a slot. */
  #next(): Pending | undefined {
    let first: Pending[] | undefined;
    for (let kind = 0; kind < this.#waiting.length; kind++) {
      const queue = this.#waiting[kind];
      if (queue.length === 0 || !this.#hasSlotFor(kind)) continue;
      if (first === undefined || queue[0].nth < first[0].nth) first = queue;
    }
    return first?.shift();
  }

  #letIn(): void {
    while (!this.#isOver) {
      const pending = this.#next();
      if (pending === undefined) return;
      const { source, length } = pending.request;
      assert((source ?? pending.request.target ?? []).length <= this.requestBytes, "data has room");
      const slot = this.#free.pop()!;
      try {
        // Throws if somebody has detached the buffer meanwhile.
        if (source !== undefined) {
          if (source.length !== length) throw new TypeError("the buffer was detached");
          this.#slots[slot].memory.bytes.set(source);
        }
      } catch (error) {
        this.#free.push(slot);
        pending.reject(error);
        continue;
      }
      this.#slots[slot].pending = pending;
      this.#held[pending.kind]++;
      if (this.#overdueUs < Infinity) pending.sinceUs = monotonicUs();
      this.#call(() => this.#engine!.request(slot));
      this.#batchIsDue();
    }
  }

  #batchIsDue(): void {
    if (this.#isBatchDue || this.#isOver) return;
    this.#isBatchDue = true;
    queueMicrotask(() => this.#batchEnd());
  }

  #batchEnd(): void {
    this.#isBatchDue = false;
    this.#call(() => this.#engine!.batchEnd());
    if (this.#givesUpBefore >= 0 && this.#hasOpen) this.#giveUpOld();
    if (this.#isIdle) { for (const resolve of this.#idle.splice(0)) resolve(); }
  }

  /**
   * Gives up what only waits, if it is old. What is under way on the journal is left: asked twice for
   * the same operation, the engine would take it for one that hangs, and write no more.
   */
  #giveUpOld(): void {
    if (this.#syncs > 0) return;
    const isOld = (slot: number) => {
      const { pending } = this.#slots[slot];
      if (pending === undefined || pending.sinceUs >= this.#givesUpBefore) return false;
      return pending.kind !== CHANGES || this.#writes === 0;
    };
    this.#call(() => {
      this.#engine!.giveUp(isOld);
      this.#engine!.batchEnd();
    });
  }

  /** Looks now and then for requests that are overdue, as long as there are any requests. */
  #look(): void {
    if (this.#looks !== undefined || this.#isOver) return;
    this.#looks = setTimeout(() => {
      this.#looks = undefined;
      const before = monotonicUs() - this.#overdueUs;
      for (const queue of this.#waiting) {
        while (queue.length > 0 && queue[0].sinceUs < before) queue.shift()!.resolve(-EIO);
      }
      const isAny = this.#slots.some(({ pending }) => pending && pending.sinceUs < before);
      if (this.#givesUpBefore < Infinity) this.#givesUpBefore = isAny ? before : -1;
      this.#batchIsDue();
      if (this.#hasOpen || this.#someWait) this.#look();
    }, this.#overdueUs / LOOKS / 1000);
    Deno.unrefTimer(this.#looks);
  }

  /** Calls the engine. One that has thrown is called no more: it does not know what it has done. */
  #call(call: () => void): void {
    if (this.#isOver) return;
    try {
      call();
    } catch (error) {
      this.#report(`the engine has failed, and the volume with it: ${thrownText(error)}`);
      this.end();
    }
  }

  #done(token: number, result: number): void {
    this.#underWay--;
    this.#call(() => this.#engine!.done(token, result));
    this.#batchIsDue();
    if (this.#isOver && this.#underWay === 0) {
      for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  #request(slot: number): LoopRequest {
    return (this.#slots[slot].pending ?? fail("the engine holds the request")).request;
  }

  op(request: number): number {
    return this.#request(request).op;
  }

  offset(request: number): number {
    return this.#request(request).offset;
  }

  length(request: number): number {
    return this.#request(request).length;
  }

  fua(request: number): boolean {
    return this.#request(request).fua ?? false;
  }

  mayUnmap(_request: number): boolean {
    return true;
  }

  data(request: number): Uint8Array<ArrayBuffer> {
    const { source, target } = this.#request(request);
    const { bytes } = this.#slots[request].memory;
    return bytes.subarray(0, (source ?? target)?.length ?? 0);
  }

  answer(request: number, result: number): void {
    this.#answer(request, result);
    // Others may come in at the end of the batch at the earliest: the engine is at work.
    if (this.#someWait) queueMicrotask(() => this.#letIn());
  }

  #answer(slot: number, result: number): void {
    const { memory, pending } = this.#slots[slot];
    if (pending === undefined) fail("a request is answered once");
    this.#slots[slot].pending = undefined;
    const { request: { target, length }, kind, resolve, reject } = pending;
    this.#held[kind]--;
    try {
      if (target !== undefined && result === 0) {
        if (target.length !== length) throw new TypeError("the buffer was detached");
        target.set(memory.bytes.subarray(0, length));
      }
      resolve(result);
    } catch (error) {
      reject(error);
    }
    this.#free.push(slot);
  }

  readInto(
    request: number,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
  ): void {
    this.read(this.#slots[request].memory, at, length, fd, offset, token);
  }

  read(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
  ): void {
    this.#underWay++;
    this.#operations.read(memory, at, length, fd, offset, (result) => this.#done(token, result));
  }

  write(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
    durable = false,
  ): void {
    this.#underWay++;
    this.#writes++;
    const take = (result: number) => {
      this.#writes--;
      this.#done(token, result);
    };
    this.#operations.write(memory, at, length, fd, offset, take, durable);
  }

  sync(fd: number, token: number): void {
    this.#underWay++;
    this.#syncs++;
    this.#operations.sync(fd, (result) => {
      this.#syncs--;
      this.#done(token, result);
    });
  }

  timeout(microseconds: number, token: number): void {
    this.#underWay++;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#done(token, -ETIME);
    }, microseconds / 1000);
    this.#timers.add(timer);
  }

  nowUs(): number {
    return monotonicUs();
  }
}

function kindOf(op: number): Pending["kind"] {
  return op === UBLK_IO_OP_READ ? READS : op === UBLK_IO_OP_FLUSH ? FLUSHES : CHANGES;
}
