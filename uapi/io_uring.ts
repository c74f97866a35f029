/**
 * io_uring's rings, from `linux/io_uring.h` as of Linux 7.2: how to set up, map
 * and enter one. Entries are in `io_uring_sqe.ts` and
 * `io_uring_cqe.ts`, registration in `io_uring_register.ts`, the byte offsets
 * that the hot loop needs in `offsets.ts`.
 *
 * @module
 */

import type { Struct } from "./struct.ts";

// io_uring_setup(2): params.flags.

/** Poll for completions. */
export const IORING_SETUP_IOPOLL = 0x1;
/** A kernel thread polls the submission queue. */
export const IORING_SETUP_SQPOLL = 0x2;
/** Use `sq_thread_cpu`. */
export const IORING_SETUP_SQ_AFF = 0x4;
/** Use `cq_entries`. */
export const IORING_SETUP_CQSIZE = 0x8;
/** Clamp sizes that are too large instead of failing. */
export const IORING_SETUP_CLAMP = 0x10;
/** Share the workers of the ring `wq_fd`. */
export const IORING_SETUP_ATTACH_WQ = 0x20;
/** Start disabled, until `IORING_REGISTER_ENABLE_RINGS`. */
export const IORING_SETUP_R_DISABLED = 0x40;
/** Continue submitting after an entry that fails. */
export const IORING_SETUP_SUBMIT_ALL = 0x80;
/** Run task work when the task enters the kernel anyway (5.19). */
export const IORING_SETUP_COOP_TASKRUN = 0x100;
/** Set `IORING_SQ_TASKRUN` when task work waits (5.19). */
export const IORING_SETUP_TASKRUN_FLAG = 0x200;
/** Entries of 128 bytes (5.19). */
export const IORING_SETUP_SQE128 = 0x400;
/** Completions of 32 bytes (5.19). */
export const IORING_SETUP_CQE32 = 0x800;
/** Only one task submits (6.0). */
export const IORING_SETUP_SINGLE_ISSUER = 0x1000;
/** Run task work only inside `io_uring_enter` (6.1). */
export const IORING_SETUP_DEFER_TASKRUN = 0x2000;
/** The application provides the rings' memory (6.5). */
export const IORING_SETUP_NO_MMAP = 0x4000;
/** Return a registered index instead of a descriptor (6.5). */
export const IORING_SETUP_REGISTERED_FD_ONLY = 0x8000;
/** No index array between the queue and its entries (6.6). */
export const IORING_SETUP_NO_SQARRAY = 0x10000;
/** Sleep briefly before polling (6.13). */
export const IORING_SETUP_HYBRID_IOPOLL = 0x20000;
/** Completions of 16 and of 32 bytes in one ring (6.18). */
export const IORING_SETUP_CQE_MIXED = 0x40000;
/** Entries of 64 and of 128 bytes in one ring (6.19). */
export const IORING_SETUP_SQE_MIXED = 0x80000;
/** Take entries from index 0 at each submission (7.0). */
export const IORING_SETUP_SQ_REWIND = 0x100000;

// io_uring_setup(2): params.features, on return.

/** One mapping holds both rings. */
export const IORING_FEAT_SINGLE_MMAP = 0x1;
/** Completions are never dropped. */
export const IORING_FEAT_NODROP = 0x2;
/** Data that an entry points to may be freed after submission. */
export const IORING_FEAT_SUBMIT_STABLE = 0x4;
/** Offset -1 means the file's position. */
export const IORING_FEAT_RW_CUR_POS = 0x8;
/** Credentials are those of the submitter. */
export const IORING_FEAT_CUR_PERSONALITY = 0x10;
/** Waiting needs no worker thread. */
export const IORING_FEAT_FAST_POLL = 0x20;
/** Poll accepts 32 bits of events. */
export const IORING_FEAT_POLL_32BITS = 0x40;
/** SQPOLL accepts ordinary descriptors. */
export const IORING_FEAT_SQPOLL_NONFIXED = 0x80;
/** `io_uring_enter` accepts `io_uring_getevents_arg`: timeouts. */
export const IORING_FEAT_EXT_ARG = 0x100;
/** Workers are threads of the process. */
export const IORING_FEAT_NATIVE_WORKERS = 0x200;
/** Registered resources can carry tags. */
export const IORING_FEAT_RSRC_TAGS = 0x400;
/** `IOSQE_CQE_SKIP_SUCCESS`. */
export const IORING_FEAT_CQE_SKIP = 0x800;
/** A linked entry may use a descriptor that its predecessor created. */
export const IORING_FEAT_LINKED_FILE = 0x1000;
/** `io_uring_register` accepts a registered ring. */
export const IORING_FEAT_REG_REG_RING = 0x2000;
/** Bundles for send and receive. */
export const IORING_FEAT_RECVSEND_BUNDLE = 0x4000;
/** `min_wait_usec` is honoured. */
export const IORING_FEAT_MIN_TIMEOUT = 0x8000;
/** Reads and writes accept attributes (integrity). */
export const IORING_FEAT_RW_ATTR = 0x10000;
/** `IORING_ENTER_NO_IOWAIT`. */
export const IORING_FEAT_NO_IOWAIT = 0x20000;

// io_uring_enter(2): flags.

/** Wait for `min_complete` completions. */
export const IORING_ENTER_GETEVENTS = 0x1;
/** Wake the polling thread. */
export const IORING_ENTER_SQ_WAKEUP = 0x2;
/** Wait for room in the submission queue. */
export const IORING_ENTER_SQ_WAIT = 0x4;
/** The argument is an `io_uring_getevents_arg`. */
export const IORING_ENTER_EXT_ARG = 0x8;
/** `fd` is the index of a registered ring. */
export const IORING_ENTER_REGISTERED_RING = 0x10;
/** The timeout is absolute. */
export const IORING_ENTER_ABS_TIMER = 0x20;
/** The argument is an offset in the registered wait region. */
export const IORING_ENTER_EXT_ARG_REG = 0x40;
/** Do not count the wait as iowait. */
export const IORING_ENTER_NO_IOWAIT = 0x80;

// Offsets for mmap(2) on the ring.

/** The submission ring, and with SINGLE_MMAP the completion ring too. */
export const IORING_OFF_SQ_RING = 0x0;
/** The completion ring, without SINGLE_MMAP. */
export const IORING_OFF_CQ_RING = 0x8000000;
/** The submission entries. */
export const IORING_OFF_SQES = 0x10000000;
/** A ring of provided buffers; add the shifted group number. */
export const IORING_OFF_PBUF_RING = 0x80000000;
/** Shift of the group number. */
export const IORING_OFF_PBUF_SHIFT = 16;
/** Mask of the bits that select the region. */
export const IORING_OFF_MMAP_MASK = 0xf8000000;

// Words in the rings.

/** Submission flags: the polling thread sleeps. */
export const IORING_SQ_NEED_WAKEUP = 0x1;
/** Submission flags: completions wait for room in the ring. */
export const IORING_SQ_CQ_OVERFLOW = 0x2;
/** Submission flags: task work waits; enter the kernel. */
export const IORING_SQ_TASKRUN = 0x4;
/** Completion flags: no eventfd notifications. */
export const IORING_CQ_EVENTFD_DISABLED = 0x1;

/**
 * Values of `struct io_sqring_offsets`, byte offsets in the mapped ring:
 * `__u32 head, tail, ring_mask, ring_entries, flags, dropped, array, resv1;
 * __u64 user_addr`.
 */
export interface io_sqring_offsets {
  /** Offset of the head. */
  head: number;
  /** Offset of the tail. */
  tail: number;
  /** Offset of the mask. */
  ring_mask: number;
  /** Offset of the number of entries. */
  ring_entries: number;
  /** Offset of the `IORING_SQ_*` word. */
  flags: number;
  /** Offset of the count of invalid entries. */
  dropped: number;
  /** Offset of the index array. */
  array: number;
  /** Reserved. */
  resv1: number;
  /** With NO_MMAP: address of the entries. */
  user_addr: number;
}

/** Layout of `struct io_sqring_offsets`. */
export const io_sqring_offsets: Struct<io_sqring_offsets> = {
  name: "io_sqring_offsets",
  size: 40,
  fields: {
    head: [0, "u32"],
    tail: [4, "u32"],
    ring_mask: [8, "u32"],
    ring_entries: [12, "u32"],
    flags: [16, "u32"],
    dropped: [20, "u32"],
    array: [24, "u32"],
    resv1: [28, "u32"],
    user_addr: [32, "u64"],
  },
};

/**
 * Values of `struct io_cqring_offsets`, byte offsets in the mapped ring:
 * `__u32 head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1;
 * __u64 user_addr`.
 */
export interface io_cqring_offsets {
  /** Offset of the head. */
  head: number;
  /** Offset of the tail. */
  tail: number;
  /** Offset of the mask. */
  ring_mask: number;
  /** Offset of the number of entries. */
  ring_entries: number;
  /** Offset of the count of lost completions. */
  overflow: number;
  /** Offset of the completions. */
  cqes: number;
  /** Offset of the `IORING_CQ_*` word. */
  flags: number;
  /** Reserved. */
  resv1: number;
  /** With NO_MMAP: address of the rings. */
  user_addr: number;
}

/** Layout of `struct io_cqring_offsets`. */
export const io_cqring_offsets: Struct<io_cqring_offsets> = {
  name: "io_cqring_offsets",
  size: 40,
  fields: {
    head: [0, "u32"],
    tail: [4, "u32"],
    ring_mask: [8, "u32"],
    ring_entries: [12, "u32"],
    overflow: [16, "u32"],
    cqes: [20, "u32"],
    flags: [24, "u32"],
    resv1: [28, "u32"],
    user_addr: [32, "u64"],
  },
};

/**
 * Values of `struct io_uring_params`, in and out of io_uring_setup(2):
 * `__u32 sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle,
 * features, wq_fd, resv[3]; struct io_sqring_offsets sq_off; struct
 * io_cqring_offsets cq_off`.
 */
export interface io_uring_params {
  /** Out: entries of the submission queue. */
  sq_entries: number;
  /** In with CQSIZE, out: entries of the completion queue. */
  cq_entries: number;
  /** In: `IORING_SETUP_*`. */
  flags: number;
  /** In: CPU of the polling thread. */
  sq_thread_cpu: number;
  /** In: milliseconds before the polling thread sleeps. */
  sq_thread_idle: number;
  /** Out: `IORING_FEAT_*`. */
  features: number;
  /** In: the ring whose workers to share. */
  wq_fd: number;
  /** Must be 0. */
  resv: number[];
  /** Out: the submission ring's layout. */
  sq_off: io_sqring_offsets;
  /** Out: the completion ring's layout. */
  cq_off: io_cqring_offsets;
}

/** Layout of `struct io_uring_params`. */
export const io_uring_params: Struct<io_uring_params> = {
  name: "io_uring_params",
  size: 120,
  fields: {
    sq_entries: [0, "u32"],
    cq_entries: [4, "u32"],
    flags: [8, "u32"],
    sq_thread_cpu: [12, "u32"],
    sq_thread_idle: [16, "u32"],
    features: [20, "u32"],
    wq_fd: [24, "u32"],
    resv: [28, "u32[3]"],
    sq_off: [40, io_sqring_offsets],
    cq_off: [80, io_cqring_offsets],
  },
};

/**
 * Values of `struct io_uring_getevents_arg`, with `IORING_ENTER_EXT_ARG`:
 * `__u64 sigmask; __u32 sigmask_sz, min_wait_usec; __u64 ts`.
 */
export interface io_uring_getevents_arg {
  /** Address of a signal set, or 0. */
  sigmask: number;
  /** Bytes of the signal set. */
  sigmask_sz: number;
  /** Microseconds after which fewer completions suffice (6.12). */
  min_wait_usec: number;
  /** Address of a `__kernel_timespec`, or 0. */
  ts: number;
}

/** Layout of `struct io_uring_getevents_arg`. */
export const io_uring_getevents_arg: Struct<io_uring_getevents_arg> = {
  name: "io_uring_getevents_arg",
  size: 24,
  fields: {
    sigmask: [0, "u64"],
    sigmask_sz: [8, "u32"],
    min_wait_usec: [12, "u32"],
    ts: [16, "u64"],
  },
};

/**
 * Values of `struct __kernel_timespec`, of `linux/time_types.h`:
 * `__s64 tv_sec; long long tv_nsec`.
 */
export interface __kernel_timespec {
  /** Seconds. */
  tv_sec: number;
  /** Nanoseconds, below 10^9. */
  tv_nsec: number;
}

/** Layout of `struct __kernel_timespec`. */
export const __kernel_timespec: Struct<__kernel_timespec> = {
  name: "__kernel_timespec",
  size: 16,
  fields: {
    tv_sec: [0, "s64"],
    tv_nsec: [8, "s64"],
  },
};
