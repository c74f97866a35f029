/**
 * A fake ublk driver for tests without a kernel. It answers the commands that a server puts on a
 * {@linkcode fakeRing}, delivers requests created by a test, copies their data where the driver would,
 * and checks every command against the driver's rules.
 *
 * The rules are those of `__ublk_ch_uring_cmd` in `drivers/block/ublk_drv.c` (`fake_rules.ts`). The fake
 * answers with the driver's errnos and also records each as a violation, because a correct server never
 * gets one.
 *
 * Addresses in commands are real: the fake reads and writes this process's memory.
 *
 * @module
 */

import { E2BIG, EBUSY, EINVAL, EIO, ENODEV } from "../uapi/errno.ts";
import { IORING_OP_READ, IORING_OP_URING_CMD, IORING_OP_WRITE } from "../uapi/io_uring_sqe.ts";
import {
  UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK,
  UBLK_U_IO_FETCH_IO_CMDS,
  UBLK_U_IO_PREP_IO_CMDS,
} from "../uapi/ublk_batch.ts";
import {
  UBLK_AUTO_BUF_REG_FALLBACK,
  UBLK_U_IO_REGISTER_IO_BUF,
  UBLK_U_IO_UNREGISTER_IO_BUF,
} from "../uapi/ublk_buf.ts";
import {
  UBLK_IO_F_NEED_REG_BUF,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_ZONE_APPEND,
  UBLK_IO_RES_NEED_GET_DATA,
  UBLK_IO_RES_OK,
  UBLK_U_IO_COMMIT_AND_FETCH_REQ,
  UBLK_U_IO_NEED_GET_DATA,
} from "../uapi/ublk_io.ts";
import type { FakeKernel, FakeSqe } from "../uring/fake_ring.ts";
import { bufferAt } from "../uring/mapping.ts";
import { batchElements, FakeBatchQueue, FakeBufferGroups } from "./fake_batch.ts";
import { FakeBuffers } from "./fake_buffers.ts";
import type { FakeFile } from "./fake_file.ts";
import { type FakeIo, FakeRequest, SECTOR_BYTES } from "./fake_request.ts";
import { copyPlace, userCopy } from "./fake_user_copy.ts";
import { KIND_ASK, KIND_BACKEND } from "../queue/slots.ts";
import { copyIn, DESC_WORDS, describe } from "./fake_describe.ts";
import {
  foreign,
  refusal,
  type Rules,
  wrongElements,
  wrongFetch,
  wrongResults,
} from "./fake_rules.ts";
import {
  FAKE_CHAR_FD,
  type FakeDataMode,
  type FakeUblkFaults,
  type FakeUblkOptions,
  type GetDataFault,
  newSlot,
  type Slot,
} from "./fake_slot.ts";

const TWO_32 = 0x1_0000_0000;

/** A fake ublk device. */
export class FakeUblk {
  /** The descriptors of each queue, as mapped from `/dev/ublkcN`. */
  readonly descriptors: readonly Uint32Array<ArrayBuffer>[];
  /** The server's violations of the driver's rules. A correct server has none. */
  readonly violations: string[] = [];
  /** All requests so far. */
  readonly requests: FakeRequest[] = [];
  /** SQEs that are not ublk commands, such as the READ of a wake-up eventfd. */
  readonly foreign: FakeSqe[] = [];
  /** The fault of the next GET_DATA. */
  getDataFault: GetDataFault | undefined;
  /** The faults to inject next. */
  faults: FakeUblkFaults = {};
  /** The registered buffers of requests' pages. */
  readonly buffers = new FakeBuffers();
  /** The FETCHes of each queue, with batch I/O. */
  readonly batches: readonly FakeBatchQueue[];
  /** Number of commands so far, by opcode. */
  readonly commands = new Map<number, number>();

  readonly #slots: Slot[][];
  readonly #waiting: FakeRequest[][];
  readonly #data: FakeDataMode;
  readonly #rules: Rules;
  readonly #requeued: FakeRequest[] = [];
  readonly #groups = new FakeBufferGroups();
  readonly #isBatch: boolean;
  readonly #fetchBytes: number;
  readonly #file: FakeFile | undefined;
  #stopping = false;
  #isGone = false;
  #plugged = false;

  /** A device of which no tag has been fetched. */
  constructor(options: FakeUblkOptions) {
    const { queues = 1, depth } = options;
    this.#data = options.data ?? "copy";
    this.#isBatch = options.batch ?? false;
    this.#rules = { data: this.#data, depth, isZoned: options.zoned ?? false };
    this.#fetchBytes = options.fetchBytes ?? Infinity;
    this.#file = options.file;
    const perQueue = <T>(make: (queue: number) => T) =>
      Array.from({ length: queues }, (_, q) => make(q));
    this.descriptors = perQueue(() => new Uint32Array(depth * DESC_WORDS));
    this.#waiting = perQueue(() => []);
    this.batches = perQueue(() => new FakeBatchQueue());
    this.#slots = perQueue((queue) =>
      Array.from({ length: depth }, (_, tag) => newSlot(queue, tag))
    );
  }

  /** The handler for {@linkcode fakeRing}; several rings may share the device. */
  readonly handler = (sqe: FakeSqe, kernel: FakeKernel): void => {
    if (sqe.opcode !== IORING_OP_URING_CMD) return this.#other(sqe, kernel);
    this.commands.set(sqe.cmdOp, (this.commands.get(sqe.cmdOp) ?? 0) + 1);
    const result = this.#buffer(sqe, kernel) ??
      (this.#isBatch ? this.#batch(sqe, kernel) : this.#command(sqe, kernel));
    if (result !== undefined) kernel.complete(sqe.userData, sqe.kind, result);
    if (this.#isBatch) this.#pump();
  };

  /** Tracks a ring's buffers. Call it before any are registered. */
  attach(kernel: FakeKernel): void {
    kernel.onRegister = (opcode, argument) => {
      if (argument === null) return 0;
      this.buffers.onRegister(kernel, opcode, argument);
      this.#groups.onRegister(kernel, opcode, argument);
      return 0;
    };
  }

  /** Whether every tag has been fetched, so that START_DEV would return. */
  get ready(): boolean {
    return this.#slots.every((slots) => slots.every((slot) => slot.state !== "new"));
  }

  /** Number of tags that the server holds. */
  get heldByServer(): number {
    const held = (slot: Slot) => slot.state === "server" || slot.state === "needData";
    return this.#slots.flat().filter(held).length;
  }

  /** With batch I/O: delivers all requests of `submit` together. */
  plug<T>(submit: () => T): T {
    this.#plugged = true;
    const result = submit();
    this.#plugged = false;
    this.#pump();
    return result;
  }

  /** Gives a request to the first free tag of a queue, or lets it wait for one. */
  submitIo(queue: number, io: FakeIo): FakeRequest {
    const request = new FakeRequest(queue, io);
    this.requests.push(request);
    this.#start(request);
    return request;
  }

  /** Resends the requests that a GET_DATA fault removed from their tags. */
  kickRequeued(): void {
    for (const request of this.#requeued.splice(0)) this.#start(request);
  }

  /** Ends STOP_DEV: fails waiting requests, and aborts every command that the driver holds. */
  stop(): void {
    this.#stopping = true;
    for (const waiting of this.#waiting) {
      for (const request of waiting.splice(0)) request.answer(-EIO);
    }
    if (this.#isBatch) return this.#pump();
    for (const slot of this.#slots.flat()) if (slot.state === "active") this.#abort(slot);
  }

  /**
   * Asserts that each request was answered exactly once, without violations.
   *
   * @throws {Error} With a list of all problems.
   */
  assertAnsweredOnce(): void {
    const wrong = [...this.violations];
    if (this.buffers.count > 0) wrong.push(`${this.buffers.count} buffers are left registered`);
    this.requests.forEach(({ results, queue, tag, io }, index) => {
      if (results.length === 1) return;
      const what = `request ${index} (queue ${queue} tag ${tag} op ${io.op})`;
      wrong.push(`${what} was answered ${results.length} times: ${results}`);
    });
    if (wrong.length > 0) throw new Error(`assertion failed: ${wrong.join("; ")}`);
  }

  #start(request: FakeRequest): void {
    if (this.#stopping) return request.answer(-EIO);
    const slot = this.#slots[request.queue].find((slot) => slot.state === "active");
    if (slot === undefined) this.#waiting[request.queue].push(request);
    else this.#give(slot, request);
    if (this.#isBatch) this.#pump();
  }

  #violated(sqe: FakeSqe, queue: number, tag: number, why: string): void {
    const what = sqe.opcode === IORING_OP_URING_CMD
      ? `command 0x${sqe.cmdOp.toString(16)}`
      : "copy";
    this.violations.push(`queue ${queue} tag ${tag} ${what}: ${why}`);
  }

  /** Handles copies by the server, and operations that do not concern the driver. */
  #other(sqe: FakeSqe, kernel: FakeKernel): void {
    const isCopy = sqe.opcode === IORING_OP_READ || sqe.opcode === IORING_OP_WRITE;
    if (!isCopy || sqe.fd !== FAKE_CHAR_FD) {
      if (this.#file === undefined || sqe.kind !== KIND_BACKEND) this.foreign.push(sqe);
      else this.#file.start(sqe, kernel, this.buffers);
      return;
    }
    const place = copyPlace(sqe);
    const slot = this.#slots[place.queue]?.[place.tag];
    const { copy } = this.faults;
    delete this.faults.copy;
    let result: ReturnType<typeof userCopy>;
    if (this.#data !== "userCopy") result = [-EINVAL, "no user copy"];
    else if (slot?.state !== "server") result = [-EINVAL, "the server holds no request"];
    else if (copy !== undefined && copy < 0) result = copy;
    else result = userCopy(sqe, place, slot.request!, copy);
    if (typeof result !== "number") this.#violated(sqe, place.queue, place.tag, result[1]);
    kernel.complete(sqe.userData, sqe.kind, typeof result === "number" ? result : result[0]);
  }

  /** Handles a buffer command. Returns its result, or undefined for other commands. */
  #buffer(sqe: FakeSqe, kernel: FakeKernel): number | undefined {
    const { cmdOp, words } = sqe;
    const isRegister = cmdOp === UBLK_U_IO_REGISTER_IO_BUF;
    if (!isRegister && cmdOp !== UBLK_U_IO_UNREGISTER_IO_BUF) return undefined;
    const [queue, tag, index] = [words[12] & 0xffff, words[12] >>> 16, words[14]];
    const slot = this.#slots[queue]?.[tag];
    const fault = isRegister ? this.faults.register : this.faults.unregister;
    let errno: number;
    if (this.#data !== "zeroCopy" && this.#data !== "autoBuffersOrZeroCopy") errno = EINVAL;
    else if (!isRegister) errno = this.buffers.unregister(kernel, index);
    else if (slot?.state !== "server") errno = EBUSY;
    else if (slot.request!.data.length === 0) errno = EINVAL;
    else if (fault !== undefined) errno = 0;
    else errno = this.buffers.register(kernel, index, slot.request!);
    if (errno !== 0) this.#violated(sqe, queue, tag, `refused with errno ${errno}`);
    else if (fault !== undefined) {
      delete this.faults[isRegister ? "register" : "unregister"];
      errno = fault;
    }
    return -errno;
  }

  /** Handles a batch command. Returns its result, or undefined for a FETCH, which is held. */
  #batch(sqe: FakeSqe, kernel: FakeKernel): number | undefined {
    const { cmdOp, words } = sqe;
    const [queue, flags] = [words[12] & 0xffff, words[12] >>> 16];
    const [count, elementBytes] = [words[13] & 0xffff, words[13] >>> 16];
    const batch = this.batches[queue];
    const isFetch = cmdOp === UBLK_U_IO_FETCH_IO_CMDS;
    const wrong = batch === undefined
      ? "no such queue"
      : words[14] !== 0 || words[15] !== 0
      ? "reserved is not 0"
      : isFetch
      ? wrongFetch(sqe, flags, elementBytes)
      : wrongElements(this.#rules, { cmdOp, flags, count, elementBytes });
    if (wrong !== undefined) {
      this.#violated(sqe, queue, -1, wrong);
      return wrong === "too many elements" ? -E2BIG : -EINVAL;
    }
    if (!isFetch) return this.#elements(sqe, kernel, queue, flags);
    const buffer = this.#groups.of(kernel, words[10] & 0xffff);
    if (this.#isGone || buffer === undefined) return -ENODEV;
    batch.attach(sqe, kernel, buffer);
    return undefined;
  }

  #elements(sqe: FakeSqe, kernel: FakeKernel, queue: number, flags: number): number {
    const elements = batchElements(sqe);
    const isPrep = sqe.cmdOp === UBLK_U_IO_PREP_IO_CMDS;
    const fallback = (flags & UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK) !== 0;
    let done = 0;
    let errno = 0;
    for (const { tag, bufferIndex, result, address } of elements) {
      const slot = this.#slots[queue][tag];
      const refused = slot?.state !== (isPrep ? "new" : "server");
      if (this.faults.commitTag === tag && !isPrep) {
        delete this.faults.commitTag;
        errno = EBUSY;
        break;
      }
      if (refused || (this.#data === "copy" && address === 0)) {
        this.#violated(sqe, queue, tag, refused ? `is ${slot?.state}` : "no address");
        errno = refused ? EBUSY : EINVAL;
        break;
      }
      slot.address = address;
      this.#becomeActive(slot, kernel, bufferIndex | (fallback ? 1 << 16 : 0), result, !isPrep);
      done++;
    }
    if (isPrep) return -errno;
    return done === 0 ? -errno : done * (sqe.words[13] >>> 16);
  }

  /** With batch I/O: assigns requests to tags and tags to FETCHes. Ends an idle, stopping device. */
  #pump(): void {
    if (this.#plugged) return;
    this.batches.forEach((batch, queue) => {
      if (this.#slots[queue].some(({ state }) => state === "new")) return;
      batch.dispatch((tag, kernel) => {
        const slot = this.#slots[queue][tag];
        slot.kernel = kernel;
        const { request } = slot;
        this.#dispatch(slot, request!);
        return request === slot.request;
      }, this.#fetchBytes);
    });
    // `del_gendisk` waits for every request before the FETCHes are cancelled.
    const isIdle = this.#slots.flat().every(({ state }) =>
      state !== "server" && state !== "queued"
    );
    if (!this.#stopping || !isIdle) return;
    this.#isGone = true;
    for (const batch of this.batches) batch.abort();
  }

  /** Handles a command. Returns its result, or undefined if it is held. */
  #command(sqe: FakeSqe, kernel: FakeKernel): number | undefined {
    const { words } = sqe;
    const [queue, tag] = [words[12] & 0xffff, words[12] >>> 16];
    const address = words[14] + words[15] * TWO_32;
    const slot = this.#slots[queue]?.[tag];
    // Not a violation: this command is meant to be refused, and its errno is the answer.
    if (sqe.kind === KIND_ASK) return slot.state === "server" ? -EINVAL : -EBUSY;
    const refused = refusal(this.#rules, slot, sqe, address, () => this.ready) ??
      foreign(this.#rules, slot, sqe, kernel);
    if (refused !== undefined) {
      const [errno, why] = refused;
      this.#violated(sqe, queue, tag, why);
      return -errno;
    }
    slot.userData = sqe.userData;
    slot.kind = sqe.kind;
    slot.address = address;
    if (sqe.cmdOp === UBLK_U_IO_NEED_GET_DATA) {
      this.#getData(slot);
      return undefined;
    }
    const isCommit = sqe.cmdOp === UBLK_U_IO_COMMIT_AND_FETCH_REQ;
    this.#becomeActive(slot, kernel, words[4], words[13] | 0, isCommit);
    return undefined;
  }

  /** Gives the slot to the driver, after a FETCH, a COMMIT, or an element of a batch. */
  #becomeActive(
    slot: Slot,
    kernel: FakeKernel,
    autoBuffer: number,
    result: number,
    isCommit: boolean,
  ): void {
    const { request } = slot;
    slot.state = "active";
    slot.request = undefined;
    // Only for the ring in which it was registered.
    if (slot.isRegistered && slot.kernel === kernel) {
      this.buffers.unregister(kernel, slot.autoBuffer & 0xffff);
    }
    slot.isRegistered = false;
    slot.autoBuffer = autoBuffer;
    slot.kernel = kernel;
    if (isCommit) this.#commit(slot, request!, result);
    if (this.#stopping && !this.#isBatch) return this.#abort(slot);
    const next = this.#waiting[slot.queue].shift();
    if (next !== undefined) this.#give(slot, next);
  }

  /** Assigns a request to a tag. */
  #give(slot: Slot, request: FakeRequest): void {
    slot.request = request;
    request.tag = slot.tag;
    if (!this.#isBatch) return this.#dispatch(slot, request);
    slot.state = "queued";
    this.batches[slot.queue].waiting.push(slot.tag);
  }

  #commit(slot: Slot, request: FakeRequest, result: number): void {
    const { op, sectors } = request.io;
    const bytes = sectors * SECTOR_BYTES;
    this.violations.push(...wrongResults(slot, request, result));
    if (op === UBLK_IO_OP_ZONE_APPEND) request.landed = slot.address;
    const isMapped = this.#data === "copy" || this.#data === "needGetData";
    if (op === UBLK_IO_OP_READ && result > 0 && isMapped && request.shared === undefined) {
      request.data.set(new Uint8Array(bufferAt(slot.address, Math.min(result, bytes))));
    }
    request.answer(result);
  }

  #dispatch(slot: Slot, request: FakeRequest): void {
    const { op } = request.io;
    const isWrite = op === UBLK_IO_OP_WRITE;
    if (isWrite && this.#data === "needGetData") {
      describe(this.descriptors[slot.queue], slot, request, this.#data);
      slot.state = "needData";
      this.#complete(slot, UBLK_IO_RES_NEED_GET_DATA);
      return;
    }
    if (isWrite && this.#data === "copy") copyIn(slot, request, request.data.length);
    describe(this.descriptors[slot.queue], slot, request, this.#data);
    const hasData = isWrite || op === UBLK_IO_OP_READ;
    if (hasData && this.#data.startsWith("autoBuffers") && !this.#register(slot, request)) return;
    slot.state = "server";
    if (!this.#isBatch) this.#complete(slot, UBLK_IO_RES_OK);
  }

  /** Registers a request's pages automatically. Returns false if it ends the request instead. */
  #register(slot: Slot, request: FakeRequest): boolean {
    const index = slot.autoBuffer & 0xffff;
    const errno = this.faults.register ?? this.buffers.register(slot.kernel!, index, request);
    delete this.faults.register;
    slot.isRegistered = errno === 0;
    if (errno === 0) return true;
    if (((slot.autoBuffer >>> 16) & UBLK_AUTO_BUF_REG_FALLBACK) !== 0) {
      this.descriptors[slot.queue][slot.tag * DESC_WORDS] |= UBLK_IO_F_NEED_REG_BUF;
      return true;
    }
    slot.state = "active";
    slot.request = undefined;
    request.answer(-EIO);
    const next = this.#waiting[slot.queue].shift();
    if (next !== undefined) this.#give(slot, next);
    return false;
  }

  #getData(slot: Slot): void {
    const request = slot.request!;
    const fault = this.getDataFault;
    this.getDataFault = undefined;
    if (fault === "requeue") {
      slot.state = "active";
      slot.request = undefined;
      this.#requeued.push(request);
      return;
    }
    slot.state = "server";
    const sectors = fault?.sectors ?? request.io.sectors;
    copyIn(slot, request, sectors * SECTOR_BYTES);
    // A partial copy only shrinks the descriptor.
    describe(this.descriptors[slot.queue], slot, request, this.#data);
    this.descriptors[slot.queue][slot.tag * DESC_WORDS + 1] = sectors;
    this.#complete(slot, UBLK_IO_RES_OK);
  }

  #abort(slot: Slot): void {
    slot.state = "gone";
    this.#complete(slot, -ENODEV);
  }

  #complete(slot: Slot, result: number): void {
    slot.kernel!.complete(slot.userData, slot.kind, result);
  }
}
