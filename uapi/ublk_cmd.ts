/**
 * Control commands of `linux/ublk_cmd.h` as of Linux 7.2: the commands of
 * `/dev/ublk-control`, the states of a device, and the limits.
 *
 * A control command is an `IORING_OP_URING_CMD` on a ring with 128-byte SQEs;
 * `sqe.cmd_op` is one of the `UBLK_U_CMD_*`, and `sqe.cmd` holds a
 * {@linkcode ublksrv_ctrl_cmd}.
 *
 * Every exported constant in upper case is the kernel's macro of that name;
 * `abi_test.ts` compares each with the real header.
 *
 * @module
 */

import { assert } from "./error.ts";
import { UBLK_QID_BITS, UBLK_TAG_BITS } from "./ublk_io.ts";
import type { Struct } from "./struct.ts";

// Legacy opcodes. A kernel built without CONFIG_BLKDEV_UBLK_LEGACY_OPCODES
// fails them with -EOPNOTSUPP; use the encoded ones below.

/** Legacy: {@linkcode UBLK_U_CMD_GET_QUEUE_AFFINITY}. */
export const UBLK_CMD_GET_QUEUE_AFFINITY = 0x01;
/** Legacy: {@linkcode UBLK_U_CMD_GET_DEV_INFO}. */
export const UBLK_CMD_GET_DEV_INFO = 0x02;
/** Legacy: {@linkcode UBLK_U_CMD_ADD_DEV}. */
export const UBLK_CMD_ADD_DEV = 0x04;
/** Legacy: {@linkcode UBLK_U_CMD_DEL_DEV}. */
export const UBLK_CMD_DEL_DEV = 0x05;
/** Legacy: {@linkcode UBLK_U_CMD_START_DEV}. */
export const UBLK_CMD_START_DEV = 0x06;
/** Legacy: {@linkcode UBLK_U_CMD_STOP_DEV}. */
export const UBLK_CMD_STOP_DEV = 0x07;
/** Legacy: {@linkcode UBLK_U_CMD_SET_PARAMS}. */
export const UBLK_CMD_SET_PARAMS = 0x08;
/** Legacy: {@linkcode UBLK_U_CMD_GET_PARAMS}. */
export const UBLK_CMD_GET_PARAMS = 0x09;
/** Legacy: {@linkcode UBLK_U_CMD_START_USER_RECOVERY}. */
export const UBLK_CMD_START_USER_RECOVERY = 0x10;
/** Legacy: {@linkcode UBLK_U_CMD_END_USER_RECOVERY}. */
export const UBLK_CMD_END_USER_RECOVERY = 0x11;
/** Legacy: {@linkcode UBLK_U_CMD_GET_DEV_INFO2}. */
export const UBLK_CMD_GET_DEV_INFO2 = 0x12;

// _IOR('u', nr, struct ublksrv_ctrl_cmd) is 0x80207500 | nr, _IOWR is
// 0xc0207500 | nr: 0x20 is the size of the struct.

/** Reads the CPU mask of queue `data[0]` into `addr`. */
export const UBLK_U_CMD_GET_QUEUE_AFFINITY = 0x80207501;
/** Reads a {@linkcode ublksrv_ctrl_dev_info} into `addr`. */
export const UBLK_U_CMD_GET_DEV_INFO = 0x80207502;
/** Adds a device; `addr` holds its `ublksrv_ctrl_dev_info`, in and out. */
export const UBLK_U_CMD_ADD_DEV = 0xc0207504;
/** Deletes a device, and waits until `/dev/ublkcN` is closed everywhere. */
export const UBLK_U_CMD_DEL_DEV = 0xc0207505;
/** Starts a device; `data[0]` is the server's pid. */
export const UBLK_U_CMD_START_DEV = 0xc0207506;
/** Stops a device, after flushing it and finishing the requests in flight. */
export const UBLK_U_CMD_STOP_DEV = 0xc0207507;
/** Sets the parameters from the `ublk_params` at `addr`; -EACCES once started. */
export const UBLK_U_CMD_SET_PARAMS = 0xc0207508;
/** Reads the parameters into the `ublk_params` at `addr`. */
export const UBLK_U_CMD_GET_PARAMS = 0x80207509;
/** Starts the recovery of a device whose server died. */
export const UBLK_U_CMD_START_USER_RECOVERY = 0xc0207510;
/** Ends the recovery; `data[0]` is the new server's pid. */
export const UBLK_U_CMD_END_USER_RECOVERY = 0xc0207511;
/** As `GET_DEV_INFO`, for unprivileged callers: the device's path precedes the buffer. */
export const UBLK_U_CMD_GET_DEV_INFO2 = 0x80207512;
/** Reads the driver's feature bits (8 bytes) into `addr` (6.5). */
export const UBLK_U_CMD_GET_FEATURES = 0x80207513;
/** Deletes a device without waiting for `/dev/ublkcN` to be closed (6.9). */
export const UBLK_U_CMD_DEL_DEV_ASYNC = 0x80207514;
/** Resizes a live device to `data[0]` sectors (6.16). */
export const UBLK_U_CMD_UPDATE_SIZE = 0xc0207515;
/** Quiesces a live device within `data[0]` milliseconds (0: no limit), for an upgrade (6.16). */
export const UBLK_U_CMD_QUIESCE_DEV = 0xc0207516;
/** Stops a device; fails with -EBUSY while somebody has it open (7.0). */
export const UBLK_U_CMD_TRY_STOP_DEV = 0xc0207517;
/** Registers the `ublk_shmem_buf_reg` at `addr`; the result is its index (7.1). */
export const UBLK_U_CMD_REG_BUF = 0xc0207518;
/** Unregisters the shared buffer with the index `data[0]` (7.1). */
export const UBLK_U_CMD_UNREG_BUF = 0xc0207519;

/** Bytes that `GET_FEATURES` expects as `len`. */
export const UBLK_FEATURES_LEN = 8;

/** No disk: not started yet, or stopped. */
export const UBLK_S_DEV_DEAD = 0;
/** Serving I/O. */
export const UBLK_S_DEV_LIVE = 1;
/** The server is gone and I/O waits for recovery. */
export const UBLK_S_DEV_QUIESCED = 2;
/** The server is gone and I/O fails until recovery. */
export const UBLK_S_DEV_FAIL_IO = 3;

/** The most requests that a queue can hold. */
export const UBLK_MAX_QUEUE_DEPTH = 4096;
/** The most queues that a device can have. */
export const UBLK_MAX_NR_QUEUES = 4096;

/**
 * Values of `struct ublksrv_ctrl_cmd`, which travels in `sqe.cmd`:
 * `__u32 dev_id; __u16 queue_id; __u16 len; __u64 addr; __u64 data[1];
 * __u16 dev_path_len; __u16 pad; __u32 reserved`.
 */
export interface ublksrv_ctrl_cmd {
  /** The device's id; `ADD_DEV` accepts 0xffffffff for "any". */
  dev_id: number;
  /** The queue's index; must be 0xffff (-1) if the command is not for a queue. */
  queue_id: number;
  /** Length of the buffer at `addr`, in bytes. */
  len: number;
  /** Address of the command's buffer, in or out. */
  addr: number;
  /** Inline data. */
  data: number[];
  /** Bytes of the path before the buffer, including its NUL; for unprivileged devices. */
  dev_path_len: number;
  /** Must be 0. */
  pad: number;
  /** Must be 0. */
  reserved: number;
}

/** Layout of `struct ublksrv_ctrl_cmd`. */
export const ublksrv_ctrl_cmd: Struct<ublksrv_ctrl_cmd> = {
  name: "ublksrv_ctrl_cmd",
  size: 32,
  fields: {
    dev_id: [0, "u32"],
    queue_id: [4, "u16"],
    len: [6, "u16"],
    addr: [8, "u64"],
    data: [16, "u64[1]"],
    dev_path_len: [24, "u16"],
    pad: [26, "u16"],
    reserved: [28, "u32"],
  },
};

/**
 * Values of `struct ublksrv_ctrl_dev_info`: `__u16 nr_hw_queues, queue_depth,
 * state, pad0; __u32 max_io_buf_bytes, dev_id; __s32 ublksrv_pid; __u32 pad1;
 * __u64 flags, ublksrv_flags; __u32 owner_uid, owner_gid; __u64 reserved1,
 * reserved2`.
 */
export interface ublksrv_ctrl_dev_info {
  /** Queues; the kernel cuts them to the number of CPUs. */
  nr_hw_queues: number;
  /** Requests per queue. */
  queue_depth: number;
  /** One of `UBLK_S_DEV_*`. */
  state: number;
  /** Padding. */
  pad0: number;
  /** The largest request, in bytes. */
  max_io_buf_bytes: number;
  /** The device's number, the N of `/dev/ublkbN`. */
  dev_id: number;
  /** The server's pid, or -1. */
  ublksrv_pid: number;
  /** Padding. */
  pad1: number;
  /** In: `UBLK_F_*` requested. Out: granted. */
  flags: number;
  /** For the server's use; the driver stores and ignores it. */
  ublksrv_flags: number;
  /** Owner's uid, set by the kernel. */
  owner_uid: number;
  /** Owner's gid, set by the kernel. */
  owner_gid: number;
  /** Reserved. */
  reserved1: number;
  /** Reserved. */
  reserved2: number;
}

/** Layout of `struct ublksrv_ctrl_dev_info`. */
export const ublksrv_ctrl_dev_info: Struct<ublksrv_ctrl_dev_info> = {
  name: "ublksrv_ctrl_dev_info",
  size: 64,
  fields: {
    nr_hw_queues: [0, "u16"],
    queue_depth: [2, "u16"],
    state: [4, "u16"],
    pad0: [6, "u16"],
    max_io_buf_bytes: [8, "u32"],
    dev_id: [12, "u32"],
    ublksrv_pid: [16, "s32"],
    pad1: [20, "u32"],
    flags: [24, "u64"],
    ublksrv_flags: [32, "u64"],
    owner_uid: [40, "u32"],
    owner_gid: [44, "u32"],
    reserved1: [48, "u64"],
    reserved2: [56, "u64"],
  },
};

assert(UBLK_MAX_QUEUE_DEPTH <= 2 ** UBLK_TAG_BITS, "a tag fits its bits");
assert(UBLK_MAX_NR_QUEUES <= 2 ** UBLK_QID_BITS, "a queue's number fits its bits");
