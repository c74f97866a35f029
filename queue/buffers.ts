/**
 * The buffers of the copying data path: one for each tag, in which the kernel leaves a WRITE's data
 * and from which it takes a READ's.
 *
 * @module
 */

import { Mapping, pageAlign } from "../uring/mapping.ts";

/** One buffer per slot, memory taken on first touch, and views that are made once. */
export class SlotBuffers implements Disposable {
  /** The address that the kernel is given for each slot. */
  readonly addresses: Float64Array<ArrayBuffer>;
  /** Buffers that a backend's overdue Promise may still be using. */
  quarantined = 0;

  readonly #bytes: number;
  readonly #mappings = new Set<Mapping>();
  readonly #homes: Mapping[] = [];
  readonly #arrays: ArrayBuffer[] = [];
  readonly #offsets: Float64Array<ArrayBuffer>;
  // A view per slot and length, so that the steady state makes none. The last one used is kept
  // apart because a workload mostly repeats its request size.
  readonly #views: Map<number, Uint8Array<ArrayBuffer>>[] = [];
  readonly #last: Uint8Array<ArrayBuffer>[] = [];

  /** Reserves address space for `slots` buffers of `bytes` each. */
  constructor(slots: number, bytes: number) {
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

  /** The first `bytes` of the slot's buffer. */
  view(slot: number, bytes: number): Uint8Array<ArrayBuffer> {
    const last = this.#last[slot];
    if (last.length === bytes) return last;
    let view = this.#views[slot].get(bytes);
    if (view === undefined) {
      view = new Uint8Array(this.#arrays[slot], this.#offsets[slot], bytes);
      this.#views[slot].set(bytes, view);
    }
    this.#last[slot] = view;
    return view;
  }

  /**
   * Gives the slot a fresh buffer, because the old one may still be written to by a Promise that
   * has missed its deadline.
   *
   * @returns A function to call once that Promise has settled; the old buffer is then released.
   */
  quarantine(slot: number): () => void {
    const old = this.#homes[slot];
    const fresh = this.#map(this.#bytes);
    this.#homes[slot] = fresh;
    this.#arrays[slot] = fresh.buffer();
    this.#offsets[slot] = 0;
    this.addresses[slot] = fresh.address;
    this.#views[slot].clear();
    this.#last[slot] = EMPTY;
    this.quarantined++;
    return () => {
      this.quarantined--;
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
   * Unmaps everything, unless a Promise that never settled may still write to a buffer: then the
   * address space is left to the process, since a stray write into reused memory would be worse.
   */
  [Symbol.dispose](): void {
    if (this.quarantined > 0) return;
    for (const mapping of this.#mappings) mapping[Symbol.dispose]();
    this.#mappings.clear();
  }
}

const EMPTY = new Uint8Array(0);
