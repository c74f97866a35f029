/**
 * The I/O side of `linux/ublk_cmd.h` as of Linux 7.2: the per-tag commands, the
 * descriptor of a request, its operations and flags, and the offsets of
 * descriptors and request data in `/dev/ublkcN`.
 *
 * An I/O command is an `IORING_OP_URING_CMD` on `/dev/ublkcN` whose `sqe.cmd`
 * holds a {@linkcode ublksrv_io_cmd}. Its 16 bytes fit an ordinary SQE.
 * Batches are in `ublk_batch.ts`, registered buffers in `ublk_buf.ts`.
 *
 * @module
 */

import { assert } from "./error.ts";
import type { Struct } from "./struct.ts";

/** Legacy: {@linkcode UBLK_U_IO_FETCH_REQ}. */
export const UBLK_IO_FETCH_REQ = 0x20;
/** Legacy: {@linkcode UBLK_U_IO_COMMIT_AND_FETCH_REQ}. */
export const UBLK_IO_COMMIT_AND_FETCH_REQ = 0x21;
/** Legacy: {@linkcode UBLK_U_IO_NEED_GET_DATA}. */
export const UBLK_IO_NEED_GET_DATA = 0x22;

// _IOWR('u', nr, struct ublksrv_io_cmd): 0x10 is the size of the struct.

/** Fetches a tag's first request; sent for every tag of every queue before START_DEV. */
export const UBLK_U_IO_FETCH_REQ = 0xc0107520;
/** Completes a tag's request and fetches the tag's next one. */
export const UBLK_U_IO_COMMIT_AND_FETCH_REQ = 0xc0107521;
/** Provides the buffer of a WRITE, after `UBLK_IO_RES_NEED_GET_DATA`. */
export const UBLK_U_IO_NEED_GET_DATA = 0xc0107522;

/** CQE result: the tag's descriptor holds a request. */
export const UBLK_IO_RES_OK = 0;
/** CQE result: a WRITE waits for `UBLK_U_IO_NEED_GET_DATA`. */
export const UBLK_IO_RES_NEED_GET_DATA = 1;
/** CQE result (-ENODEV): the device is stopping; do not fetch again. */
export const UBLK_IO_RES_ABORT: number = -19;

/** Offset of queue 0's descriptors in `/dev/ublkcN`, for `mmap`. */
export const UBLKSRV_CMD_BUF_OFFSET = 0;
/** Offset of the request data in `/dev/ublkcN`, for user copy. */
export const UBLKSRV_IO_BUF_OFFSET = 0x80000000;

/** Shift of the byte offset within a request's data. */
export const UBLK_IO_BUF_OFF = 0;
/** Bits of the byte offset: 32 MiB for one request. */
export const UBLK_IO_BUF_BITS = 25;
/** Mask of the byte offset. */
export const UBLK_IO_BUF_BITS_MASK = 0x1ffffff;
/** Shift of the tag. */
export const UBLK_TAG_OFF = 25;
/** Bits of the tag. */
export const UBLK_TAG_BITS = 16;
/** Mask of the tag, before the shift. */
export const UBLK_TAG_BITS_MASK = 0xffff;
/** Shift of the queue's number. */
export const UBLK_QID_OFF = 41;
/** Bits of the queue's number. */
export const UBLK_QID_BITS = 12;
/** Mask of the queue's number, before the shift. */
export const UBLK_QID_BITS_MASK = 0xfff;
/** Bits of a position in the request data. */
export const UBLKSRV_IO_BUF_TOTAL_BITS = 53;
/** Bytes of the request data's whole range: 2^53, so a bigint. */
export const UBLKSRV_IO_BUF_TOTAL_SIZE = 0x20000000000000n;
/** The bit of {@linkcode UBLKSRV_IO_INTEGRITY_FLAG}. */
export const UBLK_INTEGRITY_FLAG_OFF = 62;
/** Added to a position: copy the integrity buffer, not the data (7.0). */
export const UBLKSRV_IO_INTEGRITY_FLAG = 0x4000000000000000n;

/** Read. */
export const UBLK_IO_OP_READ = 0;
/** Write. */
export const UBLK_IO_OP_WRITE = 1;
/** Make all completed writes durable; sent only with a volatile cache. */
export const UBLK_IO_OP_FLUSH = 2;
/** Discard; carries no data. */
export const UBLK_IO_OP_DISCARD = 3;
/** Write one block many times; the driver never sends it. */
export const UBLK_IO_OP_WRITE_SAME = 4;
/** Write zeroes; carries no data. */
export const UBLK_IO_OP_WRITE_ZEROES = 5;
/** Open a zone. */
export const UBLK_IO_OP_ZONE_OPEN = 10;
/** Close a zone. */
export const UBLK_IO_OP_ZONE_CLOSE = 11;
/** Finish a zone: make it full. */
export const UBLK_IO_OP_ZONE_FINISH = 12;
/** Write at a zone's write pointer and return the position (`zone_append_lba`). */
export const UBLK_IO_OP_ZONE_APPEND = 13;
/** Reset every zone. */
export const UBLK_IO_OP_ZONE_RESET_ALL = 14;
/** Reset a zone. */
export const UBLK_IO_OP_ZONE_RESET = 15;
/** Report at most `nr_zones` zones from `start_sector`, as `blk_zone[]`. */
export const UBLK_IO_OP_REPORT_ZONES = 18;

// The flags are bits of op_flags itself, not of the value that the header's
// ublksrv_get_flags() returns (which is shifted by 8).

/** Do not retry on device errors. */
export const UBLK_IO_F_FAILFAST_DEV = 0x100;
/** Do not retry on transport errors. */
export const UBLK_IO_F_FAILFAST_TRANSPORT = 0x200;
/** Do not retry on driver errors. */
export const UBLK_IO_F_FAILFAST_DRIVER = 0x400;
/** File system metadata. */
export const UBLK_IO_F_META = 0x800;
/** Make the data durable before completion (force unit access). */
export const UBLK_IO_F_FUA = 0x2000;
/** For WRITE_ZEROES: keep the blocks allocated. */
export const UBLK_IO_F_NOUNMAP = 0x8000;
/** Swap. */
export const UBLK_IO_F_SWAP = 0x10000;
/** Automatic buffer registration failed: register explicitly (6.16). */
export const UBLK_IO_F_NEED_REG_BUF = 0x20000;
/** The request has an integrity buffer (7.0). */
export const UBLK_IO_F_INTEGRITY = 0x40000;
/** `addr` names a registered shared buffer and an offset in it (7.1). */
export const UBLK_IO_F_SHMEM_ZC = 0x80000;

/**
 * Values of `struct ublksrv_io_desc`, one per tag in the mapping of
 * `/dev/ublkcN`: `__u32 op_flags; union { __u32 nr_sectors; __u32 nr_zones };
 * __u64 start_sector; __u64 addr`.
 */
export interface ublksrv_io_desc {
  /** `UBLK_IO_OP_*` in bits 0-7, `UBLK_IO_F_*` in bits 8-31. */
  op_flags: number;
  /** Length in sectors of 512 bytes. */
  nr_sectors: number;
  /** The same word, for `UBLK_IO_OP_REPORT_ZONES`. */
  nr_zones: number;
  /** Start, in sectors of 512 bytes. */
  start_sector: number;
  /** Address of the server's buffer, or see `UBLK_IO_F_SHMEM_ZC`. */
  addr: number;
}

/** Layout of `struct ublksrv_io_desc`. */
export const ublksrv_io_desc: Struct<ublksrv_io_desc> = {
  name: "ublksrv_io_desc",
  size: 24,
  fields: {
    op_flags: [0, "u32"],
    nr_sectors: [4, "u32"],
    nr_zones: [4, "u32"],
    start_sector: [8, "u64"],
    addr: [16, "u64"],
  },
};

/**
 * Values of `struct ublksrv_io_cmd`, which travels in `sqe.cmd`:
 * `__u16 q_id, tag; __s32 result; union { __u64 addr; __u64 zone_append_lba }`.
 */
export interface ublksrv_io_cmd {
  /** The queue. */
  q_id: number;
  /** The tag. */
  tag: number;
  /** Bytes done, or a negative errno; for commits. */
  result: number;
  /** Address of the tag's buffer; 0 with user copy. */
  addr: number;
  /** The same word: the position at which a `ZONE_APPEND` was written, in sectors. */
  zone_append_lba: number;
}

/** Layout of `struct ublksrv_io_cmd`. */
export const ublksrv_io_cmd: Struct<ublksrv_io_cmd> = {
  name: "ublksrv_io_cmd",
  size: 16,
  fields: {
    q_id: [0, "u16"],
    tag: [2, "u16"],
    result: [4, "s32"],
    addr: [8, "u64"],
    zone_append_lba: [8, "u64"],
  },
};

/** The operation, `UBLK_IO_OP_*`, of a descriptor's `op_flags`. */
export function ublksrv_get_op(opFlags: number): number {
  return opFlags & 0xff;
}

/**
 * The header's `ublksrv_get_flags()`: `op_flags` shifted right by 8. Test a
 * `UBLK_IO_F_*` against `op_flags` itself.
 */
export function ublksrv_get_flags(opFlags: number): number {
  return opFlags >>> 8;
}

/**
 * The position of a request's data in `/dev/ublkcN`, for user copy. A `number`
 * is exact for every queue below 4095.
 */
export function userCopyPosition(
  qId: number,
  tag: number,
  offsetBytes: number,
): number {
  return UBLKSRV_IO_BUF_OFFSET + qId * 2 ** UBLK_QID_OFF +
    tag * 2 ** UBLK_TAG_OFF + offsetBytes;
}

// An offset into the data of requests is put together by adding: its parts must not overlap, and all
// of it must be a number that a double holds exactly.
assert(UBLK_IO_BUF_BITS_MASK === 2 ** UBLK_IO_BUF_BITS - 1, "the mask is as wide as the bits");
assert(UBLK_TAG_OFF === UBLK_IO_BUF_OFF + UBLK_IO_BUF_BITS, "the tag is next to the byte offset");
assert(UBLK_TAG_BITS_MASK === 2 ** UBLK_TAG_BITS - 1, "the mask is as wide as the bits");
assert(UBLK_QID_OFF === UBLK_TAG_OFF + UBLK_TAG_BITS, "the queue's number is next to the tag");
assert(UBLK_QID_BITS_MASK === 2 ** UBLK_QID_BITS - 1, "the mask is as wide as the bits");
assert(
  UBLK_QID_OFF + UBLK_QID_BITS === UBLKSRV_IO_BUF_TOTAL_BITS,
  "a queue, a tag and an offset are all that there is in an offset",
);
assert(UBLK_INTEGRITY_FLAG_OFF >= UBLKSRV_IO_BUF_TOTAL_BITS, "the flag of metadata is above them");
assert(
  UBLK_INTEGRITY_FLAG_OFF >= 32 && UBLK_INTEGRITY_FLAG_OFF < 63,
  "it is set in the high word, and no sign",
);
// `op_flags`: what is taken for the operation is the low byte.
assert(UBLK_IO_OP_REPORT_ZONES <= 0xff, "an operation fits the byte that it has");
assert(UBLK_IO_F_FAILFAST_DEV > 0xff, "flags are above it");
