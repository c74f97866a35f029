/**
 * Buffers that the driver and the server share, of `linux/ublk_cmd.h` as of
 * Linux 7.2: request pages registered in an io_uring buffer table (6.15, and
 * automatically since 6.16), and shared memory registered with the device
 * (7.1).
 *
 * @module
 */

import type { Struct } from "./struct.ts";

/** Registers a request's pages at index `addr` of the ring's buffer table. */
export const UBLK_U_IO_REGISTER_IO_BUF = 0xc0107523;
/** Removes the buffer at index `addr` from the ring's buffer table. */
export const UBLK_U_IO_UNREGISTER_IO_BUF = 0xc0107524;

/** If registration fails, deliver the request with `UBLK_IO_F_NEED_REG_BUF`. */
export const UBLK_AUTO_BUF_REG_FALLBACK = 0x1;
/** Mask of all flags of `ublk_auto_buf_reg.flags`. */
export const UBLK_AUTO_BUF_REG_F_MASK = 0x1;

/** Pin shared memory for reading only, which a write-sealed memfd requires. */
export const UBLK_SHMEM_BUF_READ_ONLY = 0x1;

/** Mask of the byte offset in a `UBLK_IO_F_SHMEM_ZC` address. */
export const UBLK_SHMEM_ZC_OFF_MASK = 0xffffffff;
/** Shift of the buffer's index in a `UBLK_IO_F_SHMEM_ZC` address. */
export const UBLK_SHMEM_ZC_IDX_OFF = 32;
/** Mask of the buffer's index, after the shift. */
export const UBLK_SHMEM_ZC_IDX_MASK = 0xffff;

/**
 * Values of `struct ublk_auto_buf_reg`, which travels as the 64 bits of
 * `sqe.addr`: `__u16 index; __u8 flags; __u8 reserved0; __u32 reserved1`.
 */
export interface ublk_auto_buf_reg {
  /** Index in the ring's buffer table. */
  index: number;
  /** `UBLK_AUTO_BUF_REG_*`. */
  flags: number;
  /** Must be 0. */
  reserved0: number;
  /** Must be 0. */
  reserved1: number;
}

/** Layout of `struct ublk_auto_buf_reg`. */
export const ublk_auto_buf_reg: Struct<ublk_auto_buf_reg> = {
  name: "ublk_auto_buf_reg",
  size: 8,
  fields: {
    index: [0, "u16"],
    flags: [2, "u8"],
    reserved0: [3, "u8"],
    reserved1: [4, "u32"],
  },
};

/**
 * Values of `struct ublk_shmem_buf_reg`, the buffer of `UBLK_U_CMD_REG_BUF`:
 * `__u64 addr; __u64 len; __u32 flags; __u32 reserved`.
 */
export interface ublk_shmem_buf_reg {
  /** Address of the shared memory in the caller. */
  addr: number;
  /** Length in bytes, a multiple of the page size. */
  len: number;
  /** `UBLK_SHMEM_BUF_*`. */
  flags: number;
  /** Must be 0. */
  reserved: number;
}

/** Layout of `struct ublk_shmem_buf_reg`. */
export const ublk_shmem_buf_reg: Struct<ublk_shmem_buf_reg> = {
  name: "ublk_shmem_buf_reg",
  size: 24,
  fields: {
    addr: [0, "u64"],
    len: [8, "u64"],
    flags: [16, "u32"],
    reserved: [20, "u32"],
  },
};

/**
 * The header's function of the same name, for an index and flags. The reserved
 * fields are 0, so the result fits 24 bits: the low word of `sqe.addr`.
 */
export function ublk_auto_buf_reg_to_sqe_addr(
  index: number,
  flags: number,
): number {
  return (index & 0xffff) | (flags & 0xff) << 16;
}

/** The index and flags in the low word of an `sqe.addr`. */
export function ublk_sqe_addr_to_auto_buf_reg(
  sqeAddr: number,
): { index: number; flags: number } {
  return { index: sqeAddr & 0xffff, flags: sqeAddr >>> 16 & 0xff };
}

/** The address that denotes `offsetBytes` in the shared buffer `index`. */
export function ublk_shmem_zc_addr(index: number, offsetBytes: number): number {
  return index * 2 ** UBLK_SHMEM_ZC_IDX_OFF + offsetBytes;
}

/** The shared buffer's index in a `UBLK_IO_F_SHMEM_ZC` address. */
export function ublk_shmem_zc_index(addr: number): number {
  return Math.floor(addr / 2 ** UBLK_SHMEM_ZC_IDX_OFF) & UBLK_SHMEM_ZC_IDX_MASK;
}

/** The byte offset in a `UBLK_IO_F_SHMEM_ZC` address. */
export function ublk_shmem_zc_offset(addr: number): number {
  return addr % 2 ** UBLK_SHMEM_ZC_IDX_OFF;
}
