/**
 * io_uring's completion entry (CQE), from `linux/io_uring.h` as of Linux 7.2.
 *
 * @module
 */

import type { Struct } from "./struct.ts";

/** The upper 16 bits are the provided buffer's id. */
export const IORING_CQE_F_BUFFER = 0x1;
/** More completions of this request follow. */
export const IORING_CQE_F_MORE = 0x2;
/** The socket has more to read. */
export const IORING_CQE_F_SOCK_NONEMPTY = 0x4;
/** A notification, not a result. */
export const IORING_CQE_F_NOTIF = 0x8;
/** The buffer is only partly consumed. */
export const IORING_CQE_F_BUF_MORE = 0x10;
/** A gap before the ring wraps; ignore it (6.18). */
export const IORING_CQE_F_SKIP = 0x20;
/** A completion of 32 bytes in a mixed ring (6.18). */
export const IORING_CQE_F_32 = 0x8000;
/** A hardware time stamp. */
export const IORING_CQE_F_TSTAMP_HW = 0x10000;
/** Shift of the buffer's id in `flags`. */
export const IORING_CQE_BUFFER_SHIFT = 16;

/**
 * Values of `struct io_uring_cqe`; `big_cqe` is 16 bytes more on a ring with CQE32:
 * `__u64 user_data; __s32 res; __u32 flags; __u64 big_cqe[]`.
 */
export interface io_uring_cqe {
  /** `user_data` of the SQE. */
  user_data: number;
  /** The result, or a negative errno. */
  res: number;
  /** `IORING_CQE_F_*`. */
  flags: number;
}

/** Layout of `struct io_uring_cqe`. */
export const io_uring_cqe: Struct<io_uring_cqe> = {
  name: "io_uring_cqe",
  size: 16,
  fields: {
    user_data: [0, "u64"],
    res: [8, "s32"],
    flags: [12, "u32"],
  },
};
