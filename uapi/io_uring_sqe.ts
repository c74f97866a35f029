/**
 * io_uring's submission entry (SQE), from `linux/io_uring.h` as of Linux 7.2:
 * its layout, all operations, and the flags of those that a ublk server uses.
 *
 * @module
 */

import type { Struct } from "./struct.ts";

// sqe.flags.

/** `fd` is an index into the registered files. */
export const IOSQE_FIXED_FILE = 0x1;
/** Start when all earlier entries have completed. */
export const IOSQE_IO_DRAIN = 0x2;
/** The next entry starts when this one has succeeded. */
export const IOSQE_IO_LINK = 0x4;
/** The next entry starts when this one has completed. */
export const IOSQE_IO_HARDLINK = 0x8;
/** Hand to a worker immediately. */
export const IOSQE_ASYNC = 0x10;
/** Take a buffer from the group `buf_group`. */
export const IOSQE_BUFFER_SELECT = 0x20;
/** Post no completion on success (5.17). */
export const IOSQE_CQE_SKIP_SUCCESS = 0x40;

// sqe.opcode.

/** Does nothing. */
export const IORING_OP_NOP = 0;
/** preadv2(2). */
export const IORING_OP_READV = 1;
/** pwritev2(2). */
export const IORING_OP_WRITEV = 2;
/** fsync(2); `fsync_flags`. */
export const IORING_OP_FSYNC = 3;
/** pread(2) into the registered buffer `buf_index`. */
export const IORING_OP_READ_FIXED = 4;
/** pwrite(2) from the registered buffer `buf_index`. */
export const IORING_OP_WRITE_FIXED = 5;
/** Waits for `poll32_events` on `fd`. */
export const IORING_OP_POLL_ADD = 6;
/** Removes or changes a poll. */
export const IORING_OP_POLL_REMOVE = 7;
/** sync_file_range(2). */
export const IORING_OP_SYNC_FILE_RANGE = 8;
/** sendmsg(2). */
export const IORING_OP_SENDMSG = 9;
/** recvmsg(2). */
export const IORING_OP_RECVMSG = 10;
/** Waits for the `__kernel_timespec` at `addr`, or `off` completions. */
export const IORING_OP_TIMEOUT = 11;
/** Removes or changes the timeout with user data `addr`. */
export const IORING_OP_TIMEOUT_REMOVE = 12;
/** accept(2). */
export const IORING_OP_ACCEPT = 13;
/** Cancels the request with user data `addr`; `cancel_flags`. */
export const IORING_OP_ASYNC_CANCEL = 14;
/** Sets a time limit for the entry it is linked to. */
export const IORING_OP_LINK_TIMEOUT = 15;
/** connect(2). */
export const IORING_OP_CONNECT = 16;
/** fallocate(2): mode in `len`, offset in `off`, length in `addr`. */
export const IORING_OP_FALLOCATE = 17;
/** openat(2). */
export const IORING_OP_OPENAT = 18;
/** close(2). */
export const IORING_OP_CLOSE = 19;
/** Updates registered files. */
export const IORING_OP_FILES_UPDATE = 20;
/** statx(2). */
export const IORING_OP_STATX = 21;
/** pread(2). */
export const IORING_OP_READ = 22;
/** pwrite(2). */
export const IORING_OP_WRITE = 23;
/** posix_fadvise(2). */
export const IORING_OP_FADVISE = 24;
/** madvise(2). */
export const IORING_OP_MADVISE = 25;
/** send(2). */
export const IORING_OP_SEND = 26;
/** recv(2). */
export const IORING_OP_RECV = 27;
/** openat2(2). */
export const IORING_OP_OPENAT2 = 28;
/** epoll_ctl(2). */
export const IORING_OP_EPOLL_CTL = 29;
/** splice(2). */
export const IORING_OP_SPLICE = 30;
/** Provides a group of buffers. */
export const IORING_OP_PROVIDE_BUFFERS = 31;
/** Removes provided buffers. */
export const IORING_OP_REMOVE_BUFFERS = 32;
/** tee(2). */
export const IORING_OP_TEE = 33;
/** shutdown(2). */
export const IORING_OP_SHUTDOWN = 34;
/** renameat(2). */
export const IORING_OP_RENAMEAT = 35;
/** unlinkat(2). */
export const IORING_OP_UNLINKAT = 36;
/** mkdirat(2). */
export const IORING_OP_MKDIRAT = 37;
/** symlinkat(2). */
export const IORING_OP_SYMLINKAT = 38;
/** linkat(2). */
export const IORING_OP_LINKAT = 39;
/** Posts a completion on the ring `fd`. */
export const IORING_OP_MSG_RING = 40;
/** fsetxattr(2). */
export const IORING_OP_FSETXATTR = 41;
/** setxattr(2). */
export const IORING_OP_SETXATTR = 42;
/** fgetxattr(2). */
export const IORING_OP_FGETXATTR = 43;
/** getxattr(2). */
export const IORING_OP_GETXATTR = 44;
/** socket(2). */
export const IORING_OP_SOCKET = 45;
/** A command to the driver of `fd`, with `cmd_op` and `cmd`. */
export const IORING_OP_URING_CMD = 46;
/** Zero-copy send(2). */
export const IORING_OP_SEND_ZC = 47;
/** Zero-copy sendmsg(2). */
export const IORING_OP_SENDMSG_ZC = 48;
/** Reads repeatedly into provided buffers. */
export const IORING_OP_READ_MULTISHOT = 49;
/** waitid(2). */
export const IORING_OP_WAITID = 50;
/** Waits on a futex. */
export const IORING_OP_FUTEX_WAIT = 51;
/** Wakes a futex. */
export const IORING_OP_FUTEX_WAKE = 52;
/** Waits on several futexes. */
export const IORING_OP_FUTEX_WAITV = 53;
/** Creates an ordinary descriptor for a registered file. */
export const IORING_OP_FIXED_FD_INSTALL = 54;
/** ftruncate(2). */
export const IORING_OP_FTRUNCATE = 55;
/** bind(2). */
export const IORING_OP_BIND = 56;
/** listen(2). */
export const IORING_OP_LISTEN = 57;
/** Zero-copy receive. */
export const IORING_OP_RECV_ZC = 58;
/** epoll_wait(2). */
export const IORING_OP_EPOLL_WAIT = 59;
/** preadv2(2) into a registered buffer. */
export const IORING_OP_READV_FIXED = 60;
/** pwritev2(2) from a registered buffer. */
export const IORING_OP_WRITEV_FIXED = 61;
/** pipe2(2). */
export const IORING_OP_PIPE = 62;
/** NOP with a 128-byte entry. */
export const IORING_OP_NOP128 = 63;
/** URING_CMD with a 128-byte entry. */
export const IORING_OP_URING_CMD128 = 64;
/** One more than the last operation. */
export const IORING_OP_LAST = 65;

// Flags of the operations.

/** `uring_cmd_flags`: use the registered buffer `buf_index`. */
export const IORING_URING_CMD_FIXED = 0x1;
/** `uring_cmd_flags`: complete repeatedly, into provided buffers. */
export const IORING_URING_CMD_MULTISHOT = 0x2;
/** `uring_cmd_flags`: mask of all flags. */
export const IORING_URING_CMD_MASK = 0x3;
/** `fsync_flags`: fdatasync(2). */
export const IORING_FSYNC_DATASYNC = 0x1;
/** `rw_flags`, in `linux/fs.h`: the written bytes are durable once the write completes. */
export const RWF_DSYNC = 0x2;
/** `timeout_flags`: the time is absolute. */
export const IORING_TIMEOUT_ABS = 0x1;
/** `timeout_flags`, TIMEOUT_REMOVE: change the timeout. */
export const IORING_TIMEOUT_UPDATE = 0x2;
/** `timeout_flags`: use CLOCK_BOOTTIME. */
export const IORING_TIMEOUT_BOOTTIME = 0x4;
/** `timeout_flags`: use CLOCK_REALTIME. */
export const IORING_TIMEOUT_REALTIME = 0x8;
/** `timeout_flags`, TIMEOUT_REMOVE: change a linked timeout. */
export const IORING_LINK_TIMEOUT_UPDATE = 0x10;
/** `timeout_flags`: expiry counts as success. */
export const IORING_TIMEOUT_ETIME_SUCCESS = 0x20;
/** `timeout_flags`: fire repeatedly (6.4). */
export const IORING_TIMEOUT_MULTISHOT = 0x40;
/** `timeout_flags`: `addr` is nanoseconds, not a pointer. */
export const IORING_TIMEOUT_IMMEDIATE_ARG = 0x80;
/** `timeout_flags`: mask of the clocks. */
export const IORING_TIMEOUT_CLOCK_MASK = 0xc;
/** `timeout_flags`: mask of the updates. */
export const IORING_TIMEOUT_UPDATE_MASK = 0x12;
/** `len` of POLL_ADD: complete repeatedly. */
export const IORING_POLL_ADD_MULTI = 0x1;
/** `len` of POLL_REMOVE: change the events. */
export const IORING_POLL_UPDATE_EVENTS = 0x2;
/** `len` of POLL_REMOVE: change the user data. */
export const IORING_POLL_UPDATE_USER_DATA = 0x4;
/** `len` of POLL_ADD: level-triggered. */
export const IORING_POLL_ADD_LEVEL = 0x8;
/** `cancel_flags`: cancel every match, not only the first. */
export const IORING_ASYNC_CANCEL_ALL = 0x1;
/** `cancel_flags`: match `fd`. */
export const IORING_ASYNC_CANCEL_FD = 0x2;
/** `cancel_flags`: match any request. */
export const IORING_ASYNC_CANCEL_ANY = 0x4;
/** `cancel_flags`: `fd` is a registered file. */
export const IORING_ASYNC_CANCEL_FD_FIXED = 0x8;
/** `cancel_flags`: match the user data too. */
export const IORING_ASYNC_CANCEL_USERDATA = 0x10;
/** `cancel_flags`: match the opcode in `len`. */
export const IORING_ASYNC_CANCEL_OP = 0x20;
/** `addr` of MSG_RING: `len` becomes `res`, `off` the user data. */
export const IORING_MSG_DATA = 0;
/** `addr` of MSG_RING: send a registered file. */
export const IORING_MSG_SEND_FD = 1;
/** `msg_ring_flags`: no completion on the other ring. */
export const IORING_MSG_RING_CQE_SKIP = 0x1;
/** `msg_ring_flags`: `file_index` becomes the completion's flags. */
export const IORING_MSG_RING_FLAGS_PASS = 0x2;
/** `nop_flags`: the result is `len`. */
export const IORING_NOP_INJECT_RESULT = 0x1;
/** `nop_flags`: use `fd`. */
export const IORING_NOP_FILE = 0x2;
/** `nop_flags`: use the registered file `fd`. */
export const IORING_NOP_FIXED_FILE = 0x4;
/** `nop_flags`: use the registered buffer `buf_index`. */
export const IORING_NOP_FIXED_BUFFER = 0x8;
/** `nop_flags`: complete through task work. */
export const IORING_NOP_TW = 0x10;
/** `nop_flags`: post a completion of 32 bytes. */
export const IORING_NOP_CQE32 = 0x20;
/** `attr_type_mask`: an `io_uring_attr_pi`. */
export const IORING_RW_ATTR_FLAG_PI = 0x1;
/** `file_index`: any free slot. */
export const IORING_FILE_INDEX_ALLOC = 0xffffffff;

/**
 * Values of `struct io_uring_sqe`; the members that the operations here use:
 * `__u8 opcode, flags; __u16 ioprio; __s32 fd; union { __u64 off, addr2; {
 * __u32 cmd_op, __pad1 } }; union { __u64 addr }; __u32 len; union { __u32
 * rw_flags, fsync_flags, ... }; __u64 user_data; union { __u16 buf_index,
 * buf_group }; __u16 personality; union { __s32 splice_fd_in; __u32 file_index
 * }; union { { __u64 addr3, __pad2[1] }; { __u64 attr_ptr, attr_type_mask };
 * __u8 cmd[0] }`.
 */
export interface io_uring_sqe {
  /** `IORING_OP_*`. */
  opcode: number;
  /** `IOSQE_*`. */
  flags: number;
  /** Priority. */
  ioprio: number;
  /** Descriptor, or index of a registered file. */
  fd: number;
  /** Offset in the file. */
  off: number;
  /** Second address. */
  addr2: number;
  /** The driver's command. */
  cmd_op: number;
  /** Must be 0 for URING_CMD. */
  __pad1: number;
  /** Address. */
  addr: number;
  /** Length in bytes, or a count. */
  len: number;
  /** `RWF_*`. */
  rw_flags: number;
  /** `IORING_FSYNC_*`. */
  fsync_flags: number;
  /** `POLL*`. */
  poll32_events: number;
  /** `IORING_TIMEOUT_*`. */
  timeout_flags: number;
  /** `IORING_ASYNC_CANCEL_*`. */
  cancel_flags: number;
  /** `IORING_MSG_RING_*`. */
  msg_ring_flags: number;
  /** `IORING_URING_CMD_*`. */
  uring_cmd_flags: number;
  /** `IORING_NOP_*`. */
  nop_flags: number;
  /** Returned in the completion. */
  user_data: number;
  /** Index of a registered buffer. */
  buf_index: number;
  /** Group of provided buffers. */
  buf_group: number;
  /** Credentials. */
  personality: number;
  /** Second descriptor. */
  splice_fd_in: number;
  /** Slot of a registered file. */
  file_index: number;
  /** Third address. */
  addr3: number;
  /** Address of the attributes. */
  attr_ptr: number;
  /** `IORING_RW_ATTR_FLAG_*`. */
  attr_type_mask: number;
  /** The driver's bytes: 16, or 80 in an SQE of 128. */
  cmd: Uint8Array;
}

/** Layout of `struct io_uring_sqe`. */
export const io_uring_sqe: Struct<io_uring_sqe> = {
  name: "io_uring_sqe",
  size: 64,
  fields: {
    opcode: [0, "u8"],
    flags: [1, "u8"],
    ioprio: [2, "u16"],
    fd: [4, "s32"],
    off: [8, "u64"],
    addr2: [8, "u64"],
    cmd_op: [8, "u32"],
    __pad1: [12, "u32"],
    addr: [16, "u64"],
    len: [24, "u32"],
    rw_flags: [28, "u32"],
    fsync_flags: [28, "u32"],
    poll32_events: [28, "u32"],
    timeout_flags: [28, "u32"],
    cancel_flags: [28, "u32"],
    msg_ring_flags: [28, "u32"],
    uring_cmd_flags: [28, "u32"],
    nop_flags: [28, "u32"],
    user_data: [32, "u64"],
    buf_index: [40, "u16"],
    buf_group: [40, "u16"],
    personality: [42, "u16"],
    splice_fd_in: [44, "s32"],
    file_index: [44, "u32"],
    addr3: [48, "u64"],
    attr_ptr: [48, "u64"],
    attr_type_mask: [56, "u64"],
    cmd: [48, "u8[0]"],
  },
};
