/**
 * The gate in the thread that serves a block device: {@linkcode gated} for engines. Another thread shuts
 * it, by a word of shared memory that each request and each answer looks at.
 *
 * @module
 */

import type { Engine, EngineHost, EngineMemory } from "../disk/engine.ts";
import type { EachOf } from "../disk/passing.ts";
import { EIO } from "../uapi/errno.ts";

const SHUT = 1;

/** Where the epoch is in the memory of a gate, and its bytes. */
const EPOCH_AT = 8;
const BYTES = 16;

/** A gate that threads share. It is open until somebody shuts it, and stays shut. */
export class SharedGate {
  /** For the other thread. */
  readonly memory: SharedArrayBuffer;
  readonly #word: Int32Array<SharedArrayBuffer>;
  readonly #epoch: BigUint64Array<SharedArrayBuffer>;

  /** @param memory Of a gate that there is. Default: a new one. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(BYTES)) {
    this.memory = memory;
    this.#word = new Int32Array(memory, 0, 1);
    this.#epoch = new BigUint64Array(memory, EPOCH_AT, 1);
  }

  /** The epoch of the volume's hold, which the thread that opens it tells; undefined before that. */
  get epoch(): number | undefined {
    // No hold has none: each one raises it.
    return Number(Atomics.load(this.#epoch, 0)) || undefined;
  }

  set epoch(epoch: number | undefined) {
    Atomics.store(this.#epoch, 0, BigInt(epoch ?? 0));
  }

  /** Whether it is shut. */
  get isShut(): boolean {
    return Atomics.load(this.#word, 0) === SHUT;
  }

  /** Shuts it. */
  shut(): void {
    Atomics.store(this.#word, 0, SHUT);
  }
}

/**
 * An engine that can be shut: then no request reaches it, and none is answered with success, however long
 * it has been under way.
 */
export function gatedEngine(engine: Engine, gate: Pick<SharedGate, "isShut">): Engine {
  return new GatedEngine(engine, gate);
}

class GatedEngine implements EachOf<Engine> {
  readonly operations: number;
  readonly wakeFd: number | undefined;
  readonly #engine: Engine;
  readonly #gate: Pick<SharedGate, "isShut">;
  #host!: EngineHost;

  constructor(engine: Engine, gate: Pick<SharedGate, "isShut">) {
    this.operations = engine.operations;
    this.wakeFd = engine.wakeFd;
    this.#engine = engine;
    this.#gate = gate;
  }

  start(host: EngineHost): void {
    this.#host = host;
    this.#engine.start(new GatedHost(host, this.#gate));
  }

  request(request: number): void {
    if (this.#gate.isShut) this.#host.answer(request, -EIO);
    else this.#engine.request(request);
  }

  done(token: number, result: number): void {
    this.#engine.done(token, result);
  }

  batchEnd(): void {
    this.#engine.batchEnd();
  }

  woken(): void {
    this.#engine.woken?.();
  }

  giveUp(isOverdue?: (request: number) => boolean): void {
    this.#engine.giveUp(isOverdue);
  }
}

/** A host whose answers pass the gate. */
class GatedHost implements EachOf<EngineHost> {
  readonly requests: number;
  readonly #host: EngineHost;
  readonly #gate: Pick<SharedGate, "isShut">;

  constructor(host: EngineHost, gate: Pick<SharedGate, "isShut">) {
    this.requests = host.requests;
    this.#host = host;
    this.#gate = gate;
  }

  op(request: number): number {
    return this.#host.op(request);
  }

  offset(request: number): number {
    return this.#host.offset(request);
  }

  length(request: number): number {
    return this.#host.length(request);
  }

  fua(request: number): boolean {
    return this.#host.fua(request);
  }

  mayUnmap(request: number): boolean {
    return this.#host.mayUnmap(request);
  }

  data(request: number): Uint8Array<ArrayBuffer> {
    return this.#host.data(request);
  }

  answer(request: number, result: number): void {
    this.#host.answer(request, this.#gate.isShut ? -EIO : result);
  }

  readInto(
    request: number,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
  ): void {
    this.#host.readInto(request, at, length, fd, offset, token);
  }

  read(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
  ): void {
    this.#host.read(memory, at, length, fd, offset, token);
  }

  write(
    memory: EngineMemory,
    at: number,
    length: number,
    fd: number,
    offset: number,
    token: number,
    durable?: boolean,
  ): void {
    this.#host.write(memory, at, length, fd, offset, token, durable);
  }

  sync(fd: number, token: number): void {
    this.#host.sync(fd, token);
  }

  timeout(microseconds: number, token: number): void {
    this.#host.timeout(microseconds, token);
  }

  nowUs(): number {
    return this.#host.nowUs();
  }
}
