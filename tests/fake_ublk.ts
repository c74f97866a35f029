/**
 * A fake ublk driver for tests without a kernel. It answers the commands that a server puts on a
 * {@linkcode fakeRing}, delivers requests created by a test, copies their data where the driver would,
 * and checks every command against the driver's rules.
 *
 * The rules are those of `__ublk_ch_uring_cmd` in `drivers/block/ublk_drv.c`. The fake answers with the
 * driver's errnos and also records each as a violation, because a correct server never gets one.
 *
 * Addresses in commands are real: the fake reads and writes this process's memory.
 *
 * @module
 */

import { E2BIG, EBUSY, EINVAL, EIO, ENODEV } from "../uapi/errno.ts";
import {
  IORING_OP_READ,
  IORING_OP_URING_CMD,
  IORING_OP_WRITE,
  IORING_URING_CMD_MULTISHOT,
  IOSQE_BUFFER_SELECT,
} from "../uapi/io_uring_sqe.ts";
import { IO_DESC_BYTES } from "../uapi/offsets.ts";
import {
  UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK,
  UBLK_BATCH_F_HAS_BUF_ADDR,
  UBLK_BATCH_F_HAS_ZONE_LBA,
  UBLK_U_IO_COMMIT_IO_CMDS,
  UBLK_U_IO_FETCH_IO_CMDS,
  UBLK_U_IO_PREP_IO_CMDS,
} from "../uapi/ublk_batch.ts";
import {
  UBLK_AUTO_BUF_REG_F_MASK,
  UBLK_AUTO_BUF_REG_FALLBACK,
  UBLK_U_IO_REGISTER_IO_BUF,
  UBLK_U_IO_UNREGISTER_IO_BUF,
} from "../uapi/ublk_buf.ts";
import {
  UBLK_IO_F_INTEGRITY,
  UBLK_IO_F_NEED_REG_BUF,
  UBLK_IO_F_SHMEM_ZC,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_REPORT_ZONES,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
  UBLK_IO_OP_ZONE_APPEND,
  UBLK_IO_RES_NEED_GET_DATA,
  UBLK_IO_RES_OK,
  UBLK_U_IO_COMMIT_AND_FETCH_REQ,
  UBLK_U_IO_FETCH_REQ,
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

const TWO_32 = 0x1_0000_0000;
const DESC_WORDS = IO_DESC_BYTES / 4;

/** The data path, by the driver's feature flags. */
export type FakeDataMode =
  | "copy"
  | "needGetData"
  | "userCopy"
  | "zeroCopy"
  | "autoBuffers"
  /** Both of the previous two. */
  | "autoBuffersOrZeroCopy";

/** The char device's descriptor. */
export const FAKE_CHAR_FD = 3;

/** The state of a slot's command. */
type SlotState =
  /** Never fetched. */
  | "new"
  /** The driver holds a command (`UBLK_IO_FLAG_ACTIVE`) and may complete it with a request. */
  | "active"
  /** With batch I/O: a request waits to be fetched. */
  | "queued"
  /** The server holds the request (`UBLK_IO_FLAG_OWNED_BY_SRV`). */
  | "server"
  /** As "server", but the server must ask for the WRITE's data. */
  | "needData"
  /** The driver completed the command with -ENODEV. */
  | "gone";

interface Slot {
  state: SlotState;
  queue: number;
  tag: number;
  address: number;
  /** For automatic registration: the index in the low 16 bits, the flags above. */
  autoBuffer: number;
  /** Whether the driver has registered the request's pages. */
  isRegistered: boolean;
  request: FakeRequest | undefined;
  // The command that the driver holds.
  userData: number;
  kind: number;
  kernel: FakeKernel | undefined;
}

/** Options of {@linkcode FakeUblk}. */
export interface FakeUblkOptions {
  /**
   * Hardware queues.
   *
   * @default 1
   */
  queues?: number;
  /** Tags per queue. */
  depth: number;
  /**
   * The data path.
   *
   * @default "copy"
   */
  data?: FakeDataMode;
  /** `UBLK_F_BATCH_IO`. */
  batch?: boolean;
  /** `UBLK_F_ZONED`. */
  zoned?: boolean;
  /** Bytes after which a FETCH's buffer counts as consumed, even if it has more. */
  fetchBytes?: number;
  /** Receives SQEs that are neither ublk commands nor reads of the eventfd for orders. */
  file?: FakeFile;
}

/** Faults to inject once: an errno or, for copies, a number of bytes copied. */
export interface FakeUblkFaults {
  /** The result of a copy by the server. */
  copy?: number;
  /** The errno of REGISTER_IO_BUF, or of the driver's own registration. */
  register?: number;
  /** The errno of UNREGISTER_IO_BUF. */
  unregister?: number;
  /** The tag whose element of a batch COMMIT is refused. */
  commitTag?: number;
}

/**
 * A failure of GET_DATA when memory is short. With `sectors` only that many are copied, and the server
 * sees only a shrunk descriptor. With `requeue` nothing is copied and the request leaves the tag. Then
 * the driver completes the GET_DATA that it still holds with the next request, until
 * {@linkcode FakeUblk.kickRequeued} brings the old one back.
 */
export type GetDataFault = { sectors: number } | "requeue";

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
  readonly #requeued: FakeRequest[] = [];
  readonly #groups = new FakeBufferGroups();
  readonly #isBatch: boolean;
  readonly #isZoned: boolean;
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
    this.#isZoned = options.zoned ?? false;
    this.#fetchBytes = options.fetchBytes ?? Infinity;
    this.#file = options.file;
    const perQueue = <T>(make: (queue: number) => T) =>
      Array.from({ length: queues }, (_, q) => make(q));
    this.descriptors = perQueue(() => new Uint32Array(depth * DESC_WORDS));
    this.#waiting = perQueue(() => []);
    this.batches = perQueue(() => new FakeBatchQueue());
    this.#slots = perQueue((queue) =>
      Array.from({ length: depth }, (_, tag): Slot => ({
        state: "new",
        queue,
        tag,
        address: 0,
        autoBuffer: 0,
        isRegistered: false,
        request: undefined,
        userData: 0,
        kind: 0,
        kernel: undefined,
      }))
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
      ? this.#wrongFetch(sqe, flags, elementBytes)
      : this.#wrongElements(cmdOp, flags, count, elementBytes);
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

  #wrongFetch({ flags: sqeFlags, words }: FakeSqe, flags: number, elementBytes: number) {
    if (words[7] !== IORING_URING_CMD_MULTISHOT) return "not multishot";
    if ((sqeFlags & IOSQE_BUFFER_SELECT) === 0) return "no buffer is selected";
    if (elementBytes !== 2) return "tags have two bytes";
    return flags === 0 ? undefined : "flags";
  }

  #wrongElements(cmdOp: number, flags: number, count: number, elementBytes: number) {
    if (cmdOp !== UBLK_U_IO_PREP_IO_CMDS && cmdOp !== UBLK_U_IO_COMMIT_IO_CMDS) {
      return "no such command with batch I/O";
    }
    if (count > this.#slots[0].length) return "too many elements";
    const hasAddress = (flags & UBLK_BATCH_F_HAS_BUF_ADDR) !== 0;
    const hasSector = (flags & UBLK_BATCH_F_HAS_ZONE_LBA) !== 0;
    if (hasSector && !this.#isZoned) return "a zone's sector";
    const fallsBack = (flags & UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK) !== 0;
    if (hasAddress && this.#data !== "copy") return "an address";
    if (fallsBack && !this.#data.startsWith("autoBuffers")) return "a fallback";
    return elementBytes === 8 + (hasAddress ? 8 : 0) + (hasSector ? 8 : 0)
      ? undefined
      : "the element's size";
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
    const refused = this.#refusal(slot, sqe, address) ?? this.#foreign(slot, sqe, kernel);
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

  #foreign(slot: Slot, sqe: FakeSqe, kernel: FakeKernel): [number, string] | undefined {
    const isFetch = sqe.cmdOp === UBLK_U_IO_FETCH_REQ;
    if (!isFetch && slot.kernel !== kernel) return [EINVAL, "the tag is another thread's"];
    const isAuto = this.#data.startsWith("autoBuffers");
    const flags = sqe.words[4] >>> 16;
    const isSound = (flags & ~UBLK_AUTO_BUF_REG_F_MASK) === 0 && sqe.words[5] === 0;
    return isAuto && !isSound ? [EINVAL, "the buffer to register is garbage"] : undefined;
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

  #refusal(
    slot: Slot | undefined,
    { cmdOp }: FakeSqe,
    address: number,
  ): [number, string] | undefined {
    if (slot === undefined) return [EINVAL, "no such slot"];
    if (slot.state === "gone") return [ENODEV, "after the tag was aborted"];
    if (slot.state === "active") return [EBUSY, "the driver already holds one"];
    if ((slot.state === "needData") !== (cmdOp === UBLK_U_IO_NEED_GET_DATA)) {
      return [EINVAL, `the tag is in state ${slot.state}`];
    }
    if (address > Number.MAX_SAFE_INTEGER) return [EINVAL, "the address is garbage"];
    const isMapped = this.#data === "copy" || this.#data === "needGetData";
    const isAppend = this.#isZoned && slot.request?.io.op === UBLK_IO_OP_ZONE_APPEND;
    if (!isMapped && !isAppend && address !== 0) return [EINVAL, "an address where none is used"];
    switch (cmdOp) {
      case UBLK_U_IO_FETCH_REQ:
        if (this.ready) return [EBUSY, "no tag is left to fetch"];
        if (slot.state !== "new") return [EINVAL, "the server holds a request"];
        if (this.#data === "copy" && address === 0) return [EINVAL, "no address"];
        return undefined;
      case UBLK_U_IO_COMMIT_AND_FETCH_REQ: {
        if (slot.state !== "server") return [EINVAL, "the server holds no request"];
        const isRead = slot.request!.io.op === UBLK_IO_OP_READ;
        const needsAddress = this.#data === "copy" || (this.#data === "needGetData" && isRead);
        // The driver requires an address even for a failed READ.
        return needsAddress && address === 0 ? [EINVAL, "no address"] : undefined;
      }
      case UBLK_U_IO_NEED_GET_DATA:
        return undefined;
    }
    return [EINVAL, "no such command"];
  }

  #commit(slot: Slot, request: FakeRequest, result: number): void {
    const { op, sectors } = request.io;
    const where = `queue ${slot.queue} tag ${slot.tag}`;
    const bytes = sectors * SECTOR_BYTES;
    const moves = op === UBLK_IO_OP_READ || op === UBLK_IO_OP_WRITE;
    // This project's servers complete a request or fail it.
    if (moves && result >= 0 && result !== bytes) {
      this.violations.push(`${where}: ${result} of ${bytes} bytes reported as done`);
    }
    if (result > bytes && (op === UBLK_IO_OP_DISCARD || op === UBLK_IO_OP_WRITE_ZEROES)) {
      this.violations.push(`${where}: ${result} bytes done of ${bytes}`);
    }
    // One with pages left is sent again, with the same zones (`blk_update_request`).
    if (op === UBLK_IO_OP_REPORT_ZONES && result >= 0 && result < request.data.length) {
      this.violations.push(`${where}: ${result} of ${request.data.length} bytes reported`);
    }
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
      this.#describe(slot, request);
      slot.state = "needData";
      this.#complete(slot, UBLK_IO_RES_NEED_GET_DATA);
      return;
    }
    if (isWrite && this.#data === "copy") this.#copyIn(slot, request, request.data.length);
    this.#describe(slot, request);
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
    this.#copyIn(slot, request, sectors * SECTOR_BYTES);
    // A partial copy only shrinks the descriptor.
    this.#describe(slot, request);
    this.descriptors[slot.queue][slot.tag * DESC_WORDS + 1] = sectors;
    this.#complete(slot, UBLK_IO_RES_OK);
  }

  #copyIn(slot: Slot, request: FakeRequest, bytes: number): void {
    if (bytes === 0 || request.shared !== undefined) return;
    new Uint8Array(bufferAt(slot.address, bytes)).set(request.data.subarray(0, bytes));
  }

  #describe(slot: Slot, request: FakeRequest): void {
    const { op, flags, sectors, zones, sector } = request.io;
    const at = slot.tag * DESC_WORDS;
    const words = this.descriptors[slot.queue];
    const integrity = request.metadata.length > 0 ? UBLK_IO_F_INTEGRITY : 0;
    words[at] = op | flags | integrity;
    words[at + 1] = op === UBLK_IO_OP_REPORT_ZONES ? zones : sectors;
    words[at + 2] = sector >>> 0;
    words[at + 3] = sector / TWO_32;
    if (op === UBLK_IO_OP_FLUSH) {
      // As initialised by the block layer: no length and no position (`blk_rq_init`).
      words[at + 1] = 0;
      words[at + 2] = words[at + 3] = 0xffffffff;
    }
    words[at + 4] = slot.address >>> 0;
    words[at + 5] = slot.address / TWO_32;
    // `ublk_get_data` clears the position of shared data but keeps the flag.
    if (request.shared === undefined) return;
    words[at] |= UBLK_IO_F_SHMEM_ZC;
    if (slot.state === "server" && this.#data === "needGetData") return;
    words[at + 4] = request.shared.offset;
    words[at + 5] = request.shared.index;
  }

  #abort(slot: Slot): void {
    slot.state = "gone";
    this.#complete(slot, -ENODEV);
  }

  #complete(slot: Slot, result: number): void {
    slot.kernel!.complete(slot.userData, slot.kind, result);
  }
}
