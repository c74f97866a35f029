/**
 * The engine's notes on each request until it is answered: arrays, so that a request makes no
 * garbage.
 *
 * @module
 */

import type { EngineHost } from "../../disk/engine.ts";
import { fail } from "../../uapi/error.ts";
import { UBLK_IO_OP_FLUSH } from "../../uapi/ublk_io.ts";

/** The state of requests, by their numbers. */
export class Requests {
  /** The number of requests. */
  readonly count: number;
  /** The number of answered requests so far. */
  answered = 0;
  /** Blocks of a write that are in a batch already, or of a read that are on their way. */
  readonly done: Float64Array<ArrayBuffer>;
  /** Whether a write must be durable before it is answered. */
  readonly fua: Uint8Array<ArrayBuffer>;
  /** Parts of a read that are on their way. */
  readonly parts: Int32Array<ArrayBuffer>;
  /** The negative errno of a read that has failed, else 0. */
  readonly result: Int32Array<ArrayBuffer>;
  /** Whether the engine has the request. */
  readonly #held: Uint8Array<ArrayBuffer>;
  readonly #host: EngineHost;

  /** For all requests of a host. */
  constructor(host: EngineHost) {
    const count = this.count = host.requests;
    this.#host = host;
    this.done = new Float64Array(count);
    this.fua = new Uint8Array(count);
    this.parts = new Int32Array(count);
    this.result = new Int32Array(count);
    this.#held = new Uint8Array(count);
  }

  /** A request has arrived. */
  begin(request: number, fua: boolean): void {
    if (this.#held[request] !== 0) fail("a request arrives once until it is answered");
    this.#held[request] = 1;
    this.done[request] = 0;
    this.fua[request] = fua ? 1 : 0;
    this.parts[request] = 0;
    this.result[request] = 0;
  }

  /** Whether the engine has the request. */
  isHeld(request: number): boolean {
    return this.#held[request] !== 0;
  }

  /** Whether a request without an answer ends beyond an offset, in bytes. */
  reachBeyond(offset: number): boolean {
    for (let request = 0; request < this.count; request++) {
      if (this.#held[request] === 0) continue;
      if (this.endsBeyond(request, offset)) return true;
    }
    return false;
  }

  /**
   * Whether a request ends beyond an offset, in bytes. A FLUSH is nowhere: the kernel sends it with
   * a sector of all ones, which once passed for a place beyond the disk's end.
   */
  endsBeyond(request: number, offset: number): boolean {
    const host = this.#host;
    if (host.op(request) === UBLK_IO_OP_FLUSH) return false;
    return host.offset(request) + host.length(request) > offset;
  }

  /** Answers a request. */
  answer(request: number, result: number): void {
    if (this.#held[request] === 0) fail("a request is answered once");
    this.#held[request] = 0;
    this.answered++;
    this.#host.answer(request, result);
  }
}

/** Requests that wait for their turn, first come, first served. */
export class Waiting {
  readonly #ring: Int32Array<ArrayBuffer>;
  /** By the place in the ring: since when, if the request is one of the first that were timed. */
  readonly #since: Float64Array<ArrayBuffer>;
  #head = 0;
  #timed = 0;
  /** The number of requests that wait. */
  length = 0;

  /** Room for so many requests. */
  constructor(count: number) {
    this.#ring = new Int32Array(count);
    this.#since = new Float64Array(count);
  }

  /** Those that have come since the last call have waited from now on. */
  time(now: number): void {
    for (; this.#timed < this.length; this.#timed++) {
      this.#since[(this.#head + this.#timed) % this.#ring.length] = now;
    }
  }

  /** Since when {@linkcode first} has waited. It must have been timed. */
  get since(): number {
    return this.#timed > 0 ? this.#since[this.#head] : fail("it was timed");
  }

  /** The request that has waited longest. There must be one. */
  get first(): number {
    return this.#ring[this.#head];
  }

  /** Adds a request behind the others. */
  push(request: number): void {
    if (this.length === this.#ring.length) fail("no more requests wait than there are");
    this.#ring[(this.#head + this.length++) % this.#ring.length] = request;
  }

  /** Takes the request that has waited longest. */
  shift(): number {
    if (this.length === 0) fail("somebody waits");
    const request = this.#ring[this.#head];
    this.#head = (this.#head + 1) % this.#ring.length;
    this.length--;
    if (this.#timed > 0) this.#timed--;
    return request;
  }
}
