/**
 * Device parameters of `linux/ublk_cmd.h` as of Linux 7.2: the argument of
 * `UBLK_U_CMD_SET_PARAMS` and `UBLK_U_CMD_GET_PARAMS`.
 *
 * `types` selects the sub-structs in use. Basic came with Linux 6.0, as did
 * discard; devt with 6.3, zoned with 6.6, DMA alignment and segment with 6.15,
 * integrity with 7.0. An older driver cuts `len` to its own size, and silently
 * clears the bits of `types` that it does not know, so read the parameters back.
 *
 * @module
 */

import type { Struct } from "./struct.ts";

/** `basic` is in use. */
export const UBLK_PARAM_TYPE_BASIC = 0x1;
/** `discard` is in use: discard and write-zeroes. */
export const UBLK_PARAM_TYPE_DISCARD = 0x2;
/** `devt` is in use; read-only. */
export const UBLK_PARAM_TYPE_DEVT = 0x4;
/** `zoned` is in use. */
export const UBLK_PARAM_TYPE_ZONED = 0x8;
/** `dma` is in use. */
export const UBLK_PARAM_TYPE_DMA_ALIGN = 0x10;
/** `seg` is in use. */
export const UBLK_PARAM_TYPE_SEGMENT = 0x20;
/** `integrity` is in use; needs `UBLK_F_INTEGRITY`. */
export const UBLK_PARAM_TYPE_INTEGRITY = 0x40;

/** The device is read-only. */
export const UBLK_ATTR_READ_ONLY = 0x1;
/** The device is rotational. */
export const UBLK_ATTR_ROTATIONAL = 0x2;
/** Writes may be lost until a FLUSH; without this flag no FLUSH is sent. */
export const UBLK_ATTR_VOLATILE_CACHE = 0x4;
/** The server honours `UBLK_IO_F_FUA`; effective only with a volatile cache. */
export const UBLK_ATTR_FUA = 0x8;

/** The minimum of `max_segment_size` and of `seg_boundary_mask + 1`. */
export const UBLK_MIN_SEGMENT_SIZE = 4096;

/**
 * Values of `struct ublk_param_basic`: `__u32 attrs; __u8 logical_bs_shift,
 * physical_bs_shift, io_opt_shift, io_min_shift; __u32 max_sectors,
 * chunk_sectors; __u64 dev_sectors, virt_boundary_mask`.
 */
export interface ublk_param_basic {
  /** `UBLK_ATTR_*`. */
  attrs: number;
  /** log2 of the logical block's bytes, 9 to 12. */
  logical_bs_shift: number;
  /** log2 of the physical block's bytes. */
  physical_bs_shift: number;
  /** log2 of the optimal request size, in bytes. */
  io_opt_shift: number;
  /** log2 of the minimum efficient request size, in bytes. */
  io_min_shift: number;
  /** The largest request, in sectors of 512 bytes. */
  max_sectors: number;
  /** In sectors: requests do not cross multiples of this; the zone size if zoned. */
  chunk_sectors: number;
  /** The device's size in sectors of 512 bytes. */
  dev_sectors: number;
  /** Segments do not cross `mask + 1`; all 64 bits may be set. */
  virt_boundary_mask: bigint;
}

/** Layout of `struct ublk_param_basic`. */
export const ublk_param_basic: Struct<ublk_param_basic> = {
  name: "ublk_param_basic",
  size: 32,
  fields: {
    attrs: [0, "u32"],
    logical_bs_shift: [4, "u8"],
    physical_bs_shift: [5, "u8"],
    io_opt_shift: [6, "u8"],
    io_min_shift: [7, "u8"],
    max_sectors: [8, "u32"],
    chunk_sectors: [12, "u32"],
    dev_sectors: [16, "u64"],
    virt_boundary_mask: [24, "u64n"],
  },
};

/**
 * Values of `struct ublk_param_discard`: `__u32 discard_alignment,
 * discard_granularity, max_discard_sectors, max_write_zeroes_sectors;
 * __u16 max_discard_segments, reserved0`.
 */
export interface ublk_param_discard {
  /** Offset of the first discardable unit, in bytes. */
  discard_alignment: number;
  /** Unit of discard, in bytes; must not be 0, even for write-zeroes alone. */
  discard_granularity: number;
  /** The largest discard, in sectors; 0 means none. */
  max_discard_sectors: number;
  /** The largest write-zeroes, in sectors; 0 means none. */
  max_write_zeroes_sectors: number;
  /** Must be 1. */
  max_discard_segments: number;
  /** Must be 0. */
  reserved0: number;
}

/** Layout of `struct ublk_param_discard`. */
export const ublk_param_discard: Struct<ublk_param_discard> = {
  name: "ublk_param_discard",
  size: 20,
  fields: {
    discard_alignment: [0, "u32"],
    discard_granularity: [4, "u32"],
    max_discard_sectors: [8, "u32"],
    max_write_zeroes_sectors: [12, "u32"],
    max_discard_segments: [16, "u16"],
    reserved0: [18, "u16"],
  },
};

/**
 * Values of `struct ublk_param_devt`, which the driver fills in. Those of the
 * disk are set once it has started: `__u32 char_major, char_minor, disk_major,
 * disk_minor`.
 */
export interface ublk_param_devt {
  /** Major of `/dev/ublkcN`. */
  char_major: number;
  /** Minor of `/dev/ublkcN`. */
  char_minor: number;
  /** Major of `/dev/ublkbN`. */
  disk_major: number;
  /** Minor of `/dev/ublkbN`. */
  disk_minor: number;
}

/** Layout of `struct ublk_param_devt`. */
export const ublk_param_devt: Struct<ublk_param_devt> = {
  name: "ublk_param_devt",
  size: 16,
  fields: {
    char_major: [0, "u32"],
    char_minor: [4, "u32"],
    disk_major: [8, "u32"],
    disk_minor: [12, "u32"],
  },
};

/**
 * Values of `struct ublk_param_zoned`: `__u32 max_open_zones,
 * max_active_zones, max_zone_append_sectors; __u8 reserved[20]`.
 */
export interface ublk_param_zoned {
  /** Zones open at once; 0 means no limit. */
  max_open_zones: number;
  /** Zones open or closed at once; 0 means no limit. */
  max_active_zones: number;
  /** The largest zone append, in sectors; not 0. */
  max_zone_append_sectors: number;
  /** Must be 0. */
  reserved: Uint8Array;
}

/** Layout of `struct ublk_param_zoned`. */
export const ublk_param_zoned: Struct<ublk_param_zoned> = {
  name: "ublk_param_zoned",
  size: 32,
  fields: {
    max_open_zones: [0, "u32"],
    max_active_zones: [4, "u32"],
    max_zone_append_sectors: [8, "u32"],
    reserved: [12, "u8[20]"],
  },
};

/** Values of `struct ublk_param_dma_align`: `__u32 alignment; __u8 pad[4]`. */
export interface ublk_param_dma_align {
  /** Mask: the alignment of request memory in bytes, minus 1. */
  alignment: number;
  /** Must be 0. */
  pad: Uint8Array;
}

/** Layout of `struct ublk_param_dma_align`. */
export const ublk_param_dma_align: Struct<ublk_param_dma_align> = {
  name: "ublk_param_dma_align",
  size: 8,
  fields: { alignment: [0, "u32"], pad: [4, "u8[4]"] },
};

/**
 * Values of `struct ublk_param_segment`; the first three are required:
 * `__u64 seg_boundary_mask; __u32 max_segment_size; __u16 max_segments;
 * __u8 pad[2]`.
 */
export interface ublk_param_segment {
  /** A power of two, at least 4096, minus 1; all 64 bits may be set. */
  seg_boundary_mask: bigint;
  /** In bytes, at least 4096. */
  max_segment_size: number;
  /** Segments of one request. */
  max_segments: number;
  /** Must be 0. */
  pad: Uint8Array;
}

/** Layout of `struct ublk_param_segment`. */
export const ublk_param_segment: Struct<ublk_param_segment> = {
  name: "ublk_param_segment",
  size: 16,
  fields: {
    seg_boundary_mask: [0, "u64n"],
    max_segment_size: [8, "u32"],
    max_segments: [12, "u16"],
    pad: [14, "u8[2]"],
  },
};

/**
 * Values of `struct ublk_param_integrity`: `__u32 flags;
 * __u16 max_integrity_segments; __u8 interval_exp, metadata_size, pi_offset,
 * csum_type, tag_size, pad[5]`.
 */
export interface ublk_param_integrity {
  /** `LBMD_PI_CAP_*`. */
  flags: number;
  /** Metadata segments of one request; 0 means no limit. */
  max_integrity_segments: number;
  /** log2 of the bytes that one metadata entry covers. */
  interval_exp: number;
  /** Bytes of one metadata entry; must not be 0. */
  metadata_size: number;
  /** Offset of the protection information in the entry, in bytes. */
  pi_offset: number;
  /** `LBMD_PI_CSUM_*`. */
  csum_type: number;
  /** Bytes of the application tag. */
  tag_size: number;
  /** Must be 0. */
  pad: Uint8Array;
}

/** Layout of `struct ublk_param_integrity`. */
export const ublk_param_integrity: Struct<ublk_param_integrity> = {
  name: "ublk_param_integrity",
  size: 16,
  fields: {
    flags: [0, "u32"],
    max_integrity_segments: [4, "u16"],
    interval_exp: [6, "u8"],
    metadata_size: [7, "u8"],
    pi_offset: [8, "u8"],
    csum_type: [9, "u8"],
    tag_size: [10, "u8"],
    pad: [11, "u8[5]"],
  },
};

/**
 * Values of `struct ublk_params`: `__u32 len, types`, then one sub-struct for
 * each bit of `types`.
 */
export interface ublk_params {
  /** Size of the whole in bytes: 152 here, less on older drivers. */
  len: number;
  /** `UBLK_PARAM_TYPE_*` of the sub-structs in use. */
  types: number;
  /** Size, block sizes and attributes. */
  basic: ublk_param_basic;
  /** Discard and write-zeroes. */
  discard: ublk_param_discard;
  /** Device numbers, read-only. */
  devt: ublk_param_devt;
  /** Zones. */
  zoned: ublk_param_zoned;
  /** Memory alignment. */
  dma: ublk_param_dma_align;
  /** Segments. */
  seg: ublk_param_segment;
  /** Integrity metadata. */
  integrity: ublk_param_integrity;
}

/** Layout of `struct ublk_params`; `seg` is aligned to 8, after 4 bytes of padding. */
export const ublk_params: Struct<ublk_params> = {
  name: "ublk_params",
  size: 152,
  fields: {
    len: [0, "u32"],
    types: [4, "u32"],
    basic: [8, ublk_param_basic],
    discard: [40, ublk_param_discard],
    devt: [60, ublk_param_devt],
    zoned: [76, ublk_param_zoned],
    dma: [108, ublk_param_dma_align],
    seg: [120, ublk_param_segment],
    integrity: [136, ublk_param_integrity],
  },
};
