/**
 * Sends requests to a backend's ring methods over a real ring of this machine's kernel, without ublk: a
 * minimal serving thread.
 *
 * @module
 */

import type { Backend, RingOperations, RingRequest } from "../disk/backend.ts";
import type { BackendSpec } from "../disk/spec.ts";
import { OpenedDisk } from "../disk/opened.ts";
import { UBLK_IO_F_FUA, UBLK_IO_F_NOUNMAP, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import { Mapping } from "../uring/mapping.ts";
import { openRing } from "../uring/open_ring.ts";
import type { Ring } from "../uring/ring.ts";
import { prepFallocate, prepFsync, prepRead, prepTimeout, prepWrite } from "../uring/sqe.ts";
import { type FakeIo, FakeRequest, SECTOR_BYTES } from "./fake_request.ts";

/** One request in flight. */
interface Slot extends RingRequest {
  readonly request: FakeRequest;
  readonly data: Mapping;
  readonly metadata: Mapping;
  pending: number;
  answer: number | undefined;
}

/** An operation queued by the backend. */
export interface QueuedOperation {
  /** The operation. */
  readonly name: keyof RingOperations;
  /** The arguments of the operation. */
  readonly args: readonly number[];
}

/** A backend that receives its requests from the test. */
export class RingRequests implements RingOperations, AsyncDisposable {
  /** The opened backend. */
  readonly backend: Backend;
  /** All queued operations. */
  readonly queued: QueuedOperation[] = [];
  /** Makes transfers short: maps the requested number of bytes to the one to transfer. */
  shorten: (bytes: number) => number = (bytes) => bytes;
  /** Maximum of operations that one request had in flight. */
  widest = 0;

  readonly #ring: Ring;
  readonly #metadataSize: number;
  readonly #close: () => Promise<void>;
  readonly #slots: (Slot | undefined)[] = [];
  readonly #timespec = Mapping.anonymous(4096);
  #current = 0;

  private constructor(backend: Backend, metadataSize: number, close: () => Promise<void>) {
    this.backend = backend;
    this.#metadataSize = metadataSize;
    this.#close = close;
    this.#ring = openRing({ entries: 256 }).ring;
  }

  /** Opens the backend of a specification, as a thread for `queue` does. */
  static async open(spec: BackendSpec, metadataSize = 0, queue = 0): Promise<RingRequests> {
    const disk = await OpenedDisk.open(structuredClone(spec), { queue });
    return new RingRequests(disk.backend, metadataSize, () => disk.close());
  }

  /** Sends requests together, and waits until all are answered. */
  run(ios: readonly FakeIo[], metadata?: Uint8Array): FakeRequest[] {
    const slots = ios.map((io) => this.#start(io, metadata));
    const deadline = performance.now() + 20_000;
    while (slots.some(({ request }) => request.result === undefined)) {
      if (performance.now() > deadline) throw new Error("requests are not answered");
      this.#turn(1e6);
    }
    for (const slot of slots) {
      slot.request.data.set(new Uint8Array(slot.data.buffer(0, slot.length)));
      slot.data[Symbol.dispose]();
      slot.metadata[Symbol.dispose]();
      this.#slots[this.#slots.indexOf(slot)] = undefined;
    }
    return slots.map(({ request }) => request);
  }

  /** Sends one request, and waits for its answer. */
  io(io: FakeIo, metadata?: Uint8Array<ArrayBuffer>): FakeRequest {
    return this.run([io], metadata)[0];
  }

  /** Starts a request. Returns whether it was answered within `afterMs`. */
  isAnswered(io: FakeIo, afterMs: number): boolean {
    const { request } = this.#start(io);
    const end = performance.now() + afterMs;
    while (performance.now() < end && request.result === undefined) this.#turn(10_000);
    return request.result !== undefined;
  }

  /** The metadata read by the last READ; copied before its buffers are freed. */
  lastMetadata = new Uint8Array();

  #turn(timeoutUs: number): void {
    this.#ring.enterTimeout(1, timeoutUs);
    for (let at = this.#ring.peek(); at >= 0; at = this.#ring.peek()) {
      const index = this.#ring.cqes[at];
      const result = this.#ring.cqes[at + 2];
      this.#ring.seen();
      const slot = this.#slots[index]!;
      slot.pending--;
      this.#current = index;
      const answer = this.backend.ring!.complete(slot, result, this) as number | undefined;
      if (answer !== undefined && !(slot.answer! < 0)) slot.answer = answer;
      this.#settle(slot);
    }
  }

  #start(io: FakeIo, metadata?: Uint8Array): Slot {
    const request = new FakeRequest(0, io);
    const { op, sector, sectors, flags } = request.io;
    const length = sectors * SECTOR_BYTES;
    const slot: Slot = {
      ...{ request, op, length, offset: sector * SECTOR_BYTES, state: 0, pending: 0 },
      ...{ fua: (flags & UBLK_IO_F_FUA) !== 0, mayUnmap: (flags & UBLK_IO_F_NOUNMAP) === 0 },
      metadataLength: length / (this.backend.blockSize ?? 512) * this.#metadataSize,
      data: Mapping.anonymous(Math.max(length, 4096)),
      metadata: Mapping.anonymous(1 << 20),
      answer: undefined,
    };
    if (op === UBLK_IO_OP_WRITE) new Uint8Array(slot.data.buffer()).set(request.data);
    if (metadata !== undefined) new Uint8Array(slot.metadata.buffer()).set(metadata);
    const free = this.#slots.indexOf(undefined);
    this.#current = free < 0 ? this.#slots.length : free;
    this.#slots[this.#current] = slot;
    const answer = this.backend.ring!.prepare(slot, this) as number | undefined;
    if (answer !== undefined) slot.answer = answer;
    this.#settle(slot);
    return slot;
  }

  #settle(slot: Slot): void {
    if (slot.pending > 0) return;
    if (slot.answer === undefined) throw new Error("nothing under way, and no answer");
    this.lastMetadata = new Uint8Array(slot.metadata.buffer(0, slot.metadataLength)).slice();
    slot.request.answer(slot.answer);
  }

  #count(name: keyof RingOperations, ...args: number[]): Slot {
    this.queued.push({ name, args });
    const slot = this.#slots[this.#current]!;
    slot.pending++;
    this.widest = Math.max(this.widest, slot.pending);
    const limit = this.backend.ring!.operations ?? 4;
    if (slot.pending > limit) throw new Error(`more than ${limit} operations under way`);
    this.#ring.reserve(1);
    return slot;
  }

  read(fd: number, at: number, length: number, offset: number): void {
    const { data } = this.#count("read", fd, at, length, offset);
    const bytes = this.shorten(length);
    prepRead(this.#ring, fd, data.address + at, bytes, offset, this.#current, 0);
  }

  write(fd: number, at: number, length: number, offset: number): void {
    const { data } = this.#count("write", fd, at, length, offset);
    const bytes = this.shorten(length);
    prepWrite(this.#ring, fd, data.address + at, bytes, offset, this.#current, 0);
  }

  readMetadata(fd: number, offset: number): void {
    const { metadata, metadataLength } = this.#count("readMetadata", fd, offset);
    prepRead(this.#ring, fd, metadata.address, metadataLength, offset, this.#current, 0);
  }

  writeMetadata(fd: number, offset: number): void {
    const { metadata, metadataLength } = this.#count("writeMetadata", fd, offset);
    prepWrite(this.#ring, fd, metadata.address, metadataLength, offset, this.#current, 0);
  }

  fsync(fd: number, dataOnly: boolean): void {
    this.#count("fsync", fd, Number(dataOnly));
    prepFsync(this.#ring, fd, dataOnly, this.#current, 0);
  }

  fallocate(fd: number, mode: number, offset: number, length: number): void {
    this.#count("fallocate", fd, mode, offset, length);
    prepFallocate(this.#ring, fd, mode, offset, length, this.#current, 0);
  }

  timeout(microseconds: number): void {
    this.#count("timeout", microseconds);
    const time = new BigInt64Array(this.#timespec.buffer());
    time[0] = BigInt(Math.floor(microseconds / 1e6));
    time[1] = BigInt(Math.round((microseconds % 1e6) * 1e3));
    prepTimeout(this.#ring, this.#timespec.address, 0, this.#current, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ring[Symbol.dispose]();
    for (const slot of this.#slots) {
      slot?.data[Symbol.dispose]();
      slot?.metadata[Symbol.dispose]();
    }
    this.#timespec[Symbol.dispose]();
    await this.#close();
  }
}
