/**
 * A ring without a kernel, for tests: the same {@linkcode Ring} over ordinary memory, and a fake of
 * the kernel's side whose faults are drawn from a seed, so that a failure can be repeated.
 *
 * It is as unhelpful as the kernel may be. Completions are posted only inside `enter`, as with
 * `DEFER_TASKRUN`; they may come late and out of order; `enter` may take fewer SQEs than it was
 * offered and return before there are enough completions. And where the kernel would sleep for
 * ever the fake throws, because a test that hangs explains nothing.
 *
 * @module
 */

import { EAGAIN, EBADF, EBUSY, ECANCELED, EINTR, ETIME } from "../uapi/errno.ts";
import { assert } from "../uapi/error.ts";
import {
  IORING_ENTER_GETEVENTS,
  IORING_SQ_CQ_OVERFLOW,
  IORING_SQ_TASKRUN,
} from "../uapi/io_uring.ts";
import { IORING_CQE_F_MORE } from "../uapi/io_uring_cqe.ts";
import {
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_WRITE,
  IORING_OP_WRITE_FIXED,
  IOSQE_CQE_SKIP_SUCCESS,
  IOSQE_IO_HARDLINK,
  IOSQE_IO_LINK,
} from "../uapi/io_uring_sqe.ts";
import { IORING_REGISTER_EVENTFD } from "../uapi/io_uring_register.ts";
import { signalEventFd } from "./libc.ts";
import { type FakeFaults, FaultDice } from "./fake_faults.ts";
import { type FakeSqe, takeSqe } from "./fake_sqe.ts";
import { CQE_WORDS, Ring, type RingKernel, type RingMemory } from "./ring.ts";

export type { FakeSqe } from "./fake_sqe.ts";

const TRANSFERS = [
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_WRITE,
  IORING_OP_WRITE_FIXED,
];

/** What happens to each SQE. It may complete it at once, later, or never. */
export type FakeHandler = (sqe: FakeSqe, kernel: FakeKernel) => void;

/** How {@linkcode fakeRing} is to make the ring. */
export interface FakeRingOptions {
  /** SQEs, a power of two. */
  entries: number;
  /** How many of them are for `Ring.own`. */
  ownSqes?: number;
  /** CQEs, a power of two; twice the entries where left out. */
  cqEntries?: number;
  /** 128-byte SQEs. */
  sqe128?: boolean;
  /** Where all four indices start, for tests of the wrap-around. */
  initialIndex?: number;
  /** The seed of the faults. */
  seed?: number;
  /** The faults. */
  faults?: FakeFaults;
  /** What happens to each SQE; without it each completes with 0. */
  handler?: FakeHandler;
}

interface Completion {
  userData: number;
  kind: number;
  res: number;
  flags: number;
  /** Calls of `enter` that it is still held back. */
  delay: number;
}

/** Makes a ring and the fake kernel behind it. */
export function fakeRing(options: FakeRingOptions): { ring: Ring; kernel: FakeKernel } {
  const { entries, cqEntries = entries * 2 } = options;
  for (const count of [entries, cqEntries]) {
    assert(count > 0 && (count & (count - 1)) === 0, "a power of two of entries");
  }
  const sqeWords = options.sqe128 ? 32 : 16;
  const index = () => Uint32Array.of((options.initialIndex ?? 0) >>> 0);
  const memory: RingMemory = {
    // Not zero: whoever leaves a word of an SQE unwritten shall notice.
    sqes: new Uint32Array(entries * sqeWords).fill(0xa5a5a5a5),
    sqeWords,
    sqEntries: entries,
    sqArray: options.ownSqes === undefined ? undefined : new Uint32Array(entries).fill(0xa5a5a5a5),
    sqHead: index(),
    sqTail: index(),
    sqFlags: new Uint32Array(1),
    cqes: new Int32Array(cqEntries * CQE_WORDS).fill(0x5a5a5a5a),
    cqEntries,
    cqHead: index(),
    cqTail: index(),
  };
  const kernel = new FakeKernel(memory, options);
  return { ring: new Ring(memory, kernel, options.ownSqes), kernel };
}

/** The kernel's side of a fake ring. */
export class FakeKernel implements RingKernel {
  /** The kernel knows no such ring. */
  readonly fd: number = -1;
  /** What happens to each SQE. */
  handler: FakeHandler;
  /** The faults: which, how often so far, and their series of random numbers. */
  readonly dice: FaultDice;
  /** Called when `enter` would sleep with nothing under way: what it completes ends the sleep. */
  onIdle: () => void = () => {};
  /** Answers `io_uring_register`. */
  onRegister: (opcode: number, argument: Uint8Array<ArrayBuffer> | null, count: number) => number =
    () => 0;
  /** Calls of `enter` so far. */
  enters = 0;
  /** Time that has passed in waits that ran out, in microseconds. */
  waitedUs = 0;
  /** SQEs taken whose last completion is still to be made. */
  inFlight = 0;
  /** Whether the ring was closed. */
  closed = false;

  readonly #memory: RingMemory;
  /** Made and not yet posted, oldest first. */
  readonly #ready: Completion[] = [];
  /** Posted while the CQ was full, oldest first. */
  readonly #backlog: Completion[] = [];
  /** SQEs that wait for the one with this user data, by link, and that one's flags. */
  readonly #links = new Map<string, { flags: number; chain: FakeSqe[] }>();
  /** User data of SQEs under way that complete silently unless they fail. */
  readonly #silent = new Set<string>();
  /** Bytes that READs and WRITEs under way are to move. */
  readonly #wanted = new Map<string, number>();
  #lastCqHead: number;
  #eventFd = -1;

  /** Use {@linkcode fakeRing}. */
  constructor(memory: RingMemory, options: FakeRingOptions) {
    this.#memory = memory;
    this.dice = new FaultDice(options.seed, options.faults);
    this.handler = options.handler ?? ((sqe) => this.complete(sqe.userData, sqe.kind, 0));
    this.#lastCqHead = memory.cqHead[0];
  }

  /** Completes an SQE, or with `IORING_CQE_F_MORE` in `flags` gives one completion of several. */
  complete(userData: number, kind: number, res: number, flags = 0): void {
    assert(this.inFlight > 0, "a completion belongs to an SQE in flight");
    const key = `${userData}:${kind}`;
    // A READ or WRITE that is short severs its chain as one that failed does.
    const isFull = res >= (this.#wanted.get(key) ?? 0);
    if ((flags & IORING_CQE_F_MORE) === 0) this.#wanted.delete(key);
    if (!this.#silent.delete(key) || !isFull) this.#make(userData, kind, res, flags);
    if ((flags & IORING_CQE_F_MORE) !== 0) return;
    this.inFlight--;
    const linked = this.#links.get(key);
    if (linked === undefined) return;
    this.#links.delete(key);
    const { chain } = linked;
    if (isFull || (linked.flags & IOSQE_IO_HARDLINK) !== 0) return this.#start(chain);
    // Where one fails that would have been silent, nothing is heard of those behind it, whatever
    // their flags (`REQ_F_SKIP_LINK_CQES` in io_uring/io_uring.h and timeout.c).
    this.inFlight -= chain.length;
    if ((linked.flags & IOSQE_CQE_SKIP_SUCCESS) !== 0) return;
    for (const sqe of chain) this.#make(sqe.userData, sqe.kind, -ECANCELED, 0);
  }

  #make(userData: number, kind: number, res: number, flags: number): void {
    let delay = this.dice.strikes("delay") ? 1 + this.dice.draw(3) : 0;
    // Several completions of one SQE stay in their order.
    for (const other of this.#ready) {
      if (other.userData === userData && other.kind === kind) delay = Math.max(delay, other.delay);
    }
    this.#ready.push({ userData, kind, res, flags, delay });
    this.#setFlags();
    this.#signal();
  }

  /** `io_uring_enter`. Throws where the kernel would sleep for ever. */
  enter(toSubmit: number, minComplete: number, flags: number): number {
    return this.#enter(toSubmit, minComplete, flags, -1);
  }

  /** `io_uring_enter` with a timeout, which passes at once when nothing is under way. */
  enterTimeout(toSubmit: number, minComplete: number, flags: number, timeoutUs: number): number {
    return this.#enter(toSubmit, minComplete, flags, timeoutUs);
  }

  /**
   * `io_uring_register`: asks {@linkcode onRegister}. A registered eventfd is really signalled. The
   * fake has but its number: complete nothing once that is closed.
   */
  register(opcode: number, argument: Uint8Array<ArrayBuffer> | null, count: number): number {
    if (this.closed) return -EBADF;
    const result = this.onRegister(opcode, argument, count);
    if (result >= 0 && opcode === IORING_REGISTER_EVENTFD) {
      this.#eventFd = new Int32Array(argument!.buffer, argument!.byteOffset)[0];
    }
    return result;
  }

  /** Closes the ring; a second time is an error, as a descriptor may be somebody else's by then. */
  close(): void {
    assert(!this.closed, "a ring is closed once");
    this.closed = true;
  }

  #enter(toSubmit: number, minComplete: number, flags: number, timeoutUs: number): number {
    if (this.closed) return -EBADF;
    this.enters++;
    this.#checkIndices(toSubmit);
    if (toSubmit > 0) {
      if (this.dice.strikes("eagain")) return -EAGAIN;
      if (this.dice.strikes("ebusy")) return -EBUSY;
    }
    const taken = this.#submit(toSubmit);
    // The kernel skips the wait when it could not take everything.
    if (taken < toSubmit) return taken;
    if ((flags & IORING_ENTER_GETEVENTS) === 0) return taken;
    const waited = this.#wait(Math.min(minComplete, this.#memory.cqEntries), timeoutUs);
    // What was submitted outweighs how the wait ended.
    return taken > 0 ? taken : waited;
  }

  /** Holds the ring's indices against what the kernel relies on. */
  #checkIndices(toSubmit: number): void {
    const { sqHead, sqTail, cqHead, cqTail, sqEntries, cqEntries } = this.#memory;
    const queued = (Atomics.load(sqTail, 0) - sqHead[0]) | 0;
    assert(queued >= 0 && queued <= sqEntries, "the SQ tail is within the queue");
    assert(toSubmit === queued, "what is to be submitted is what was queued");
    const head = Atomics.load(cqHead, 0);
    const unread = (cqTail[0] - head) | 0;
    assert(unread >= 0 && unread <= cqEntries, "the CQ head is within the queue");
    assert(((head - this.#lastCqHead) | 0) >= 0, "the CQ head never goes back");
    this.#lastCqHead = head;
  }

  #submit(offered: number): number {
    let limit = offered;
    if (offered > 1 && this.dice.strikes("shortSubmit")) limit = 1 + this.dice.draw(offered - 1);
    let taken = 0;
    while (taken < offered) {
      const chain: FakeSqe[] = [];
      do {
        chain.push(takeSqe(this.#memory));
        taken++;
      } while (
        (chain[chain.length - 1].flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) !== 0 &&
        taken < offered
      );
      this.inFlight += chain.length;
      this.#start(chain);
      if (taken >= limit) break;
    }
    return taken;
  }

  /** Starts the first SQE of a chain; its completion starts or cancels the others. */
  #start(chain: FakeSqe[]): void {
    const [first, ...rest] = chain;
    const key = `${first.userData}:${first.kind}`;
    if ((first.flags & IOSQE_CQE_SKIP_SUCCESS) !== 0) this.#silent.add(key);
    if (TRANSFERS.includes(first.opcode)) this.#wanted.set(key, first.words[6]);
    if (rest.length > 0) {
      assert(!this.#links.has(key), "user data of linked SQEs is unique");
      this.#links.set(key, { flags: first.flags, chain: rest });
    }
    this.handler(first, this);
  }

  #wait(minComplete: number, timeoutUs: number): number {
    this.#post();
    while (this.#posted() < minComplete) {
      if (this.dice.strikes("eintr")) return -EINTR;
      if (this.dice.strikes("earlyReturn")) return 0;
      if (this.#ready.length === 0) {
        // The wait runs out, or the world outside has to do something.
        if (timeoutUs >= 0) {
          this.waitedUs += timeoutUs;
          return -ETIME;
        }
        this.onIdle();
        assert(this.#ready.length > 0, `the fake would hang: ${this.inFlight} in flight`);
      }
      this.#post();
    }
    return 0;
  }

  #posted(): number {
    return (this.#memory.cqTail[0] - Atomics.load(this.#memory.cqHead, 0)) | 0;
  }

  /** Moves completions to the CQ, those that overflowed first; delays count down. */
  #post(): void {
    while (this.#backlog.length > 0 && this.#posted() < this.#memory.cqEntries) {
      this.#write(this.#backlog.shift()!);
    }
    const due = this.#ready.filter((completion) => completion.delay-- <= 0);
    const held = this.#ready.filter((completion) => !due.includes(completion));
    this.#ready.splice(0, this.#ready.length, ...held);
    // Announced once more, or a server that sleeps on the eventfd would never come back for them.
    if (held.length > 0) this.#signal();
    while (due.length > 0) {
      const overtakes = due.length > 1 && this.dice.strikes("reorder");
      const drawn = due[overtakes ? 1 + this.dice.draw(due.length - 1) : 0];
      // Several completions of one SQE stay in their order.
      const first = due.findIndex(({ userData, kind }) =>
        userData === drawn.userData && kind === drawn.kind
      );
      const [completion] = due.splice(first, 1);
      // Behind others that overflowed even if there is room: the kernel keeps them in order.
      const full = this.#posted() >= this.#memory.cqEntries;
      if (full || this.#backlog.length > 0) this.#backlog.push(completion);
      else this.#write(completion);
    }
    this.#setFlags();
  }

  #write({ userData, kind, res, flags }: Completion): void {
    const { cqes, cqEntries, cqTail } = this.#memory;
    const at = (cqTail[0] & (cqEntries - 1)) * CQE_WORDS;
    cqes[at] = userData;
    cqes[at + 1] = kind;
    cqes[at + 2] = res;
    cqes[at + 3] = flags;
    Atomics.store(cqTail, 0, (cqTail[0] + 1) >>> 0);
  }

  /** As with `DEFER_TASKRUN`, the eventfd tells of completions that the next `enter` will post. */
  #signal(): void {
    if (this.#eventFd >= 0) signalEventFd(this.#eventFd);
  }

  #setFlags(): void {
    const flags = (this.#backlog.length > 0 ? IORING_SQ_CQ_OVERFLOW : 0) |
      (this.#ready.length > 0 ? IORING_SQ_TASKRUN : 0);
    Atomics.store(this.#memory.sqFlags, 0, flags);
  }
}
