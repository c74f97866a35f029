/**
 * Slots with one command for many requests (`UBLK_F_BATCH_IO`). PREP hands all tags of a queue to
 * the kernel. A multishot FETCH delivers the tags that have requests, batch by batch. One COMMIT
 * sends all answers of a turn of the loop.
 *
 * No tag is bound to a thread. Threads may share a queue; each fetches what it can get.
 *
 * @module
 */

import { EIO, ENOBUFS } from "../uapi/errno.ts";
import { assert, fail } from "../uapi/error.ts";
import { ELEM_BUF_ADDR, ELEM_BYTES } from "../uapi/offsets.ts";
import {
  IORING_OP_URING_CMD,
  IORING_URING_CMD_MULTISHOT,
  IOSQE_BUFFER_SELECT,
  IOSQE_CQE_SKIP_SUCCESS,
  IOSQE_FIXED_FILE,
} from "../uapi/io_uring_sqe.ts";
import { IORING_CQE_F_MORE } from "../uapi/io_uring_cqe.ts";
import {
  UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK,
  UBLK_BATCH_F_HAS_BUF_ADDR,
  UBLK_BATCH_F_HAS_ZONE_LBA,
  UBLK_U_IO_COMMIT_IO_CMDS,
  UBLK_U_IO_FETCH_IO_CMDS,
  UBLK_U_IO_PREP_IO_CMDS,
} from "../uapi/ublk_batch.ts";
import { UBLK_AUTO_BUF_REG_FALLBACK } from "../uapi/ublk_buf.ts";
import { UBLK_IO_RES_ABORT } from "../uapi/ublk_io.ts";
import { BufferRing } from "../uring/buffer_ring.ts";
import { Mapping, pageAlign } from "../uring/mapping.ts";
import { type Ring, SQE_INDEX_BITS } from "../uring/ring.ts";
import { clear } from "../uring/sqe.ts";
import type { SlotPlaces } from "./data_path.ts";
import { KIND_BATCH, type OwnedQueue, Slots, type SlotsOptions } from "./slots.ts";

const TWO_32 = 0x1_0000_0000;
// V8 inlines constants of this module. It loads and checks an imported one on each use.
const INDEX_BITS = SQE_INDEX_BITS;
const KIND = KIND_BATCH;
const COMMIT = UBLK_U_IO_COMMIT_IO_CMDS | 0;
const SILENT = IOSQE_CQE_SKIP_SUCCESS << 8;
const MORE = IORING_CQE_F_MORE;

/** The command that a completion belongs to. Stored in the bits above the kind. */
const STEP_FETCH = 0;
const STEP_PREP = 1;
const STEP_COMMIT = 2;

/** Words of an element without and with an address. */
const ELEMENT_WORDS = 2;
const ADDRESSED_WORDS = 4;
assert(ELEMENT_WORDS * 4 === ELEM_BYTES, "an element is its header");
assert(ADDRESSED_WORDS * 4 === ELEM_BUF_ADDR + 8, "and the address behind it");

/**
 * Bytes of tags that one FETCH delivers before its buffer must be provided again. Small, because
 * the driver fills one FETCH of a queue before it turns to the next thread's.
 */
const FETCH_BYTES = 4096;
assert(
  FETCH_BYTES % 2 === 0 && FETCH_BYTES / 2 <= 0xffff,
  "a tag has two bytes; they are counted in 16 bits",
);
/** Two FETCHes per queue: one is active while the other's buffer is provided again. */
const FETCHES_PER_QUEUE = 2;

/** A FETCH and the tags it has delivered. */
interface Fetch {
  readonly queue: number;
  readonly base: number;
  readonly buffers: BufferRing;
  readonly tags: Uint16Array<ArrayBuffer>;
  /** Tags read so far. */
  read: number;
}

/** The elements of one PREP or COMMIT. */
interface Elements {
  readonly mapping: Mapping;
  readonly words: Uint32Array<ArrayBuffer>;
  queue: number;
  count: number;
  /** For a silent command, the position in the submission queue just behind it. */
  before: number;
}

/** Slots with one command for many requests. */
export class BatchSlots extends Slots implements Disposable {
  readonly #ring: Ring;
  readonly #charFd: number;
  readonly #opcode: number;
  readonly #queues: readonly OwnedQueue[];
  readonly #depth: number;
  readonly #fetches: Fetch[] = [];
  readonly #elements: Elements[] = [];
  /** Numbers of the free element buffers. */
  readonly #free: number[] = [];
  /** Numbers of the element buffers whose command completes only if it fails. */
  readonly #silent: number[] = [];
  /** Per queue, the number of the element buffer that collects answers, or -1. */
  readonly #collecting: Int32Array<ArrayBuffer>;
  readonly #queueOf: Uint16Array<ArrayBuffer>;
  #places: SlotPlaces = { addresses: new Float64Array(0) };
  #hasAddress = false;
  #elementWords = ELEMENT_WORDS;
  #flags = 0;

  /** Prepares the slots. The thread must own every queue whole. */
  constructor(options: SlotsOptions) {
    super(options);
    const { ring, charFd, queues, depth } = options;
    this.#ring = ring;
    this.#charFd = charFd;
    this.#opcode = IORING_OP_URING_CMD | (options.fixedFile ? IOSQE_FIXED_FILE << 8 : 0);
    for (const { first = 0, step = 1 } of queues) {
      assert(first === 0 && step === 1, "with batches a thread serves whole queues");
    }
    this.#queues = queues;
    this.#depth = depth;
    this.#collecting = new Int32Array(queues.length).fill(-1);
    this.#queueOf = Uint16Array.from({ length: this.count }, (_, slot) => Math.floor(slot / depth));
  }

  fetchAll(places: SlotPlaces, before?: (queue: number, tag: number) => void): void {
    assert(this.live === 0, "slots are handed to the kernel once");
    assert(places.addresses.length === this.count, "each slot has a place");
    this.#places = places;
    const { addresses, autoBuffers, areSectors = false } = places;
    this.#hasAddress = areSectors || addresses[0] !== 0;
    this.#elementWords = this.#hasAddress ? ADDRESSED_WORDS : ELEMENT_WORDS;
    if (areSectors) this.#flags |= UBLK_BATCH_F_HAS_ZONE_LBA;
    else if (this.#hasAddress) this.#flags |= UBLK_BATCH_F_HAS_BUF_ADDR;
    if (autoBuffers !== undefined && (autoBuffers[0] >>> 16) & UBLK_AUTO_BUF_REG_FALLBACK) {
      this.#flags |= UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK;
    }
    this.#queues.forEach((owned, index) => {
      for (let tag = 0; tag < this.#depth; tag++) before?.(owned.queue, tag);
      if (owned.prepare !== false) this.#prepare(index);
    });
    for (let index = 0; index < this.#queues.length; index++) {
      for (let nth = 0; nth < FETCHES_PER_QUEUE; nth++) this.#addFetch(index);
    }
  }

  #prepare(queueIndex: number): void {
    const number = this.#take(queueIndex);
    for (let tag = 0; tag < this.#depth; tag++) {
      this.#append(number, queueIndex * this.#depth + tag, 0);
    }
    this.#queueElements(number, UBLK_U_IO_PREP_IO_CMDS, STEP_PREP);
  }

  #addFetch(queueIndex: number): void {
    const number = this.#fetches.length;
    const buffers = new BufferRing(this.#ring, number, pageAlign(FETCH_BYTES));
    this.#fetches.push({
      queue: this.#queues[queueIndex].queue,
      base: queueIndex * this.#depth,
      buffers,
      tags: new Uint16Array(buffers.buffer),
      read: 0,
    });
    this.live++;
    this.#queueFetch(number);
  }

  #queueFetch(number: number): void {
    const fetch = this.#fetches[number];
    fetch.read = 0;
    fetch.buffers.provide();
    const at = this.#command(UBLK_U_IO_FETCH_IO_CMDS, number, STEP_FETCH);
    const sqes = this.#ring.sqes;
    sqes[at] |= IOSQE_BUFFER_SELECT << 8;
    sqes[at + 7] = IORING_URING_CMD_MULTISHOT;
    sqes[at + 10] = number;
    // struct ublk_batch_io
    sqes[at + 12] = fetch.queue;
    sqes[at + 13] = fetch.tags.length | (2 << 16);
  }

  getData(): never {
    fail("batch I/O excludes NEED_GET_DATA");
  }

  protected commit(slot: number, result: number): void {
    const queueIndex = this.#queueOf[slot];
    let number = this.#collecting[queueIndex];
    if (number < 0) this.#collecting[queueIndex] = number = this.#take(queueIndex);
    this.#append(number, slot, result);
  }

  flush(): void {
    for (let index = 0; index < this.#collecting.length; index++) {
      const number = this.#collecting[index];
      if (number < 0) continue;
      this.#collecting[index] = -1;
      const at = this.#queueElements(number, COMMIT, STEP_COMMIT);
      if (this.#elements[number].count > 1) continue;
      // A single answer either succeeds or fails as a whole, so success needs no completion. With
      // one request at a time that would be half of all completions, and each costs a system call.
      this.#ring.sqes[at] |= SILENT;
      this.#elements[number].before = this.#ring.position;
      this.#silent.push(number);
    }
  }

  batchDone(index: number, step: number, result: number, flags: number): number {
    if (step === STEP_FETCH) return this.#fetched(index, result, flags);
    const { count } = this.#elements[index];
    const expected = step === STEP_PREP ? 0 : count * this.#elementWords * 4;
    if (result === expected) {
      this.#free.push(index);
      return 0;
    }
    if (step === STEP_COMMIT) this.#commitRest(index, Math.max(0, result));
    // The buffer of a silent command is freed by #freeSilent, whatever its result.
    if (!this.#silent.includes(index)) this.#free.push(index);
    // A device that goes away takes its tags with it; that is no error.
    return result === UBLK_IO_RES_ABORT ? 0 : result < 0 ? -result : EIO;
  }

  #fetched(number: number, result: number, flags: number): number {
    const fetch = this.#fetches[number];
    if (result >= 0) {
      const end = fetch.read + (result >>> 1);
      if (end > fetch.tags.length) {
        throw fail("the kernel delivers no more tags than the buffer holds");
      }
      const path = this.path;
      for (let at = fetch.read; at < end; at++) {
        const slot = fetch.base + fetch.tags[at];
        this.requestArrived(slot);
        path.request(slot);
      }
      fetch.read = end;
    } else if (result !== -ENOBUFS) {
      this.commandReturned();
      return result === UBLK_IO_RES_ABORT ? 0 : -result;
    }
    // A FETCH ends when its buffer is full.
    if (result < 0 || (flags & MORE) === 0) this.#queueFetch(number);
    return 0;
  }

  /** The kernel stops at an element that it refuses. Commits the elements after it again. */
  #commitRest(index: number, doneBytes: number): void {
    const { words, queue, count } = this.#elements[index];
    const stride = this.#elementWords;
    const first = doneBytes / 4 / stride + 1;
    if (first >= count) return;
    const number = this.#take(queue);
    const rest = this.#elements[number];
    rest.words.set(words.subarray(first * stride, count * stride));
    rest.count = count - first;
    this.#queueElements(number, COMMIT, STEP_COMMIT);
  }

  /** Takes a free element buffer, or makes another one, and returns its number. */
  #take(queueIndex: number): number {
    this.#freeSilent();
    let number = this.#free.pop();
    if (number === undefined) {
      number = this.#elements.length;
      const mapping = Mapping.anonymous(pageAlign(this.#depth * ADDRESSED_WORDS * 4));
      const words = new Uint32Array(mapping.buffer());
      this.#elements.push({ mapping, words, queue: queueIndex, count: 0, before: 0 });
    }
    if (this.#free.length > this.#elements.length) throw fail("a buffer is let go once");
    this.#elements[number].queue = queueIndex;
    this.#elements[number].count = 0;
    return number;
  }

  /** Frees the buffers of submitted silent commands: the driver has read their elements. */
  #freeSilent(): void {
    const silent = this.#silent;
    // Commands are submitted in order, so the buffers that stay are the last ones.
    let kept = 0;
    for (let at = 0; at < silent.length; at++) {
      const number = silent[at];
      if (this.#ring.isSubmitted(this.#elements[number].before)) this.#free.push(number);
      else silent[kept++] = number;
    }
    silent.length = kept;
  }

  #append(number: number, slot: number, result: number): void {
    const elements = this.#elements[number];
    const { words } = elements;
    if (elements.count >= this.#depth) throw fail("a queue has no more answers than tags");
    const at = elements.count++ * this.#elementWords;
    const { addresses, autoBuffers } = this.#places;
    const buffer = autoBuffers === undefined ? 0 : autoBuffers[slot] & 0xffff;
    // struct ublk_elem_header, followed by the address.
    words[at] = this.tag(slot) | (buffer << 16);
    words[at + 1] = result;
    if (!this.#hasAddress) return;
    words[at + 2] = addresses[slot] >>> 0;
    words[at + 3] = addresses[slot] / TWO_32;
  }

  #queueElements(number: number, cmdOp: number, step: number): number {
    const { mapping, queue, count } = this.#elements[number];
    if (count === 0) throw fail("a command is for some slots");
    const at = this.#command(cmdOp, number, step);
    const sqes = this.#ring.sqes;
    const elementBytes = this.#elementWords * 4;
    sqes[at + 4] = mapping.address >>> 0;
    sqes[at + 5] = mapping.address / TWO_32;
    sqes[at + 6] = count * elementBytes;
    sqes[at + 12] = this.#queues[queue].queue | (this.#flags << 16);
    sqes[at + 13] = count | (elementBytes << 16);
    return at;
  }

  #command(cmdOp: number, index: number, step: number): number {
    const at = this.#ring.place() & INDEX_BITS;
    const sqes = this.#ring.sqes;
    clear(sqes, at, at + 16);
    sqes[at] = this.#opcode;
    sqes[at + 1] = this.#charFd;
    sqes[at + 2] = cmdOp | 0;
    sqes[at + 8] = index;
    sqes[at + 9] = KIND | (step << 8);
    return at;
  }

  /** Releases the memory. The ring must be closed, and the device gone. */
  [Symbol.dispose](): void {
    if (this.live > 0) return;
    for (const { buffers } of this.#fetches) buffers[Symbol.dispose]();
    for (const { mapping } of this.#elements) mapping[Symbol.dispose]();
  }
}
