/**
 * Batch I/O of `linux/ublk_cmd.h` (`UBLK_F_BATCH_IO`, Linux 7.0): one command
 * for many tags instead of one command per tag.
 *
 * A PREP or COMMIT command's buffer (`sqe.addr`, `sqe.len`) holds `nr_elem`
 * elements of `elem_bytes` each: a {@linkcode ublk_elem_header}, then a u64
 * buffer address if `UBLK_BATCH_F_HAS_BUF_ADDR`, then a u64 LBA if
 * `UBLK_BATCH_F_HAS_ZONE_LBA`. A FETCH is multishot and writes u16 tags into
 * provided buffers.
 *
 * @module
 */

import type { Struct } from "./struct.ts";

/** Prepares tags, once, before the device starts. */
export const UBLK_U_IO_PREP_IO_CMDS = 0xc0107525;
/** Completes requests; the result is the number of bytes consumed from the buffer. */
export const UBLK_U_IO_COMMIT_IO_CMDS = 0xc0107526;
/** Fetches tags; needs `IORING_URING_CMD_MULTISHOT`. */
export const UBLK_U_IO_FETCH_IO_CMDS = 0xc0107527;

/** Elements carry the LBA at which a zone append was written. */
export const UBLK_BATCH_F_HAS_ZONE_LBA = 0x1;
/** Elements carry the address of the tag's buffer. */
export const UBLK_BATCH_F_HAS_BUF_ADDR = 0x2;
/** If registration fails, deliver the request with `UBLK_IO_F_NEED_REG_BUF`. */
export const UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK = 0x4;

/**
 * Values of `struct ublk_elem_header`: `__u16 tag; __u16 buf_index;
 * __s32 result`.
 */
export interface ublk_elem_header {
  /** The tag. */
  tag: number;
  /** Index in the ring's buffer table; with automatic registration only. */
  buf_index: number;
  /** Bytes done, or a negative errno; for commits. */
  result: number;
}

/** Layout of `struct ublk_elem_header`. */
export const ublk_elem_header: Struct<ublk_elem_header> = {
  name: "ublk_elem_header",
  size: 8,
  fields: {
    tag: [0, "u16"],
    buf_index: [2, "u16"],
    result: [4, "s32"],
  },
};

/**
 * Values of `struct ublk_batch_io`, which travels in `sqe.cmd`:
 * `__u16 q_id, flags, nr_elem; __u8 elem_bytes, reserved; __u64 reserved2`.
 */
export interface ublk_batch_io {
  /** The queue. */
  q_id: number;
  /** `UBLK_BATCH_F_*`. */
  flags: number;
  /** Number of elements. */
  nr_elem: number;
  /** Bytes of one element: 8, 16 or 24. */
  elem_bytes: number;
  /** Must be 0. */
  reserved: number;
  /** Must be 0. */
  reserved2: number;
}

/** Layout of `struct ublk_batch_io`. */
export const ublk_batch_io: Struct<ublk_batch_io> = {
  name: "ublk_batch_io",
  size: 16,
  fields: {
    q_id: [0, "u16"],
    flags: [2, "u16"],
    nr_elem: [4, "u16"],
    elem_bytes: [6, "u8"],
    reserved: [7, "u8"],
    reserved2: [8, "u64"],
  },
};
