/**
 * io_uring_register(2), from `linux/io_uring.h` as of Linux 7.2: all opcodes,
 * and the arguments of those that a ublk server uses.
 *
 * @module
 */

import { __kernel_timespec } from "./io_uring.ts";
import type { Struct } from "./struct.ts";

/** Registers buffers, as `iovec[]`. */
export const IORING_REGISTER_BUFFERS = 0;
/** Unregisters all buffers. */
export const IORING_UNREGISTER_BUFFERS = 1;
/** Registers files, as `int[]`. */
export const IORING_REGISTER_FILES = 2;
/** Unregisters all files. */
export const IORING_UNREGISTER_FILES = 3;
/** Signals an eventfd at each completion. */
export const IORING_REGISTER_EVENTFD = 4;
/** Unregisters the eventfd. */
export const IORING_UNREGISTER_EVENTFD = 5;
/** Replaces files. */
export const IORING_REGISTER_FILES_UPDATE = 6;
/** Signals an eventfd at completions by workers. */
export const IORING_REGISTER_EVENTFD_ASYNC = 7;
/** Fills in an `io_uring_probe`. */
export const IORING_REGISTER_PROBE = 8;
/** Registers the caller's credentials. */
export const IORING_REGISTER_PERSONALITY = 9;
/** Unregisters credentials. */
export const IORING_UNREGISTER_PERSONALITY = 10;
/** Restricts the ring. */
export const IORING_REGISTER_RESTRICTIONS = 11;
/** Starts a ring made with R_DISABLED. */
export const IORING_REGISTER_ENABLE_RINGS = 12;
/** Registers files, as `io_uring_rsrc_register`. */
export const IORING_REGISTER_FILES2 = 13;
/** Replaces files, as `io_uring_rsrc_update2`. */
export const IORING_REGISTER_FILES_UPDATE2 = 14;
/** Registers buffers, as `io_uring_rsrc_register`; sparse for zero copy. */
export const IORING_REGISTER_BUFFERS2 = 15;
/** Replaces buffers, as `io_uring_rsrc_update2`. */
export const IORING_REGISTER_BUFFERS_UPDATE = 16;
/** Binds the workers to CPUs. */
export const IORING_REGISTER_IOWQ_AFF = 17;
/** Unbinds the workers. */
export const IORING_UNREGISTER_IOWQ_AFF = 18;
/** Limits the workers. */
export const IORING_REGISTER_IOWQ_MAX_WORKERS = 19;
/** Registers rings with the thread, as `io_uring_rsrc_update[]`. */
export const IORING_REGISTER_RING_FDS = 20;
/** Unregisters rings. */
export const IORING_UNREGISTER_RING_FDS = 21;
/** Registers a ring of provided buffers. */
export const IORING_REGISTER_PBUF_RING = 22;
/** Unregisters a ring of provided buffers. */
export const IORING_UNREGISTER_PBUF_RING = 23;
/** Cancels and waits, by `io_uring_sync_cancel_reg`. */
export const IORING_REGISTER_SYNC_CANCEL = 24;
/** Sets the slots for automatic allocation. */
export const IORING_REGISTER_FILE_ALLOC_RANGE = 25;
/** Reads the state of provided buffers. */
export const IORING_REGISTER_PBUF_STATUS = 26;
/** Enables busy polling. */
export const IORING_REGISTER_NAPI = 27;
/** Disables busy polling. */
export const IORING_UNREGISTER_NAPI = 28;
/** Chooses the clock of waits. */
export const IORING_REGISTER_CLOCK = 29;
/** Copies another ring's registered buffers. */
export const IORING_REGISTER_CLONE_BUFFERS = 30;
/** Sends a MSG_RING without a source ring. */
export const IORING_REGISTER_SEND_MSG_RING = 31;
/** Registers a queue for zero-copy receive. */
export const IORING_REGISTER_ZCRX_IFQ = 32;
/** Resizes the rings. */
export const IORING_REGISTER_RESIZE_RINGS = 33;
/** Registers the wait region. */
export const IORING_REGISTER_MEM_REGION = 34;
/** Queries io_uring's capabilities (6.18). */
export const IORING_REGISTER_QUERY = 35;
/** Controls zero-copy receive (6.19). */
export const IORING_REGISTER_ZCRX_CTRL = 36;
/** Registers a BPF filter (7.0). */
export const IORING_REGISTER_BPF_FILTER = 37;
/** One more than the last opcode. */
export const IORING_REGISTER_LAST = 38;
/** Added to the opcode: `fd` is the index of a registered ring. */
export const IORING_REGISTER_USE_REGISTERED_RING = 0x80000000;
/** `io_uring_rsrc_register.flags`: `nr` empty slots (5.19). */
export const IORING_RSRC_REGISTER_SPARSE = 0x1;
/** Leaves this file unchanged. */
export const IORING_REGISTER_FILES_SKIP: number = -2;
/** `io_uring_probe_op.flags`: the kernel has the operation. */
export const IO_URING_OP_SUPPORTED = 0x1;
/** `io_uring_buf_reg.flags`: the kernel provides the ring's memory. */
export const IOU_PBUF_RING_MMAP = 1;
/** `io_uring_buf_reg.flags`: buffers are consumed incrementally. */
export const IOU_PBUF_RING_INC = 2;

/**
 * Values of `struct io_uring_rsrc_register`:
 * `__u32 nr, flags; __u64 resv2; __aligned_u64 data, tags`.
 */
export interface io_uring_rsrc_register {
  /** Number of elements. */
  nr: number;
  /** `IORING_RSRC_REGISTER_*`. */
  flags: number;
  /** Must be 0. */
  resv2: number;
  /** Address of the array, or 0. */
  data: number;
  /** Address of the tags, or 0. */
  tags: number;
}

/** Layout of `struct io_uring_rsrc_register`. */
export const io_uring_rsrc_register: Struct<io_uring_rsrc_register> = {
  name: "io_uring_rsrc_register",
  size: 32,
  fields: {
    nr: [0, "u32"],
    flags: [4, "u32"],
    resv2: [8, "u64"],
    data: [16, "u64"],
    tags: [24, "u64"],
  },
};

/**
 * Values of `struct io_uring_rsrc_update`:
 * `__u32 offset, resv; __aligned_u64 data`.
 */
export interface io_uring_rsrc_update {
  /** First index; for rings in and out, and -1 means any. */
  offset: number;
  /** Must be 0. */
  resv: number;
  /** Address of the array; for rings the descriptor itself. */
  data: number;
}

/** Layout of `struct io_uring_rsrc_update`. */
export const io_uring_rsrc_update: Struct<io_uring_rsrc_update> = {
  name: "io_uring_rsrc_update",
  size: 16,
  fields: {
    offset: [0, "u32"],
    resv: [4, "u32"],
    data: [8, "u64"],
  },
};

/**
 * Values of `struct io_uring_rsrc_update2`:
 * `__u32 offset, resv; __aligned_u64 data, tags; __u32 nr, resv2`.
 */
export interface io_uring_rsrc_update2 {
  /** First index. */
  offset: number;
  /** Must be 0. */
  resv: number;
  /** Address of the array. */
  data: number;
  /** Address of the tags, or 0. */
  tags: number;
  /** Number of elements. */
  nr: number;
  /** Must be 0. */
  resv2: number;
}

/** Layout of `struct io_uring_rsrc_update2`. */
export const io_uring_rsrc_update2: Struct<io_uring_rsrc_update2> = {
  name: "io_uring_rsrc_update2",
  size: 32,
  fields: {
    offset: [0, "u32"],
    resv: [4, "u32"],
    data: [8, "u64"],
    tags: [16, "u64"],
    nr: [24, "u32"],
    resv2: [28, "u32"],
  },
};

/**
 * Values of `struct io_uring_probe_op`:
 * `__u8 op, resv; __u16 flags; __u32 resv2`.
 */
export interface io_uring_probe_op {
  /** `IORING_OP_*`. */
  op: number;
  /** Reserved. */
  resv: number;
  /** `IO_URING_OP_SUPPORTED`. */
  flags: number;
  /** Reserved. */
  resv2: number;
}

/** Layout of `struct io_uring_probe_op`. */
export const io_uring_probe_op: Struct<io_uring_probe_op> = {
  name: "io_uring_probe_op",
  size: 8,
  fields: {
    op: [0, "u8"],
    resv: [1, "u8"],
    flags: [2, "u16"],
    resv2: [4, "u32"],
  },
};

/**
 * Values of `struct io_uring_probe`; `ops_len` times `io_uring_probe_op` follow:
 * `__u8 last_op, ops_len; __u16 resv; __u32 resv2[3]; struct io_uring_probe_op
 * ops[]`.
 */
export interface io_uring_probe {
  /** The last operation that the kernel supports. */
  last_op: number;
  /** Elements of `ops`. */
  ops_len: number;
  /** Must be 0. */
  resv: number;
  /** Must be 0. */
  resv2: number[];
}

/** Layout of `struct io_uring_probe`. */
export const io_uring_probe: Struct<io_uring_probe> = {
  name: "io_uring_probe",
  size: 16,
  fields: {
    last_op: [0, "u8"],
    ops_len: [1, "u8"],
    resv: [2, "u16"],
    resv2: [4, "u32[3]"],
  },
};

/**
 * Values of `struct io_uring_buf`, an element of a ring of provided buffers:
 * `__u64 addr; __u32 len; __u16 bid, resv`.
 */
export interface io_uring_buf {
  /** Address of the buffer. */
  addr: number;
  /** Length of the buffer, in bytes. */
  len: number;
  /** Id of the buffer. */
  bid: number;
  /** In the first element, the ring's tail. */
  resv: number;
}

/** Layout of `struct io_uring_buf`. */
export const io_uring_buf: Struct<io_uring_buf> = {
  name: "io_uring_buf",
  size: 16,
  fields: {
    addr: [0, "u64"],
    len: [8, "u32"],
    bid: [12, "u16"],
    resv: [14, "u16"],
  },
};

/**
 * Values of `struct io_uring_buf_reg`, the argument of PBUF_RING:
 * `__u64 ring_addr; __u32 ring_entries; __u16 bgid, flags; __u32 min_left,
 * resv[5]`.
 */
export interface io_uring_buf_reg {
  /** Address of the ring, page-aligned. */
  ring_addr: number;
  /** A power of two. */
  ring_entries: number;
  /** Number of the group. */
  bgid: number;
  /** `IOU_PBUF_RING_*`. */
  flags: number;
  /** Minimum of bytes left in a buffer that is consumed incrementally. */
  min_left: number;
  /** Must be 0. */
  resv: number[];
}

/** Layout of `struct io_uring_buf_reg`. */
export const io_uring_buf_reg: Struct<io_uring_buf_reg> = {
  name: "io_uring_buf_reg",
  size: 40,
  fields: {
    ring_addr: [0, "u64"],
    ring_entries: [8, "u32"],
    bgid: [12, "u16"],
    flags: [14, "u16"],
    min_left: [16, "u32"],
    resv: [20, "u32[5]"],
  },
};

/**
 * Values of `struct io_uring_sync_cancel_reg`:
 * `__u64 addr; __s32 fd; __u32 flags; struct __kernel_timespec timeout; __u8
 * opcode, pad[7]; __u64 pad2[3]`.
 */
export interface io_uring_sync_cancel_reg {
  /** User data to match. */
  addr: number;
  /** Descriptor to match. */
  fd: number;
  /** `IORING_ASYNC_CANCEL_*`. */
  flags: number;
  /** Timeout; -1 and -1 means for ever. */
  timeout: __kernel_timespec;
  /** Opcode to match. */
  opcode: number;
  /** Must be 0. */
  pad: Uint8Array;
  /** Must be 0. */
  pad2: number[];
}

/** Layout of `struct io_uring_sync_cancel_reg`. */
export const io_uring_sync_cancel_reg: Struct<io_uring_sync_cancel_reg> = {
  name: "io_uring_sync_cancel_reg",
  size: 64,
  fields: {
    addr: [0, "u64"],
    fd: [8, "s32"],
    flags: [12, "u32"],
    timeout: [16, __kernel_timespec],
    opcode: [32, "u8"],
    pad: [33, "u8[7]"],
    pad2: [40, "u64[3]"],
  },
};
