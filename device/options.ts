/**
 * What a device is made from.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import type { BackendSpec } from "../disk/spec.ts";
import type { IntegrityTraits } from "../ctrl/params.ts";
import type { DataPathName } from "../uapi/data_path.ts";
import type { EndSignal } from "../uring/signals.ts";
import type { RecoveryMode } from "./recovery_mode.ts";

/** Integrity metadata beside the data: so many bytes for each block. */
export type IntegrityOptions = IntegrityTraits;

/** Memory that clients share with the server. */
export interface SharedMemoryOptions {
  /** A file in hugetlbfs (or another that can be mapped). */
  readonly path: string;
  /**
   * Map it for reading only: such memory serves WRITEs alone.
   *
   * @default false
   */
  readonly readOnly?: boolean;
}

/** How a disk is best used, where that is not to be as its backend says; all sizes in bytes. */
export interface TopologyOptions {
  /**
   * It rotates: what lies together is faster.
   *
   * @default as the backend says
   */
  readonly rotational?: boolean;
  /**
   * The least write that needs no read before it: a power of two up to 256 MiB, at least the block.
   *
   * @default as the backend says, or 4096
   */
  readonly physicalBlockSize?: number;
  /**
   * The best request: a power of two up to 256 MiB, at least the physical block.
   *
   * @default as the backend says
   */
  readonly ioOptBytes?: number;
  /**
   * The unit in which space is given back: a multiple of the block up to 64 MiB.
   *
   * @default as the backend says, or the physical block
   */
  readonly discardGranularityBytes?: number;
}

/** Options of `serve()` and of a {@linkcode Device}. */
export interface DeviceOptions {
  /**
   * What to serve: a specification, opened in Workers; or a backend itself, which runs in this
   * thread. Code in this process must then not touch the device or anything mounted on it.
   */
  readonly backend: BackendSpec | Backend;
  /**
   * The N of `/dev/ublkbN`.
   *
   * @default -1, the kernel's choice
   */
  readonly id?: number;
  /**
   * Hardware queues; 0 for one per CPU.
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
   * The largest request in bytes: whole pages, 4096 to 32 MiB.
   *
   * @default 524288
   */
  readonly maxIoBytes?: number;
  /**
   * The kernel refuses writes, whatever the backend could do.
   *
   * @default false
   */
  readonly readOnly?: boolean;
  /**
   * How data travels. One that is given is used, or it is an error.
   *
   * @default the best that backend, driver and kernel go together for
   */
  readonly dataPath?: DataPathName;
  /**
   * Many requests per command (`UBLK_F_BATCH_IO`, Linux 7.0).
   *
   * @default false
   */
  readonly batch?: boolean;
  /**
   * Serving threads. Another number than one, or that of the queues, needs `perIoDaemons` or `batch`.
   *
   * @default one per queue, or one in all for a backend of one thread
   */
  readonly threads?: number;
  /**
   * Every thread serves tags of every queue (`UBLK_F_PER_IO_DAEMON`, Linux 6.16).
   *
   * @default false
   */
  readonly perIoDaemons?: boolean;
  /**
   * The ring knows the device as a registered file.
   *
   * @default true
   */
  readonly fixedFile?: boolean;
  /**
   * What becomes of requests, and of the device, when its server dies.
   *
   * @default the device goes with its server
   */
  readonly recovery?: RecoveryMode;
  /**
   * A device of this user's own, who need not be root (`UBLK_F_UNPRIVILEGED_DEV`): nobody else may
   * use it. It wants the udev rule in `udev/`, and cannot have `recovery`, `integrity`, nor the data
   * paths `user-copy` and zero copy. Root makes none.
   *
   * @default whether this process is without CAP_SYS_ADMIN
   */
  readonly unprivileged?: boolean;
  /**
   * Do not look for partitions (`UBLK_F_NO_AUTO_PART_SCAN`, Linux 7.0).
   *
   * @default false
   */
  readonly noPartitionScan?: boolean;
  /** Integrity metadata beside the data (`UBLK_F_INTEGRITY`, Linux 7.0). It travels by `user-copy`. */
  readonly integrity?: IntegrityOptions;
  /** How the disk is best used; filesystems lay themselves out by it. */
  readonly topology?: TopologyOptions;
  /** Memory that clients share with this server (`UBLK_F_SHMEM_ZC`, Linux 7.1). */
  readonly sharedMemory?: SharedMemoryOptions;
  /**
   * CPUs for each thread: the first list for the first thread.
   *
   * @default those of the thread's queue
   */
  readonly affinity?: readonly (readonly number[])[];
  /**
   * How long, in milliseconds, a backend may take over a request. A Promise that takes longer is
   * answered for with ETIMEDOUT; a method that does not return for so long costs the device. An
   * unprivileged device has 12,000, which is also the most it may have.
   *
   * @default 20000
   */
  readonly deadlineMs?: number;
  /**
   * Catch backends that keep a buffer, at the price of a copy. (Those that declare `address` or
   * `ring` are lent none.)
   *
   * @default false
   */
  readonly paranoid?: boolean;
  /**
   * The lowest level that serving threads log, as in `@std/log`; 5 traces requests.
   *
   * @default 20
   */
  readonly logLevel?: number;
  /** Ends the start-up; everything is undone. Once the disk is there it does nothing. */
  readonly signal?: AbortSignal;
  /**
   * The signals at which `serve()` and `recover()` delete the device, before they end the process as
   * they would have: all of them, none, or those listed. Only a program's main thread listens. A
   * signal that the process was started to ignore stays ignored (`nohup`). A second signal, a second
   * later, ends the process within 2 s. A `serve()` that is called meanwhile waits for the end of the
   * signal, in most processes their own.
   *
   * Listeners of the program's own are called too; since the signal is sent on when the device is
   * gone, they are called twice. A program that does something else at a signal than to end passes
   * `false`. A {@linkcode Device} does not listen.
   *
   * @default true; false with `recovery` and of `recover()`: such a device outlives its server
   */
  readonly signals?: boolean | readonly EndSignal[];
}

/** Options of `recover()`: what a device was made with stays as it is. */
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
  /** Take a backend whose contents are gone with its process: the disk's contents will be lost. */
  readonly allowVolatile?: boolean;
}
