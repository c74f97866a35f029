/**
 * Fake reads and writes of the char device with `UBLK_F_USER_COPY`, by the rules of `ublk_user_copy`.
 *
 * @module
 */

import { EACCES, EINVAL } from "../uapi/errno.ts";
import { IORING_OP_READ } from "../uapi/io_uring_sqe.ts";
import {
  UBLK_INTEGRITY_FLAG_OFF,
  UBLK_IO_BUF_BITS_MASK,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_REPORT_ZONES,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_ZONE_APPEND,
  UBLK_QID_OFF,
  UBLK_TAG_BITS_MASK,
  UBLK_TAG_OFF,
  UBLKSRV_IO_BUF_OFFSET,
} from "../uapi/ublk_io.ts";
import type { FakeSqe } from "../uring/fake_ring.ts";
import { bufferAt } from "../uring/mapping.ts";
import type { FakeRequest } from "./fake_request.ts";

const TWO_32 = 0x1_0000_0000;
const INTEGRITY_BIT = 2 ** (UBLK_INTEGRITY_FLAG_OFF - 32);

/** The meaning of a position in the char device. */
export interface CopyPlace {
  readonly queue: number;
  readonly tag: number;
  readonly isMetadata: boolean;
  /** Offset in the data or metadata, in bytes. */
  readonly offset: number;
}

/** Decodes the position of a READ or WRITE. */
export function copyPlace({ words }: FakeSqe): CopyPlace {
  const isMetadata = (words[3] & INTEGRITY_BIT) !== 0;
  const high = words[3] - (isMetadata ? INTEGRITY_BIT : 0);
  const position = high * TWO_32 + words[2] - UBLKSRV_IO_BUF_OFFSET;
  return {
    queue: Math.floor(position / 2 ** UBLK_QID_OFF),
    tag: Math.floor(position / 2 ** UBLK_TAG_OFF) % (UBLK_TAG_BITS_MASK + 1),
    isMetadata,
    offset: position % (UBLK_IO_BUF_BITS_MASK + 1),
  };
}

/**
 * Copies between a request that the server holds and the server's memory, at most `limit` bytes.
 *
 * @returns Bytes copied, or a negative errno and the reason.
 */
export function userCopy(
  sqe: FakeSqe,
  place: CopyPlace,
  request: FakeRequest,
  limit = Infinity,
): number | [number, string] {
  const { words } = sqe;
  const address = words[4] + words[5] * TWO_32;
  const { op } = request.io;
  const fromRequest = sqe.opcode === IORING_OP_READ;
  // `ublk_check_ubuf_dir`
  const brings = op === UBLK_IO_OP_WRITE || op === UBLK_IO_OP_ZONE_APPEND;
  const fetches = op === UBLK_IO_OP_READ || op === UBLK_IO_OP_REPORT_ZONES;
  if (!brings && !fetches) return [-EINVAL, "it carries no data"];
  const pages = place.isMetadata ? request.metadata : request.data;
  if (place.offset > pages.length) return [-EINVAL, "beyond its end"];
  if (fromRequest !== brings) return [-EACCES, "the wrong direction"];
  const bytes = Math.min(words[6], pages.length - place.offset, limit);
  const part = pages.subarray(place.offset, place.offset + bytes);
  const memory = new Uint8Array(bufferAt(address, bytes));
  if (fromRequest) memory.set(part);
  else part.set(memory);
  return bytes;
}
