/**
 * Slots whose requests come from a process on this machine, without ublk. A futex wait takes the
 * place of FETCH, and a futex wake that of the answer's way to the client.
 *
 * The memory that both share is a file of four pages: the descriptors, a word per slot to wait on,
 * a word per slot for the result, and the word that the client sleeps on (see `bed.h`). The words
 * that the ring waits on never change, so that a wait never finds that it is too late. The client
 * wakes them until one was asleep.
 *
 * @module
 */

import { fail } from "../../uapi/error.ts";
import {
  IORING_OP_FUTEX_WAIT,
  IORING_OP_FUTEX_WAKE,
  IOSQE_CQE_SKIP_SUCCESS,
} from "../../uapi/io_uring_sqe.ts";
import { Mapping, PAGE_BYTES } from "../../uring/mapping.ts";
import type { Ring } from "../../uring/ring.ts";
import { clear, put64 } from "../../uring/sqe.ts";
import { KIND_CANCEL, KIND_IO, Slots, type SlotsOptions } from "../../queue/slots.ts";

/** Bytes of the file. */
export const BED_BYTES: number = 4 * PAGE_BYTES;
const DOORS = PAGE_BYTES;
const ANSWERS = 2 * PAGE_BYTES;
const BELL = 3 * PAGE_BYTES;

const FUTEX2_SIZE_U32 = 2;
const FUTEX_BITSET_MATCH_ANY = 0xffff_ffff;

/** Slots of the bed. The options' `charFd` is the file. Its mapping stays until the process ends. */
export class BedSlots extends Slots {
  readonly #ring: Ring;
  readonly #memory: Mapping;
  readonly #answers: Int32Array<ArrayBuffer>;
  readonly #bell: Int32Array<ArrayBuffer>;
  #first = -1;
  /** There are answers that the client was not woken for. */
  #rings = false;

  /** Maps the file. */
  constructor(options: SlotsOptions) {
    super(options);
    this.#ring = options.ring;
    this.#memory = Mapping.ofFile(options.charFd, 0, BED_BYTES, {
      writable: true,
      operation: "mmap the bed",
    });
    this.#answers = new Int32Array(this.#memory.buffer(ANSWERS, PAGE_BYTES));
    this.#bell = new Int32Array(this.#memory.buffer(BELL, PAGE_BYTES));
  }

  fetchAll(): void {
    this.#first = this.#ring.own(this.count);
    if (this.#first < 0) fail("each slot has an SQE of its own");
    const { sqes } = this.#ring;
    for (let slot = 0; slot < this.count; slot++) {
      const at = this.#ring.wordOf(this.#first + slot);
      this.#fill(at, IORING_OP_FUTEX_WAIT, this.#memory.address + DOORS + this.tag(slot) * 4, 0);
      sqes[at + 8] = slot;
      sqes[at + 9] = KIND_IO;
      this.#ring.again(this.#first + slot);
      this.live++;
    }
  }

  protected commit(slot: number, result: number): void {
    this.#ring.again(this.#first + slot);
    this.#answers[this.tag(slot)] = result;
    this.#rings = true;
  }

  flush(): void {
    if (!this.#rings) return;
    this.#rings = false;
    this.#bell[0]++;
    const at = this.#ring.place();
    const wake = IORING_OP_FUTEX_WAKE | IOSQE_CQE_SKIP_SUCCESS << 8;
    this.#fill(at, wake, this.#memory.address + BELL, 1);
    this.#ring.sqes[at + 9] = KIND_CANCEL; // Should it fail: ignored.
  }

  getData(): never {
    fail("data does not travel here");
  }

  batchDone(): never {
    fail("no command here is for many slots");
  }

  #fill(at: number, opcode: number, address: number, value: number): void {
    const { sqes } = this.#ring;
    clear(sqes, at, at + 16);
    sqes[at] = opcode;
    sqes[at + 1] = FUTEX2_SIZE_U32;
    sqes[at + 2] = value;
    put64(sqes, at + 4, address);
    sqes[at + 12] = FUTEX_BITSET_MATCH_ANY;
  }
}
