/**
 * Definitions that ublk takes from other headers, as of Linux 7.2: zones from
 * `linux/blkzoned.h`, which the server of a zoned device must report, and
 * integrity values from `linux/fs.h`.
 *
 * @module
 */

import type { Struct } from "./struct.ts";

/** Zone without a write pointer. */
export const BLK_ZONE_TYPE_CONVENTIONAL = 0x1;
/** Zone that must be written sequentially. */
export const BLK_ZONE_TYPE_SEQWRITE_REQ = 0x2;
/** Zone that should be written sequentially. */
export const BLK_ZONE_TYPE_SEQWRITE_PREF = 0x3;

/** No write pointer: a conventional zone. */
export const BLK_ZONE_COND_NOT_WP = 0x0;
/** Empty. */
export const BLK_ZONE_COND_EMPTY = 0x1;
/** Opened by a write. */
export const BLK_ZONE_COND_IMP_OPEN = 0x2;
/** Opened by a command. */
export const BLK_ZONE_COND_EXP_OPEN = 0x3;
/** Closed after writing. */
export const BLK_ZONE_COND_CLOSED = 0x4;
/** Read-only. */
export const BLK_ZONE_COND_READONLY = 0xd;
/** Full. */
export const BLK_ZONE_COND_FULL = 0xe;
/** Cannot be read or written. */
export const BLK_ZONE_COND_OFFLINE = 0xf;
/** Open or closed; in cached reports only (6.19). */
export const BLK_ZONE_COND_ACTIVE = 0xff;

/** The metadata holds protection information. */
export const LBMD_PI_CAP_INTEGRITY = 0x1;
/** The reference tag is present. */
export const LBMD_PI_CAP_REFTAG = 0x2;
/** No checksum. */
export const LBMD_PI_CSUM_NONE = 0;
/** IP checksum. */
export const LBMD_PI_CSUM_IP = 1;
/** CRC-16 of T10 DIF. */
export const LBMD_PI_CSUM_CRC16_T10DIF = 2;
/** CRC-64 of NVMe. */
export const LBMD_PI_CSUM_CRC64_NVME = 4;

/**
 * Values of `struct blk_zone`, an element of a zone report; in sectors of 512
 * bytes, whatever the block size: `__u64 start, len, wp; __u8 type, cond,
 * non_seq, reset, resv[4]; __u64 capacity; __u8 reserved[24]`.
 */
export interface blk_zone {
  /** First sector. */
  start: number;
  /** Length in sectors. */
  len: number;
  /** The write pointer's sector. */
  wp: number;
  /** `BLK_ZONE_TYPE_*`. */
  type: number;
  /** `BLK_ZONE_COND_*`. */
  cond: number;
  /** Was written non-sequentially. */
  non_seq: number;
  /** A reset is recommended. */
  reset: number;
  /** Padding. */
  resv: Uint8Array;
  /** Usable sectors. */
  capacity: number;
  /** Padding. */
  reserved: Uint8Array;
}

/** Layout of `struct blk_zone`. */
export const blk_zone: Struct<blk_zone> = {
  name: "blk_zone",
  size: 64,
  fields: {
    start: [0, "u64"],
    len: [8, "u64"],
    wp: [16, "u64"],
    type: [24, "u8"],
    cond: [25, "u8"],
    non_seq: [26, "u8"],
    reset: [27, "u8"],
    resv: [28, "u8[4]"],
    capacity: [32, "u64"],
    reserved: [40, "u8[24]"],
  },
};
