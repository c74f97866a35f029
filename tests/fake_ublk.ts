/**
 * The ublk driver for tests without a kernel: it answers the commands that a server puts on a
 * {@linkcode fakeRing}, hands out requests that a test makes up, copies their data where the driver
 * would, and holds every command against the driver's rules.
 *
 * The rules are those of `__ublk_ch_uring_cmd` in `drivers/block/ublk_drv.c`: its errnos are
 * answered, and each is noted as a violation besides, because no right server ever sees one.
 *
 * Addresses in commands are real: the fake reads and writes this process's memory there.
 *
 * @module
 */

import { EBUSY, EINVAL, EIO, ENODEV } from "../uapi/errno.ts";
import { IORING_OP_URING_CMD } from "../uapi/io_uring_sqe.ts";
import { IO_DESC_BYTES } from "../uapi/offsets.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
  UBLK_IO_RES_NEED_GET_DATA,
  UBLK_IO_RES_OK,
  UBLK_U_IO_COMMIT_AND_FETCH_REQ,
  UBLK_U_IO_FETCH_REQ,
  UBLK_U_IO_NEED_GET_DATA,
} from "../uapi/ublk_io.ts";
import type { FakeKernel, FakeSqe } from "../uring/fake_ring.ts";
import { bufferAt } from "../uring/mapping.ts";
import { type FakeIo, FakeRequest, SECTOR_BYTES } from "./fake_request.ts";

const TWO_32 = 0x1_0000_0000;
const DESC_WORDS = IO_DESC_BYTES / 4;

/** How the data of requests travels: `NEED_GET_DATA`, `USER_COPY`, or neither. */
export type FakeDataMode = "copy" | "needGetData" | "userCopy";

/** Where a slot's command is. */
type SlotState =
  /** Never fetched. */
  | "new"
  /** The driver holds a command (`UBLK_IO_FLAG_ACTIVE`) and may complete it with a request. */
  | "active"
  /** The server holds the request (`UBLK_IO_FLAG_OWNED_BY_SRV`). */
  | "server"
  /** As "server", and its WRITE's data is to be asked for. */
  | "needData"
  /** The driver let go of it with -ENODEV. */
  | "gone";

interface Slot {
  state: SlotState;
  queue: number;
  tag: number;
  address: number;
  request: FakeRequest | undefined;
  // The command that the driver holds.
  userData: number;
  kind: number;
  kernel: FakeKernel | undefined;
}

/** What {@linkcode FakeUblk} is to look like. */
export interface FakeUblkOptions {
  /** Hardware queues; 1 where left out. */
  queues?: number;
  /** Tags per queue. */
  depth: number;
  /** How data travels; "copy" where left out. */
  data?: FakeDataMode;
}

/**
 * How a GET_DATA goes wrong when memory is short. With `sectors` only so many are copied, and all
 * that the server sees is a descriptor that has shrunk. With `requeue` nothing is copied: the
 * request leaves the tag, which the driver then gives, through the GET_DATA that it still holds, to
 * whatever request comes next, until {@linkcode FakeUblk.kickRequeued} brings the old one back.
 */
export type GetDataFault = { sectors: number } | "requeue";

/** A ublk device that lives in a test. */
export class FakeUblk {
  /** The descriptors of each queue, as mapped from `/dev/ublkcN`. */
  readonly descriptors: readonly Uint32Array<ArrayBuffer>[];
  /** What the server did against the driver's rules; a right one leaves this empty. */
  readonly violations: string[] = [];
  /** Every request so far. */
  readonly requests: FakeRequest[] = [];
  /** SQEs that are no ublk commands, such as the READ of a wake-up eventfd. */
  readonly foreign: FakeSqe[] = [];
  /** What goes wrong with the next GET_DATA. */
  getDataFault: GetDataFault | undefined;

  readonly #slots: Slot[][];
  readonly #waiting: FakeRequest[][];
  readonly #data: FakeDataMode;
  readonly #requeued: FakeRequest[] = [];
  #stopping = false;

  /** A device whose tags all wait to be fetched. */
  constructor(options: FakeUblkOptions) {
    const { queues = 1, depth } = options;
    this.#data = options.data ?? "copy";
    const perQueue = <T>(make: (queue: number) => T) =>
      Array.from({ length: queues }, (_, q) => make(q));
    this.descriptors = perQueue(() => new Uint32Array(depth * DESC_WORDS));
    this.#waiting = perQueue(() => []);
    this.#slots = perQueue((queue) =>
      Array.from({ length: depth }, (_, tag): Slot => ({
        state: "new",
        queue,
        tag,
        address: 0,
        request: undefined,
        userData: 0,
        kind: 0,
        kernel: undefined,
      }))
    );
  }

  /** The handler for {@linkcode fakeRing}; several rings may share the device. */
  readonly handler = (sqe: FakeSqe, kernel: FakeKernel): void => {
    if (sqe.opcode !== IORING_OP_URING_CMD) {
      this.foreign.push(sqe);
      return;
    }
    const refused = this.#command(sqe, kernel);
    if (refused !== 0) kernel.complete(sqe.userData, sqe.kind, -refused);
  };

  /** Whether every tag was fetched, so that START_DEV would return. */
  get ready(): boolean {
    return this.#slots.every((slots) => slots.every((slot) => slot.state !== "new"));
  }

  /** Tags that the server holds. */
  get heldByServer(): number {
    const held = (slot: Slot) => slot.state === "server" || slot.state === "needData";
    return this.#slots.flat().filter(held).length;
  }

  /** Gives a request to the first free tag of a queue, or has it wait for one. */
  submitIo(queue: number, io: FakeIo): FakeRequest {
    const request = new FakeRequest(queue, io);
    this.requests.push(request);
    this.#start(request);
    return request;
  }

  /** Sends the requests again that a GET_DATA fault took off their tags. */
  kickRequeued(): void {
    for (const request of this.#requeued.splice(0)) this.#start(request);
  }

  /** The end of STOP_DEV: waiting requests fail, and every command the driver holds is aborted. */
  stop(): void {
    this.#stopping = true;
    for (const waiting of this.#waiting) {
      for (const request of waiting.splice(0)) request.answer(-EIO);
    }
    for (const slot of this.#slots.flat()) if (slot.state === "active") this.#abort(slot);
  }

  /**
   * Asserts that each request was answered exactly once, by the rules.
   *
   * @throws {Error} With everything that is wrong.
   */
  assertAnsweredOnce(): void {
    const wrong = [...this.violations];
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
    else this.#dispatch(slot, request);
  }

  /** Takes a command, or returns the errno that the driver refuses it with. */
  #command(sqe: FakeSqe, kernel: FakeKernel): number {
    const { words } = sqe;
    const [queue, tag] = [words[12] & 0xffff, words[12] >>> 16];
    const address = words[14] + words[15] * TWO_32;
    const slot = this.#slots[queue]?.[tag];
    const refused = this.#refusal(slot, sqe.cmdOp, address);
    if (refused !== undefined) {
      const [errno, why] = refused;
      this.violations.push(`queue ${queue} tag ${tag} command 0x${sqe.cmdOp.toString(16)}: ${why}`);
      return errno;
    }
    slot.userData = sqe.userData;
    slot.kind = sqe.kind;
    slot.kernel = kernel;
    slot.address = address;
    this.#accept(slot, sqe);
    return 0;
  }

  #refusal(slot: Slot | undefined, cmdOp: number, address: number): [number, string] | undefined {
    if (slot === undefined) return [EINVAL, "no such slot"];
    if (slot.state === "gone") return [ENODEV, "after the tag was aborted"];
    if (slot.state === "active") return [EBUSY, "the driver already holds one"];
    if ((slot.state === "needData") !== (cmdOp === UBLK_U_IO_NEED_GET_DATA)) {
      return [EINVAL, `the tag is in state ${slot.state}`];
    }
    if (address > Number.MAX_SAFE_INTEGER) return [EINVAL, "the address is garbage"];
    if (this.#data === "userCopy" && address !== 0) return [EINVAL, "an address with user copy"];
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
        // The driver wants one even for a READ that failed.
        return needsAddress && address === 0 ? [EINVAL, "no address"] : undefined;
      }
      case UBLK_U_IO_NEED_GET_DATA:
        return undefined;
    }
    return [EINVAL, "no such command"];
  }

  #accept(slot: Slot, sqe: FakeSqe): void {
    if (sqe.cmdOp === UBLK_U_IO_NEED_GET_DATA) {
      this.#getData(slot);
      return;
    }
    slot.state = "active";
    const { request } = slot;
    slot.request = undefined;
    if (sqe.cmdOp === UBLK_U_IO_COMMIT_AND_FETCH_REQ) {
      this.#commit(slot, request!, sqe.words[13] | 0);
    }
    if (this.#stopping) return this.#abort(slot);
    const next = this.#waiting[slot.queue].shift();
    if (next !== undefined) this.#dispatch(slot, next);
  }

  #commit(slot: Slot, request: FakeRequest, result: number): void {
    const { op, sectors } = request.io;
    const where = `queue ${slot.queue} tag ${slot.tag}`;
    const bytes = sectors * SECTOR_BYTES;
    const moves = op === UBLK_IO_OP_READ || op === UBLK_IO_OP_WRITE;
    // This project's servers do all of a request or fail it.
    if (moves && result >= 0 && result !== bytes) {
      this.violations.push(`${where}: ${result} of ${bytes} bytes reported as done`);
    }
    if (result > bytes && (op === UBLK_IO_OP_DISCARD || op === UBLK_IO_OP_WRITE_ZEROES)) {
      this.violations.push(`${where}: ${result} bytes done of ${bytes}`);
    }
    if (op === UBLK_IO_OP_READ && result > 0 && this.#data !== "userCopy") {
      request.data.set(new Uint8Array(bufferAt(slot.address, Math.min(result, bytes))));
    }
    request.answer(result);
  }

  #dispatch(slot: Slot, request: FakeRequest): void {
    slot.request = request;
    request.tag = slot.tag;
    const isWrite = request.io.op === UBLK_IO_OP_WRITE;
    if (isWrite && this.#data === "needGetData") {
      this.#describe(slot, request);
      slot.state = "needData";
      this.#complete(slot, UBLK_IO_RES_NEED_GET_DATA);
      return;
    }
    if (isWrite && this.#data === "copy") this.#copyIn(slot, request, request.data.length);
    this.#describe(slot, request);
    slot.state = "server";
    this.#complete(slot, UBLK_IO_RES_OK);
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
    // A copy that stops half way only shrinks the descriptor.
    this.#describe(slot, request);
    this.descriptors[slot.queue][slot.tag * DESC_WORDS + 1] = sectors;
    this.#complete(slot, UBLK_IO_RES_OK);
  }

  #copyIn(slot: Slot, request: FakeRequest, bytes: number): void {
    if (bytes === 0) return;
    new Uint8Array(bufferAt(slot.address, bytes)).set(request.data.subarray(0, bytes));
  }

  #describe(slot: Slot, request: FakeRequest): void {
    const { op, flags, sectors, sector } = request.io;
    const at = slot.tag * DESC_WORDS;
    const words = this.descriptors[slot.queue];
    words[at] = op | flags;
    words[at + 1] = op === UBLK_IO_OP_FLUSH ? 0 : sectors;
    words[at + 2] = sector >>> 0;
    words[at + 3] = sector / TWO_32;
    words[at + 4] = slot.address >>> 0;
    words[at + 5] = slot.address / TWO_32;
  }

  #abort(slot: Slot): void {
    slot.state = "gone";
    this.#complete(slot, -ENODEV);
  }

  #complete(slot: Slot, result: number): void {
    slot.kernel!.complete(slot.userData, slot.kind, result);
  }
}
