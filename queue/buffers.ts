/**
 * A buffer for each slot, in which a WRITE's data is left and from which a READ's is taken.
 *
 * @module
 */

import { assert, fail } from "../uapi/error.ts";
import { Mapping, pageAlign } from "../uring/mapping.ts";
import type { Places } from "./data_path.ts";

/** One buffer per slot, memory taken on first touch, and views that are made once. */
export class SlotBuffers implements Places {
  /** The address that the kernel is given for each slot. */
  readonly addresses: Float64Array<ArrayBuffer>;
  /** Buffers that a backend's overdue Promise may still be using. */
  quarantined = 0;

  readonly #slots: { readonly live: number };
  readonly #bytes: number;
  readonly #mappings = new Set<Mapping>();
  readonly #homes: Mapping[] = [];
  /** The buffer that the next {@linkcode quarantine} gives. */
  #spare: Mapping | undefined;
  readonly #arrays: ArrayBuffer[] = [];
  readonly #offsets: Float64Array<ArrayBuffer>;
  // A view per slot and length, so that the steady state makes none. The last one used is kept
  // apart because a workload mostly repeats its request size.
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

  /** Every request has its slot's buffer. */
  locate(): boolean {
    return true;
  }

  address(slot: number): number {
    return this.addresses[slot];
  }

  bufferIndex(): number {
    return -1;
  }

  /** The first `bytes` of the slot's buffer. */
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
   * Makes sure that the next {@linkcode quarantine} finds memory.
   *
   * @throws {UblkError} `MEMORY_LIMIT` where there is none.
   */
  reserve(): void {
    this.#spare ??= this.#map(this.#bytes);
  }

  /**
   * Gives the slot a fresh buffer, because the old one may still be written to by a Promise that
   * has missed its deadline.
   *
   * @returns A function to call once that Promise has settled; the old buffer is then released.
   * @throws {UblkError} `MEMORY_LIMIT` where there is no memory for it; the slot keeps what it has.
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
      // The first mapping is every slot's first home: it goes with the rest, at the end.
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
   * Unmaps everything, unless somebody may still write to a buffer: a Promise that never settled,
   * an operation under way, or the kernel to that of a slot that it holds (a ring that is closed is
   * cancelled only later). Then the address space is left to the process, since a stray write into
   * reused memory would be worse.
   */
  [Symbol.dispose](): void {
    if (this.quarantined > 0 || this.#slots.live > 0) return;
    for (const mapping of this.#mappings) mapping[Symbol.dispose]();
    this.#mappings.clear();
  }
}

const EMPTY = new Uint8Array(0);
