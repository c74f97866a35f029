/**
 * Buffers for requests, one per slot. They take the data of a WRITE and hold the data of a READ.
 *
 * @module
 */

import { assert, fail } from "../uapi/error.ts";
import { Mapping, pageAlign } from "../uring/mapping.ts";
import type { Places } from "./data_path.ts";

/** One buffer per slot. Memory is allocated on first touch, and views are made once. */
export class SlotBuffers implements Places {
  /** Each slot's address, as given to the kernel. */
  readonly addresses: Float64Array<ArrayBuffer>;
  /** Number of buffers that an overdue Promise of the backend may still use. */
  quarantined = 0;

  readonly #slots: { readonly live: number };
  readonly #bytes: number;
  readonly #mappings = new Set<Mapping>();
  readonly #homes: Mapping[] = [];
  /** The reserved buffer for the next {@linkcode quarantine}. */
  #spare: Mapping | undefined;
  readonly #arrays: ArrayBuffer[] = [];
  readonly #offsets: Float64Array<ArrayBuffer>;
  // A view per slot and length, so that the steady state makes none. The last one used has its own
  // array, because a workload mostly repeats its request size.
  readonly #views: Map<number, Uint8Array<ArrayBuffer>>[] = [];
  readonly #last: Uint8Array<ArrayBuffer>[] = [];

  /** Reserves address space for a buffer of `bytes` for each slot. */
  constructor(owner: { readonly count: number; readonly live: number }, bytes: number) {
    const slots = owner.count;
    assert(slots > 0 && bytes > 0, "each slot has a buffer");
    this.#slots = owner;
    this.#bytes = pageAlign(bytes);
    const home = this.#map(slots * this.#bytes);
    const buffer = home.buffer();
    this.addresses = new Float64Array(slots);
    this.#offsets = new Float64Array(slots);
    for (let slot = 0; slot < slots; slot++) {
      this.addresses[slot] = home.address + slot * this.#bytes;
      this.#offsets[slot] = slot * this.#bytes;
      this.#homes.push(home);
      this.#arrays.push(buffer);
      this.#views.push(new Map());
      this.#last.push(EMPTY);
    }
  }

  /** Always true: every request uses its slot's buffer. */
  locate(): boolean {
    return true;
  }

  address(slot: number): number {
    return this.addresses[slot];
  }

  bufferIndex(): number {
    return -1;
  }

  /** Returns the first `bytes` of the slot's buffer. */
  view(slot: number, bytes: number): Uint8Array<ArrayBuffer> {
    const last = this.#last[slot];
    if (last.length === bytes) return last;
    if (bytes > this.#bytes) fail("a request fits its slot's buffer");
    let view = this.#views[slot].get(bytes);
    if (view === undefined) {
      view = new Uint8Array(this.#arrays[slot], this.#offsets[slot], bytes);
      this.#views[slot].set(bytes, view);
    }
    this.#last[slot] = view;
    return view;
  }

  /**
   * Reserves the memory for the next {@linkcode quarantine}.
   *
   * @throws {UblkError} `MEMORY_LIMIT` if there is none.
   */
  reserve(): void {
    this.#spare ??= this.#map(this.#bytes);
  }

  /**
   * Gives the slot a fresh buffer, because a Promise that missed its deadline may still write to
   * the old one.
   *
   * @returns A function that releases the old buffer. Call it once that Promise has settled.
   * @throws {UblkError} `MEMORY_LIMIT` if there is no memory; the slot keeps its buffer.
   */
  quarantine(slot: number): () => void {
    this.reserve();
    const old = this.#homes[slot];
    const fresh = this.#spare!;
    this.#spare = undefined;
    this.#homes[slot] = fresh;
    this.#arrays[slot] = fresh.buffer();
    this.#offsets[slot] = 0;
    this.addresses[slot] = fresh.address;
    this.#views[slot].clear();
    this.#last[slot] = EMPTY;
    this.quarantined++;
    return () => {
      if (--this.quarantined < 0) fail("a Promise settles once");
      // The first mapping is shared by all slots. It is released at the end, with the rest.
      if (old.bytes === this.#bytes && !this.#homes.includes(old)) this.#release(old);
    };
  }

  #map(bytes: number): Mapping {
    const mapping = Mapping.anonymous(bytes);
    this.#mappings.add(mapping);
    return mapping;
  }

  #release(mapping: Mapping): void {
    this.#mappings.delete(mapping);
    mapping[Symbol.dispose]();
  }

  /**
   * Unmaps everything, unless a buffer may still be written to: by a Promise that never settled, by
   * an operation under way, or by the kernel if it holds the slot (a closed ring is cancelled only
   * later). Then the mappings stay, because a stray write into reused memory would be worse.
   */
  [Symbol.dispose](): void {
    if (this.quarantined > 0 || this.#slots.live > 0) return;
    for (const mapping of this.#mappings) mapping[Symbol.dispose]();
    this.#mappings.clear();
  }
}

const EMPTY = new Uint8Array(0);
