/**
 * Builds a serving thread from descriptors, ring, slots, path and server. It runs in a Worker or in
 * the caller's own thread.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { paranoid } from "../disk/paranoid.ts";
import { mayBlock } from "../disk/traits.ts";
import { type DataPathName, isZeroCopy } from "../uapi/data_path.ts";
import { assert, UblkError } from "../uapi/error.ts";
import { UBLK_MAX_QUEUE_DEPTH } from "../uapi/ublk_cmd.ts";
import { UBLKSRV_CMD_BUF_OFFSET } from "../uapi/ublk_io.ts";
import { IO_DESC_BYTES } from "../uapi/offsets.ts";
import { Mapping, PAGE_BYTES, pageAlign } from "../uring/mapping.ts";
import { BatchSlots } from "./batch_slots.ts";
import { claimRelease, OWNER_THREAD } from "./control_block.ts";
import { openRing } from "../uring/open_ring.ts";
import { registerFiles, registerSparseBuffers, unregisterFile } from "../uring/register.ts";
import { assemble, ownSqesPerSlot, plainFdOf, sqesBesideSlots, sqesPerSlot } from "./assembly.ts";
import { FetchSlots } from "./fetch_slots.ts";
import { LOG_ERROR } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import { Resizer } from "./resize.ts";
import { QueueServer } from "./server.ts";
import type { SharedBuffer } from "./shared_memory.ts";
import type { OwnedQueue, Slots, SlotsOptions } from "./slots.ts";
import { QueueStats } from "./stats.ts";
import { findMeter } from "./meter.ts";
import { serveBlocking, serveInEventLoop, serveWithTelemetry } from "./wait.ts";

/** A thread's share of one queue. */
export interface QueueShare {
  /** The kernel's number of the queue. */
  readonly queue: number;
  /** This thread's counters. No other thread writes them. */
  readonly stats: SharedArrayBuffer;
  /**
   * The thread's first tag.
   *
   * @default 0
   */
  readonly first?: number;
  /**
   * The distance between two of the thread's tags.
   *
   * @default 1
   */
  readonly step?: number;
  /**
   * Whether this thread prepares the queue's tags. Counts only with batch I/O.
   *
   * @default true
   */
  readonly prepare?: boolean;
}

/** An order to a thread to serve its share of a device. Plain data, as it may go to a Worker. */
export interface ServeOrder {
  /** The device's id, for messages. */
  readonly device: number;
  /** The descriptor of `/dev/ublkcN`, opened once for the whole process. */
  readonly charFd: number;
  /** This thread's share of each queue. */
  readonly queues: readonly QueueShare[];
  /** Tags per queue. */
  readonly depth: number;
  /** The largest request in bytes. */
  readonly maxIoBytes: number;
  /** The data path. */
  readonly path: DataPathName;
  /** Use batch I/O: one command for many requests. */
  readonly batch: boolean;
  /** Register the char device as a file of the ring. */
  readonly fixedFile: boolean;
  /** The logical block in bytes, which is also the unit of integrity metadata. */
  readonly blockSize: number;
  /** Bytes of integrity metadata per block; 0 for none. */
  readonly metadataSize: number;
  /** The memory that clients share, so that they need not send data. */
  readonly sharedBuffers: readonly SharedBuffer[];
  /** The control block. */
  readonly control: SharedArrayBuffer;
  /** The eventfd that wakes the thread. */
  readonly wakeFd: number;
  /** The non-blocking eventfd that the ring signals, for an event loop; otherwise -1. */
  readonly completionsFd: number;
  /** The deadline of asynchronous requests in milliseconds. */
  readonly deadlineMs: number;
  /** Operations on the ring have the deadline too. The watch wakes the thread to check it. */
  readonly bounded: boolean;
  /** Whether to detect a backend that keeps using a buffer after its answer. */
  readonly paranoid: boolean;
}

/** Resources that the manager must release if the thread never returns. */
export interface ThreadResources {
  /** Descriptors to close. */
  readonly fds: readonly number[];
  /** Memory to unmap, as address and length. */
  readonly mappings: readonly (readonly [address: number, bytes: number])[];
}

/** The service of a thread, ready to run. */
export interface Serving {
  /** Resources to release by force if necessary. */
  readonly resources: ThreadResources;
  /** Serves until the device is gone. Resolves with the errno of a lost tag, or 0. */
  run(): Promise<number>;
}

/** Parts of a service that differ from the usual ones. */
export interface ServingParts {
  /**
   * Whether the thread must not block in the kernel.
   *
   * @default Unless the backend is `synchronous` or has an `engine`
   */
  readonly eventLoop?: boolean;
  /**
   * Makes the slots; a benchmark has some without a driver.
   *
   * @default Those of the driver
   */
  readonly makeSlots?: (options: SlotsOptions, batch: boolean) => Slots;
}

/**
 * Opens all resources and hands every slot to the kernel.
 *
 * @throws {UblkError} An error of the ring or the mappings, or `THREAD_FAILED` if the kernel
 *   refuses the slots. Everything is released then.
 */
export function prepareServing(
  backend: Backend,
  order: ServeOrder,
  log: LogWriter,
  { eventLoop = !mayBlock(backend), makeSlots = slotsOf }: ServingParts = {},
): Serving {
  checkOrder(order, eventLoop);
  using stack = new DisposableStack();
  const late = stack.use(new DisposableStack());
  const descriptors = order.queues.map(({ queue }) => stack.use(mapDescriptors(order, queue)));
  const queues: OwnedQueue[] = order.queues.map((share, index) => ({
    ...share,
    descriptors: new Uint32Array(descriptors[index].buffer()),
    stats: new QueueStats(share.stats),
  }));
  const { charFd, depth, fixedFile, path } = order;
  const slotCount = order.queues.length * depth;
  const sized = { ...order, backend, eventLoop };
  // Some more for the wake-up and the like; the kernel rounds up to a power of two anyway.
  const needed = slotCount * Math.max(1, sqesPerSlot(sized)) + sqesBesideSlots(sized) + 8;
  const entries = Math.min(needed, MAX_ENTRIES);
  const ownSqes = slotCount * ownSqesPerSlot(sized);
  const { ring, mappings } = openRing({
    entries,
    ownSqes: entries + ownSqes <= MAX_ENTRIES ? ownSqes : 0,
  });
  stack.use(ring);
  const plainFd = plainFdOf(sized);
  const files = plainFd === undefined ? [charFd] : [charFd, plainFd];
  if (fixedFile || plainFd !== undefined) registerFiles(ring, files);
  const slots = makeSlots({
    ring,
    charFd: fixedFile ? 0 : charFd,
    fixedFile,
    queues,
    depth,
    log,
  }, order.batch);
  // Released after the ring has been closed.
  if (slots instanceof BatchSlots) late.use(slots);
  if (isZeroCopy(path)) registerSparseBuffers(ring, slots.count);
  const seen = order.paranoid
    ? stack.use(paranoid(backend, (text) => log.text(LOG_ERROR, text)))
    : backend;
  let server: QueueServer | undefined = undefined;
  const parts = assemble({
    ...order,
    backend,
    seen,
    ring,
    slots,
    eventLoop,
    log,
    plainFile: plainFd === undefined ? undefined : PLAIN_FILE,
    answered: () => server!.answered(),
  });
  const control = new Int32Array(order.control);
  const resizer = new Resizer(backend, control, log, eventLoop);
  server = new QueueServer({ ring, slots, parts, log, control, wakeFd: order.wakeFd, resizer });
  stack.use(server);
  const before = backend.beforeFetch;
  const errno = server.fetch(before && ((queue, tag) => before.call(backend, queue, tag)));
  if (errno !== 0) {
    throw new UblkError("THREAD_FAILED", {
      operation: "FETCH",
      device: order.device,
      queue: order.queues[0].queue,
      errno,
      hint: "another server may hold this device",
    });
  }
  const owned = stack.move();
  return {
    resources: {
      fds: [ring.kernel.fd],
      // The descriptors come first: see releaseByForce.
      mappings: [...descriptors, ...mappings].map(({ address, bytes }) => [address, bytes]),
    },
    async run(): Promise<number> {
      try {
        if (eventLoop) await serveInEventLoop(server, order.completionsFd, order.deadlineMs);
        else if (findMeter() !== undefined) await serveWithTelemetry(server);
        else serveBlocking(server);
        return server.lostErrno;
      } finally {
        // Unless the manager has run out of patience and taken the resources.
        if (claimRelease(control, OWNER_THREAD)) {
          // A closed ring keeps its files for a while; the next server would find the file in use.
          if (plainFd !== undefined) unregisterFile(ring, PLAIN_FILE);
          owned.dispose();
        }
      }
    },
  };
}

/** Asserts the manager's duties: see `ThreadHandle.serve`. */
function checkOrder(order: ServeOrder, eventLoop: boolean): void {
  const { queues, depth, maxIoBytes, charFd, wakeFd, completionsFd, metadataSize } = order;
  assert(queues.length > 0, "a thread has a share");
  assert(depth > 0 && depth <= UBLK_MAX_QUEUE_DEPTH, "a queue has tags, and no more than may be");
  assert(maxIoBytes > 0 && maxIoBytes % PAGE_BYTES === 0, "the largest request is whole pages");
  assert(charFd >= 0 && wakeFd >= 0, "the descriptors are open");
  assert(!eventLoop || completionsFd >= 0, "an event loop hears of completions");
  assert(metadataSize >= 0 && metadataSize <= 255, "a block's metadata is 0 to 255 bytes");
}

/** Makes the slots. Each kind of slots is one file and one line here. */
function slotsOf(options: SlotsOptions, batch: boolean): Slots {
  return batch ? new BatchSlots(options) : new FetchSlots(options);
}

/** Index of the disk's file in the ring's file table. */
const PLAIN_FILE = 1;

/** The kernel's limit of SQEs in a ring (`IORING_MAX_ENTRIES`). */
const MAX_ENTRIES = 32768;

/**
 * Maps one queue's descriptors. The offset counts in queues of the maximum depth, but the length is
 * that of this device's depth. A wrong offset would silently map queue 0.
 */
function mapDescriptors(order: ServeOrder, queue: number): Mapping {
  const stride = pageAlign(UBLK_MAX_QUEUE_DEPTH * IO_DESC_BYTES);
  const offset = UBLKSRV_CMD_BUF_OFFSET + queue * stride;
  return Mapping.ofFile(order.charFd, offset, pageAlign(order.depth * IO_DESC_BYTES), {
    writable: false,
    operation: `mmap the descriptors of queue ${queue}`,
  });
}
