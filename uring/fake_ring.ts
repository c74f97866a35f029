/**
 * A ring without a kernel, for tests: the real {@linkcode Ring} over ordinary memory, with a fake
 * of the kernel's side. Its faults are drawn from a seed, so that failures can be reproduced.
 *
 * The fake is as unhelpful as the kernel may be. Completions are posted only inside `enter`, as
 * with `DEFER_TASKRUN`. They may come late and out of order. `enter` may take fewer SQEs than
 * offered, and may return with too few completions. If the kernel would sleep for ever, the fake
 * throws instead, because a hanging test explains nothing.
 *
 * @module
 */

import { EAGAIN, EBADF, EBUSY, ECANCELED, EINTR, ETIME } from "../uapi/errno.ts";
import { assert } from "../uapi/error.ts";
import {
  IORING_CQ_EVENTFD_DISABLED,
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

/** The handler of each SQE. It may complete the SQE at once, later or never. */
export type FakeHandler = (sqe: FakeSqe, kernel: FakeKernel) => void;

/** Options of {@linkcode fakeRing}. */
export interface FakeRingOptions {
  /** Number of SQEs, a power of two. */
  entries: number;
  /** Number of SQEs for `Ring.own`. */
  ownSqes?: number;
  /**
   * Number of CQEs, a power of two.
   *
   * @default Twice the entries
   */
  cqEntries?: number;
  /** Use 128-byte SQEs. */
  sqe128?: boolean;
  /** Initial value of all four indices, for tests of the wrap-around. */
  initialIndex?: number;
  /** Seed of the faults. */
  seed?: number;
  /** The faults. */
  faults?: FakeFaults;
  /** The handler of each SQE. Without it, each completes with 0. */
  handler?: FakeHandler;
}

interface Completion {
  userData: number;
  kind: number;
  res: number;
  flags: number;
  /** Number of calls of `enter` by which it is still delayed. */
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
    // Not zero, so that an unwritten word of an SQE is noticed.
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
    cqFlags: new Uint32Array(1),
  };
  const kernel = new FakeKernel(memory, options);
  return { ring: new Ring(memory, kernel, options.ownSqes), kernel };
}

/** The kernel's side of a fake ring. */
export class FakeKernel implements RingKernel {
  /** The real kernel does not know this ring. */
  readonly fd: number = -1;
  /** The handler of each SQE. */
  handler: FakeHandler;
  /** The faults: their probabilities, counts and random numbers. */
  readonly dice: FaultDice;
  /**
   * Called when `enter` would sleep with nothing in flight. A completion made here ends the sleep.
   */
  onIdle: () => void = () => {};
  /** Answers `io_uring_register`. */
  onRegister: (opcode: number, argument: Uint8Array<ArrayBuffer> | null, count: number) => number =
    () => 0;
  /** Number of calls of `enter`. */
  enters = 0;
  /** Total time of the waits that timed out, in microseconds. */
  waitedUs = 0;
  /** Number of SQEs taken whose last completion has not been made. */
  inFlight = 0;
  /** Whether the ring was closed. */
  closed = false;

  readonly #memory: RingMemory;
  /** Completions that are not posted yet, oldest first. */
  readonly #ready: Completion[] = [];
  /** Completions posted while the CQ was full, oldest first. */
  readonly #backlog: Completion[] = [];
  /** How often the eventfd was signalled. */
  signals = 0;
  /** By user data of a linked SQE: its flags, and the SQEs that wait for it. */
  readonly #links = new Map<string, { flags: number; chain: FakeSqe[] }>();
  /** User data of SQEs in flight that complete silently unless they fail. */
  readonly #silent = new Set<string>();
  /** Lengths of the READs and WRITEs in flight, by user data. */
  readonly #wanted = new Map<string, number>();
  #lastCqHead: number;
  /** It has just taken nothing: a call that submits nothing may follow, for the completions. */
  #refused = false;
  #eventFd = -1;

  /** Use {@linkcode fakeRing}. */
  constructor(memory: RingMemory, options: FakeRingOptions) {
    this.#memory = memory;
    this.dice = new FaultDice(options.seed, options.faults);
    this.handler = options.handler ?? ((sqe) => this.complete(sqe.userData, sqe.kind, 0));
    this.#lastCqHead = memory.cqHead[0];
  }

  /** Completes an SQE. With `IORING_CQE_F_MORE` in `flags`, more completions of it may follow. */
  complete(userData: number, kind: number, res: number, flags = 0): void {
    assert(this.inFlight > 0, "a completion belongs to an SQE in flight");
    const key = `${userData}:${kind}`;
    // A short READ or WRITE breaks its chain, just like a failed one.
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
    // If a silent SQE fails, the SQEs linked behind it complete silently too, whatever their flags
    // (`REQ_F_SKIP_LINK_CQES` in io_uring/io_uring.h and timeout.c).
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

  /** `io_uring_enter`. Throws if the kernel would sleep for ever. */
  enter(toSubmit: number, minComplete: number, flags: number): number {
    return this.#enter(toSubmit, minComplete, flags, -1);
  }

  /** `io_uring_enter` with a timeout, which elapses at once if nothing is in flight. */
  enterTimeout(toSubmit: number, minComplete: number, flags: number, timeoutUs: number): number {
    return this.#enter(toSubmit, minComplete, flags, timeoutUs);
  }

  /**
   * `io_uring_register`: calls {@linkcode onRegister}. A registered eventfd is really signalled.
   * The fake knows only its number, so complete nothing after closing it.
   */
  register(opcode: number, argument: Uint8Array<ArrayBuffer> | null, count: number): number {
    if (this.closed) return -EBADF;
    const result = this.onRegister(opcode, argument, count);
    if (result >= 0 && opcode === IORING_REGISTER_EVENTFD) {
      this.#eventFd = new Int32Array(argument!.buffer, argument!.byteOffset)[0];
    }
    return result;
  }

  /**
   * Closes the ring. Closing twice is an error: the descriptor may belong to something else by
   * then.
   */
  close(): void {
    assert(!this.closed, "a ring is closed once");
    this.closed = true;
  }

  #enter(toSubmit: number, minComplete: number, flags: number, timeoutUs: number): number {
    if (this.closed) return -EBADF;
    this.enters++;
    this.#checkIndices(toSubmit);
    if (toSubmit > 0) {
      this.#refused = true;
      if (this.dice.strikes("eagain")) return -EAGAIN;
      if (this.dice.strikes("ebusy")) return -EBUSY;
      this.#refused = false;
    }
    const taken = this.#submit(toSubmit);
    // The kernel skips the wait when it could not take everything.
    if (taken < toSubmit) return taken;
    if ((flags & IORING_ENTER_GETEVENTS) === 0) return taken;
    const waited = this.#wait(Math.min(minComplete, this.#memory.cqEntries), timeoutUs);
    // A submission takes precedence over the result of the wait.
    return taken > 0 ? taken : waited;
  }

  /** Checks the properties of the ring's indices that the kernel relies on. */
  #checkIndices(toSubmit: number): void {
    const { sqHead, sqTail, cqHead, cqTail, sqEntries, cqEntries } = this.#memory;
    const queued = (Atomics.load(sqTail, 0) - sqHead[0]) | 0;
    assert(queued >= 0 && queued <= sqEntries, "the SQ tail is within the queue");
    const mayWait = toSubmit === 0 && this.#refused;
    assert(toSubmit === queued || mayWait, "what is to be submitted is what was queued");
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
        // The wait times out, or the test has to do something.
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

  /** Moves completions to the CQ, overflowed ones first, and counts delays down. */
  #post(): void {
    while (this.#backlog.length > 0 && this.#posted() < this.#memory.cqEntries) {
      this.#write(this.#backlog.shift()!);
    }
    const due = this.#ready.filter((completion) => completion.delay-- <= 0);
    const held = this.#ready.filter((completion) => !due.includes(completion));
    this.#ready.splice(0, this.#ready.length, ...held);
    // Signal once more, or a server that sleeps on the eventfd would never come back for them.
    if (held.length > 0) this.#signal();
    while (due.length > 0) {
      const overtakes = due.length > 1 && this.dice.strikes("reorder");
      const drawn = due[overtakes ? 1 + this.dice.draw(due.length - 1) : 0];
      // Several completions of one SQE stay in their order.
      const first = due.findIndex(({ userData, kind }) =>
        userData === drawn.userData && kind === drawn.kind
      );
      const [completion] = due.splice(first, 1);
      // Queue behind other overflowed completions even if there is room: the kernel keeps the
      // order.
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

  /**
   * Signals the eventfd for completions that the next `enter` will post, as with `DEFER_TASKRUN`.
   */
  #signal(): void {
    if (this.#eventFd < 0 || this.#memory.cqFlags[0] === IORING_CQ_EVENTFD_DISABLED) return;
    this.signals++;
    signalEventFd(this.#eventFd);
  }

  #setFlags(): void {
    const flags = (this.#backlog.length > 0 ? IORING_SQ_CQ_OVERFLOW : 0) |
      (this.#ready.length > 0 ? IORING_SQ_TASKRUN : 0);
    Atomics.store(this.#memory.sqFlags, 0, flags);
  }
}
