/**
 * The options of a device.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import type { BackendSpec } from "../disk/spec.ts";
import type { IntegrityTraits } from "../ctrl/params.ts";
import type { DataPathName } from "../uapi/data_path.ts";
import type { EndSignal } from "../uring/signals.ts";
import type { RecoveryMode } from "./recovery_mode.ts";

/** Integrity metadata beside the data: a fixed number of bytes per block. */
export type IntegrityOptions = IntegrityTraits;

/** Memory that clients share with the server. */
export interface SharedMemoryOptions {
  /** A file in hugetlbfs, or any other file that can be mapped. */
  readonly path: string;
  /**
   * Map the memory read-only. It then serves WRITEs only.
   *
   * @default false
   */
  readonly readOnly?: boolean;
}

/** Overrides of the backend's hints about efficient use of the disk. All sizes are in bytes. */
export interface TopologyOptions {
  /**
   * The disk rotates, so sequential access is faster.
   *
   * @default as the backend says
   */
  readonly rotational?: boolean;
  /**
   * The physical block: the smallest write that needs no read first. A power of two, at least the
   * logical block and at most 256 MiB.
   *
   * @default as the backend says, or 4096
   */
  readonly physicalBlockSize?: number;
  /**
   * The optimal request size. A power of two, at least the physical block and at most 256 MiB.
   *
   * @default as the backend says
   */
  readonly ioOptBytes?: number;
  /**
   * The unit of discards. A multiple of the logical block, at most 64 MiB.
   *
   * @default as the backend says, or the physical block
   */
  readonly discardGranularityBytes?: number;
}

/** Options of `serve()` and of a {@linkcode Device}. */
export interface DeviceOptions {
  /**
   * The disk to serve. A specification is opened in Workers. A backend object runs in this thread;
   * code in this process must then not touch the device or anything mounted on it.
   */
  readonly backend: BackendSpec | Backend;
  /**
   * The N of `/dev/ublkbN`.
   *
   * @default -1, the kernel's choice
   */
  readonly id?: number;
  /**
   * Number of hardware queues; 0 for one per CPU.
   *
   * @default 1
   */
  readonly queues?: number;
  /**
   * Requests in flight per queue, 1 to 4096.
   *
   * @default 128
   */
  readonly depth?: number;
  /**
   * The largest request, in bytes: whole pages, 4096 to 32 MiB.
   *
   * @default 524288
   */
  readonly maxIoBytes?: number;
  /**
   * Makes the disk read-only: the kernel refuses writes, even if the backend supports them.
   *
   * @default false
   */
  readonly readOnly?: boolean;
  /**
   * The transfer of request data between kernel and backend. If the given data path is not
   * available, the start fails.
   *
   * @default the best one that backend, driver and kernel support
   */
  readonly dataPath?: DataPathName;
  /**
   * Handle many requests per io_uring command (`UBLK_F_BATCH_IO`, Linux 7.0).
   *
   * @default false
   */
  readonly batch?: boolean;
  /**
   * Number of serving threads. Anything other than one thread, or one per queue, needs
   * `perIoDaemons` or `batch`.
   *
   * @default one per queue, or one for a backend that runs in one thread
   */
  readonly threads?: number;
  /**
   * Let every thread serve tags of every queue (`UBLK_F_PER_IO_DAEMON`, Linux 6.16).
   *
   * @default false
   */
  readonly perIoDaemons?: boolean;
  /**
   * Register the device's file descriptor with the rings.
   *
   * @default true
   */
  readonly fixedFile?: boolean;
  /**
   * The fate of requests and of the device when its server dies.
   *
   * @default the device is deleted with its server
   */
  readonly recovery?: RecoveryMode;
  /**
   * Make a private device for a user other than root (`UBLK_F_UNPRIVILEGED_DEV`). No other user may
   * use it. It needs the udev rule in `udev/`, and excludes `recovery`, `integrity`, and the data
   * paths `user-copy` and zero copy. Root cannot make unprivileged devices.
   *
   * @default true if the process lacks CAP_SYS_ADMIN
   */
  readonly unprivileged?: boolean;
  /**
   * Do not scan for partitions (`UBLK_F_NO_AUTO_PART_SCAN`, Linux 7.0).
   *
   * @default false
   */
  readonly noPartitionScan?: boolean;
  /**
   * Integrity metadata beside the data (`UBLK_F_INTEGRITY`, Linux 7.0). Requires the data path
   * `user-copy`.
   */
  readonly integrity?: IntegrityOptions;
  /** Hints about efficient use of the disk. Filesystems choose their layout by them. */
  readonly topology?: TopologyOptions;
  /** Memory that clients share with this server (`UBLK_F_SHMEM_ZC`, Linux 7.1). */
  readonly sharedMemory?: SharedMemoryOptions;
  /**
   * The CPUs of each thread, one list per thread.
   *
   * @default the CPUs of the thread's queue
   */
  readonly affinity?: readonly (readonly number[])[];
  /**
   * The time that a backend may take for one request, in milliseconds. A Promise that takes longer
   * is answered with ETIMEDOUT. If a method does not return within this time, the device is lost.
   * Unprivileged devices default to 12,000, which is also their maximum.
   *
   * @default 20000
   */
  readonly deadlineMs?: number;
  /**
   * Detect backends that keep a buffer after their method is done, at the cost of a copy. Backends
   * that declare `address` or `ring` are lent no buffer and are not checked.
   *
   * @default false
   */
  readonly paranoid?: boolean;
  /**
   * The lowest level that serving threads log, as in `@std/log`. Level 5 traces requests.
   *
   * @default 20
   */
  readonly logLevel?: number;
  /** Cancels the start and undoes everything. Has no effect once the disk is there. */
  readonly signal?: AbortSignal;
  /**
   * The signals that make `serve()` and `recover()` delete the device before they end the process
   * as usual: all of them, none, or those listed. Only a program's main thread listens. A signal
   * that the process was started to ignore stays ignored (`nohup`). A second signal, at least a
   * second later, ends the process within 2 s. A call of `serve()` during the handling of a signal
   * waits until that is over; in most processes it never returns, because the process ends.
   *
   * The program's own listeners are called too. They are called twice, because the signal is sent
   * again once the device is gone. A program that handles a signal in another way than by ending
   * passes `false`. A {@linkcode Device} does not listen for signals.
   *
   * @default true; false with `recovery` and of `recover()`: such a device outlives its server
   */
  readonly signals?: boolean | readonly EndSignal[];
}

/** Options of `recover()`. The options that a device was made with cannot be changed. */
export interface RecoverOptions extends
  Omit<
    DeviceOptions,
    | "id"
    | "queues"
    | "depth"
    | "maxIoBytes"
    | "readOnly"
    | "dataPath"
    | "batch"
    | "recovery"
    | "unprivileged"
    | "noPartitionScan"
    | "integrity"
    | "topology"
  > {
  /**
   * Accept a backend that lost its contents with its process, although the disk's contents are then
   * lost.
   *
   * @default false
   */
  readonly allowVolatile?: boolean;
}
