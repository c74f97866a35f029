/**
 * A host for engines that only measures: a blocking ring, as a serving thread has, whose requests
 * come from a loop instead of the kernel. Each request is made again as soon as it is answered.
 *
 * @module
 */

import type { Engine, EngineHost, EngineMemory } from "../disk/engine.ts";
import { engineMemory } from "../disk/engine_memory.ts";
import { assert } from "../uapi/error.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import { monotonicUs } from "../uring/libc.ts";
import { openRing } from "../uring/open_ring.ts";
import type { Ring } from "../uring/ring.ts";
import { prepFsync, prepRead, prepTimeout, prepWrite, writeDurably } from "../uring/sqe.ts";

/** The requests of a run. */
export interface Load {
  /** Requests at a time. */
  readonly depth: number;
  /**
   * Reads or writes.
   *
   * @default "write"
   */
  readonly kind?: "read" | "write";
  /** Bytes of each, whole blocks. */
  readonly bytes: number;
  /** The number of reads or writes. */
  readonly count: number;
  /** Bytes of the disk. */
  readonly size: number;
  /**
   * One behind the other, and not at random places.
   *
   * @default false
   */
  readonly isSequential?: boolean;
  /**
   * Runs with the same seed have the same places.
   *
   * @default 0
   */
  readonly seed?: number;
  /**
   * When FLUSHes are made: one after so many writes, or by each of `depth` jobs after each of its
   * writes, which it waits for, as it does for the FLUSH.
   *
   * @default Never
   */
  readonly flush?: number | "each";
  /**
   * The longest request is measured, which costs two looks at the clock for each.
   *
   * @default false
   */
  readonly timesEach?: boolean;
}

const OPERATION = 1;
const WAKE = 2;
const TWO_32 = 0x1_0000_0000;

/** Serves one engine. */
export class BenchHost implements EngineHost, Disposable {
  readonly requests: number;
  readonly #ring: Ring;
  readonly #engine: Engine;
  readonly #wake: EngineMemory = engineMemory(4096);
  readonly #times: EngineMemory = engineMemory(4096);
  readonly #data: (EngineMemory & Disposable)[] = [];
  readonly #ops: Uint8Array<ArrayBuffer>;
  readonly #offsets: Float64Array<ArrayBuffer>;
  readonly #free: number[] = [];
  /** When each request was made, in microseconds. */
  readonly #since: Float64Array<ArrayBuffer>;
  #load: Load = { depth: 0, bytes: 0, count: 0, size: 0 };
  /** Reads and writes made. */
  #made = 0;
  /** Of the generator of random places. */
  #state = 0;
  #answered = 0;
  #failed = 0;
  #longestUs = 0;

  /** Starts an engine for so many requests of at most so many bytes. */
  constructor(engine: Engine, requests: number, bytes: number) {
    this.requests = requests;
    this.#engine = engine;
    this.#ring = openRing({ entries: 2 * (engine.operations + 1) }).ring;
    this.#ops = new Uint8Array(requests);
    this.#offsets = new Float64Array(requests);
    this.#since = new Float64Array(requests);
    for (let request = 0; request < requests; request++) {
      const memory = engineMemory(bytes);
      memory.bytes.fill(request + 1);
      this.#data.push(memory);
      this.#free.push(request);
    }
    engine.start(this);
    this.#listen();
  }

  #listen(): void {
    if (this.#engine.wakeFd === undefined) return;
    prepRead(this.#ring, this.#engine.wakeFd, this.#wake.address, 8, 0, 0, WAKE);
  }

  /** Makes all requests of a load. @returns Seconds. */
  run(load: Load): number {
    assert(load.depth <= this.requests, "there are so many requests");
    assert(load.bytes === this.#data[0].bytes.length, "they have so many bytes");
    this.#load = load;
    this.#answered = this.#made = this.#longestUs = 0;
    this.#state = 12345 + (load.seed ?? 0);
    const start = monotonicUs();
    if (load.flush === "each") this.#runJobs(load);
    else this.#runStream(load, load.flush ?? 0);
    assert(this.#made === load.count && this.#failed === 0, "all was made and answered");
    return (monotonicUs() - start) / 1e6;
  }

  /** The time that the longest request of the last load took, in microseconds. */
  get longestUs(): number {
    return this.#longestUs;
  }

  /** So many requests at a time, with a FLUSH here and there. */
  #runStream({ depth, count }: Load, flushEvery: number): void {
    const total = count + (flushEvery > 0 ? Math.floor(count / flushEvery) : 0);
    let sinceFlush = 0;
    let issued = 0;
    while (this.#answered < total) {
      while (issued < total && issued - this.#answered < depth) {
        const request = this.#free.pop()!;
        issued++;
        if (flushEvery > 0 && sinceFlush === flushEvery) {
          sinceFlush = 0;
          this.#ops[request] = UBLK_IO_OP_FLUSH;
        } else {
          sinceFlush++;
          this.#fill(request);
        }
        this.#engine.request(request);
      }
      this.#engine.batchEnd();
      if (this.#answered < total) this.#turn();
    }
  }

  /** Jobs, each with one request at a time: a write or its FLUSH. */
  #runJobs({ depth, count }: Load): void {
    const free = this.#free.splice(depth);
    this.#ops.fill(UBLK_IO_OP_FLUSH);
    while (this.#answered < 2 * count) {
      const ready = this.#free.splice(0);
      for (const request of ready) {
        if (this.#ops[request] === UBLK_IO_OP_WRITE) this.#ops[request] = UBLK_IO_OP_FLUSH;
        else if (this.#made < count) this.#fill(request);
        else {
          free.push(request);
          continue;
        }
        this.#engine.request(request);
      }
      this.#engine.batchEnd();
      if (this.#free.length === 0 && this.#answered < 2 * count) this.#turn();
    }
    this.#free.push(...free);
  }

  /** Makes a request the next read or write of the load. */
  #fill(request: number): void {
    const { kind, bytes, size, isSequential } = this.#load;
    const places = Math.floor(size / bytes);
    this.#state = Math.imul(this.#state, 1664525) + 1013904223 >>> 0;
    this.#ops[request] = kind === "read" ? UBLK_IO_OP_READ : UBLK_IO_OP_WRITE;
    // The low bits of such a generator come back too soon.
    const place = isSequential ? this.#made % places : Math.floor(this.#state / TWO_32 * places);
    this.#offsets[request] = place * bytes;
    this.#made++;
    if (this.#load.timesEach === true) this.#since[request] = monotonicUs();
  }

  /** Waits for something, and passes it on. */
  #turn(): void {
    const ring = this.#ring;
    ring.enter(1);
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      const { cqes } = ring;
      const [token, kind, result] = [cqes[at], cqes[at + 1], cqes[at + 2] | 0];
      ring.seen();
      if (kind === OPERATION) this.#engine.done(token, result);
      else {
        this.#engine.woken?.();
        this.#listen();
      }
    }
  }

  op = (request: number): number => this.#ops[request];
  offset = (request: number): number => this.#offsets[request];
  length = (request: number): number =>
    this.#ops[request] === UBLK_IO_OP_FLUSH ? 0 : this.#load.bytes;
  fua = (): boolean => false;
  mayUnmap = (): boolean => true;
  data = (request: number): Uint8Array<ArrayBuffer> => this.#data[request].bytes;

  answer(request: number, result: number): void {
    if (result !== 0) this.#failed++;
    this.#answered++;
    if (this.#load.timesEach === true) {
      this.#longestUs = Math.max(this.#longestUs, monotonicUs() - this.#since[request]);
    }
    this.#free.push(request);
  }

  readInto(
    request: number,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
  ): void {
    this.#ring.reserve(1);
    prepRead(this.#ring, fd, this.#data[request].address + at, length, offset, token, OPERATION);
  }

  read(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
  ): void {
    this.#ring.reserve(1);
    prepRead(this.#ring, fd, memory.address + at, length, offset, token, OPERATION);
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
    this.#ring.reserve(1);
    const sqe = prepWrite(this.#ring, fd, memory.address + at, length, offset, token, OPERATION);
    if (durable) writeDurably(this.#ring, sqe);
  }

  sync(fd: number, token: number): void {
    this.#ring.reserve(1);
    prepFsync(this.#ring, fd, true, token, OPERATION);
  }

  timeout(microseconds: number, token: number): void {
    const times = new BigInt64Array(this.#times.bytes.buffer, 0, 2);
    times[0] = 0n;
    times[1] = BigInt(Math.round(microseconds * 1000));
    this.#ring.reserve(1);
    prepTimeout(this.#ring, this.#times.address, 0, token, OPERATION);
  }

  nowUs = monotonicUs;

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
    for (const memory of this.#data) memory[Symbol.dispose]();
  }
}
