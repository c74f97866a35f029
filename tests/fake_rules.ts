/**
 * The rules of the fake driver: what it refuses, as `drivers/block/ublk_drv.c` does.
 *
 * @module
 */

import { EBUSY, EINVAL, ENODEV } from "../uapi/errno.ts";
import { IORING_URING_CMD_MULTISHOT, IOSQE_BUFFER_SELECT } from "../uapi/io_uring_sqe.ts";
import {
  UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK,
  UBLK_BATCH_F_HAS_BUF_ADDR,
  UBLK_BATCH_F_HAS_ZONE_LBA,
  UBLK_U_IO_COMMIT_IO_CMDS,
  UBLK_U_IO_PREP_IO_CMDS,
} from "../uapi/ublk_batch.ts";
import { UBLK_AUTO_BUF_REG_F_MASK } from "../uapi/ublk_buf.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_REPORT_ZONES,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
  UBLK_IO_OP_ZONE_APPEND,
  UBLK_U_IO_COMMIT_AND_FETCH_REQ,
  UBLK_U_IO_FETCH_REQ,
  UBLK_U_IO_NEED_GET_DATA,
} from "../uapi/ublk_io.ts";
import type { FakeKernel, FakeSqe } from "../uring/fake_ring.ts";
import { type FakeRequest, SECTOR_BYTES } from "./fake_request.ts";
import type { FakeDataMode, Slot } from "./fake_slot.ts";

/** What the rules depend on. */
export interface Rules {
  /** The data path. */
  readonly data: FakeDataMode;
  /** Tags per queue. */
  readonly depth: number;
  /** `UBLK_F_ZONED`. */
  readonly isZoned: boolean;
}

/** The fields of a command on a batch. */
interface Elements {
  readonly cmdOp: number;
  readonly flags: number;
  readonly count: number;
  readonly elementBytes: number;
}

/** What is wrong with a FETCH of batch I/O. */
export function wrongFetch(
  { flags: sqeFlags, words }: FakeSqe,
  flags: number,
  elementBytes: number,
) {
  if (words[7] !== IORING_URING_CMD_MULTISHOT) return "not multishot";
  if ((sqeFlags & IOSQE_BUFFER_SELECT) === 0) return "no buffer is selected";
  if (elementBytes !== 2) return "tags have two bytes";
  return flags === 0 ? undefined : "flags";
}

/** What is wrong with a PREP or COMMIT of batch I/O. */
export function wrongElements(
  { data, depth, isZoned }: Rules,
  { cmdOp, flags, count, elementBytes }: Elements,
) {
  if (cmdOp !== UBLK_U_IO_PREP_IO_CMDS && cmdOp !== UBLK_U_IO_COMMIT_IO_CMDS) {
    return "no such command with batch I/O";
  }
  if (count > depth) return "too many elements";
  const hasAddress = (flags & UBLK_BATCH_F_HAS_BUF_ADDR) !== 0;
  const hasSector = (flags & UBLK_BATCH_F_HAS_ZONE_LBA) !== 0;
  if (hasSector && !isZoned) return "a zone's sector";
  const fallsBack = (flags & UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK) !== 0;
  if (hasAddress && data !== "copy") return "an address";
  if (fallsBack && !data.startsWith("autoBuffers")) return "a fallback";
  return elementBytes === 8 + (hasAddress ? 8 : 0) + (hasSector ? 8 : 0)
    ? undefined
    : "the element's size";
}

/** Why a command on a slot is refused: another thread has the tag, or its buffer is garbage. */
export function foreign(
  { data }: Rules,
  slot: Slot,
  sqe: FakeSqe,
  kernel: FakeKernel,
): [number, string] | undefined {
  const isFetch = sqe.cmdOp === UBLK_U_IO_FETCH_REQ;
  if (!isFetch && slot.kernel !== kernel) return [EINVAL, "the tag is another thread's"];
  const isAuto = data.startsWith("autoBuffers");
  const flags = sqe.words[4] >>> 16;
  const isSound = (flags & ~UBLK_AUTO_BUF_REG_F_MASK) === 0 && sqe.words[5] === 0;
  return isAuto && !isSound ? [EINVAL, "the buffer to register is garbage"] : undefined;
}

/** Why a command on a slot is refused, by the slot's state: an errno, and words. */
export function refusal(
  { data, isZoned }: Rules,
  slot: Slot | undefined,
  { cmdOp }: FakeSqe,
  address: number,
  ready: () => boolean,
): [number, string] | undefined {
  if (slot === undefined) return [EINVAL, "no such slot"];
  if (slot.state === "gone") return [ENODEV, "after the tag was aborted"];
  if (slot.state === "active") return [EBUSY, "the driver already holds one"];
  if ((slot.state === "needData") !== (cmdOp === UBLK_U_IO_NEED_GET_DATA)) {
    return [EINVAL, `the tag is in state ${slot.state}`];
  }
  if (address > Number.MAX_SAFE_INTEGER) return [EINVAL, "the address is garbage"];
  const isMapped = data === "copy" || data === "needGetData";
  const isAppend = isZoned && slot.request?.io.op === UBLK_IO_OP_ZONE_APPEND;
  if (!isMapped && !isAppend && address !== 0) return [EINVAL, "an address where none is used"];
  switch (cmdOp) {
    case UBLK_U_IO_FETCH_REQ:
      if (ready()) return [EBUSY, "no tag is left to fetch"];
      if (slot.state !== "new") return [EINVAL, "the server holds a request"];
      if (data === "copy" && address === 0) return [EINVAL, "no address"];
      return undefined;
    case UBLK_U_IO_COMMIT_AND_FETCH_REQ: {
      if (slot.state !== "server") return [EINVAL, "the server holds no request"];
      const isRead = slot.request!.io.op === UBLK_IO_OP_READ;
      const needsAddress = data === "copy" || (data === "needGetData" && isRead);
      // The driver requires an address even for a failed READ.
      return needsAddress && address === 0 ? [EINVAL, "no address"] : undefined;
    }
    case UBLK_U_IO_NEED_GET_DATA:
      return undefined;
  }
  return [EINVAL, "no such command"];
}

/** What is wrong with the result of a request. */
export function wrongResults(slot: Slot, request: FakeRequest, result: number): string[] {
  const wrong: string[] = [];
  const { op, sectors } = request.io;
  const where = `queue ${slot.queue} tag ${slot.tag}`;
  const bytes = sectors * SECTOR_BYTES;
  const moves = op === UBLK_IO_OP_READ || op === UBLK_IO_OP_WRITE;
  // This project's servers complete a request or fail it.
  if (moves && result >= 0 && result !== bytes) {
    wrong.push(`${where}: ${result} of ${bytes} bytes reported as done`);
  }
  if (result > bytes && (op === UBLK_IO_OP_DISCARD || op === UBLK_IO_OP_WRITE_ZEROES)) {
    wrong.push(`${where}: ${result} bytes done of ${bytes}`);
  }
  // One with pages left is sent again, with the same zones (`blk_update_request`).
  if (op === UBLK_IO_OP_REPORT_ZONES && result >= 0 && result < request.data.length) {
    wrong.push(`${where}: ${result} of ${request.data.length} bytes reported`);
  }
  return wrong;
}
