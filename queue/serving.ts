/**
 * Puts a serving thread together: descriptors, ring, slots, path and server; in a Worker or in the
 * caller's own thread.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { paranoid } from "../disk/paranoid.ts";
import { type DataPathName, isZeroCopy } from "../uapi/data_path.ts";
import { assert, UblkError } from "../uapi/error.ts";
import { UBLK_MAX_QUEUE_DEPTH } from "../uapi/ublk_cmd.ts";
import { UBLKSRV_CMD_BUF_OFFSET } from "../uapi/ublk_io.ts";
import { IO_DESC_BYTES } from "../uapi/offsets.ts";
import { IORING_SETUP_SUBMIT_ALL } from "../uapi/io_uring.ts";
import { Mapping, PAGE_BYTES, pageAlign } from "../uring/mapping.ts";
import { BatchSlots } from "./batch_slots.ts";
import { claimRelease, OWNER_THREAD } from "./control_block.ts";
import { openRing } from "../uring/open_ring.ts";
import { registerFiles, registerSparseBuffers, unregisterFile } from "../uring/register.ts";
import { assemble, ownSqesPerSlot, plainFdOf, sqesPerSlot } from "./assembly.ts";
import { FetchSlots } from "./fetch_slots.ts";
import { LOG_ERROR } from "./log_events.ts";
import type { LogWriter } from "./log_ring.ts";
import { Resizer } from "./resize.ts";
import { QueueServer } from "./server.ts";
import type { SharedBuffer } from "./shared_memory.ts";
import type { OwnedQueue, Slots, SlotsOptions } from "./slots.ts";
import { QueueStats } from "./stats.ts";
import { findMeter } from "./meter.ts";
import { serveBlocking, serveInEventLoop, serveInTurns } from "./wait.ts";

/** A thread's share of one queue. */
export interface QueueShare {
  /** The kernel's number of the queue. */
  readonly queue: number;
  /** Where this thread counts; nobody else writes there. */
  readonly stats: SharedArrayBuffer;
  /** The first tag that is this thread's. Default: 0. */
  readonly first?: number;
  /** From one of its tags to the next. Default: 1. */
  readonly step?: number;
  /** With batch I/O, whether this thread prepares the queue's tags. Default: true. */
  readonly prepare?: boolean;
}

/** What a thread is to serve. Plain data: it crosses to a Worker. */
export interface ServeOrder {
  /** The device's id, for messages. */
  readonly device: number;
  /** The descriptor of `/dev/ublkcN`, opened once for the whole process. */
  readonly charFd: number;
  /** The queues of which this thread owns tags. */
  readonly queues: readonly QueueShare[];
  /** Tags per queue. */
  readonly depth: number;
  /** The largest request in bytes. */
  readonly maxIoBytes: number;
  /** How data travels. */
  readonly path: DataPathName;
  /** Many requests per command. */
  readonly batch: boolean;
  /** The ring knows the device as a registered file. */
  readonly fixedFile: boolean;
  /** The logical block in bytes, to which one portion of metadata belongs. */
  readonly blockSize: number;
  /** Bytes of integrity metadata per block; 0 for none. */
  readonly metadataSize: number;
  /** What clients may send instead of data. */
  readonly sharedBuffers: readonly SharedBuffer[];
  /** The control block. */
  readonly control: SharedArrayBuffer;
  /** The eventfd that wakes the thread. */
  readonly wakeFd: number;
  /** The non-blocking eventfd that the ring signals for a thread with an event loop; otherwise -1. */
  readonly completionsFd: number;
  /** The deadline of asynchronous requests in milliseconds. */
  readonly deadlineMs: number;
  /** Operations on the ring have the deadline too: somebody wakes the thread to look. */
  readonly bounded: boolean;
  /** Whether a backend's kept buffers shall be caught. */
  readonly paranoid: boolean;
}

/** What another thread must release should this one never return. */
export interface ThreadResources {
  /** Descriptors to close. */
  readonly fds: readonly number[];
  /** Memory to unmap, as address and length. */
  readonly mappings: readonly (readonly [address: number, bytes: number])[];
}

/** A thread's service, ready to run. */
export interface Serving {
  /** What to release by force if need be. */
  readonly resources: ThreadResources;
  /** Serves until the device is gone. Resolves with the errno by which a tag was lost, or 0. */
  run(): Promise<number>;
}

/**
 * Opens everything and hands every slot to the kernel.
 *
 * @param eventLoop Whether the thread must not block in the kernel.
 * @throws {UblkError} What the ring or the mappings throw, or `THREAD_FAILED` where the kernel
 *   refuses the slots. Nothing is left behind.
 */
export function prepareServing(
  backend: Backend,
  order: ServeOrder,
  log: LogWriter,
  eventLoop: boolean = backend.synchronous !== true,
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
  // One more for the wake-up; the rest is rounded up to a power of two anyway.
  const entries = Math.min(slotCount * Math.max(1, sqesPerSlot(sized)) + 8, MAX_ENTRIES);
  const ownSqes = slotCount * ownSqesPerSlot(sized);
  const { ring, mappings } = openRing({
    entries,
    ownSqes: entries + ownSqes <= MAX_ENTRIES ? ownSqes : 0,
    setupFlags: eventLoop ? EVENT_LOOP_SETUP : undefined,
  });
  stack.use(ring);
  const plainFd = plainFdOf(sized);
  const files = plainFd === undefined ? [charFd] : [charFd, plainFd];
  if (fixedFile || plainFd !== undefined) registerFiles(ring, files);
  const slots = makeSlots(order.batch, {
    ring,
    charFd: fixedFile ? 0 : charFd,
    fixedFile,
    queues,
    depth,
    log,
  });
  // Released when the ring has been closed.
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
    answered: () => server!.submitSoon(),
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
      // The descriptors first: see releaseByForce.
      mappings: [...descriptors, ...mappings].map(({ address, bytes }) => [address, bytes]),
    },
    async run(): Promise<number> {
      try {
        if (eventLoop) await serveInEventLoop(server, order.completionsFd, order.deadlineMs);
        else if (findMeter() !== undefined) await serveInTurns(server);
        else serveBlocking(server);
        return server.lostErrno;
      } finally {
        // Unless the manager has lost patience and taken it all away.
        if (claimRelease(control, OWNER_THREAD)) {
          // A closed ring keeps its files a while, and the next server would find them in use.
          if (plainFd !== undefined) unregisterFile(ring, PLAIN_FILE);
          owned.dispose();
        }
      }
    },
  };
}

/** What the device's manager has to see to: see `Member.serve`. */
function checkOrder(order: ServeOrder, eventLoop: boolean): void {
  const { queues, depth, maxIoBytes, charFd, wakeFd, completionsFd, metadataSize } = order;
  assert(queues.length > 0, "a thread has a share");
  assert(depth > 0 && depth <= UBLK_MAX_QUEUE_DEPTH, "a queue has tags, and no more than may be");
  assert(maxIoBytes > 0 && maxIoBytes % PAGE_BYTES === 0, "the largest request is whole pages");
  assert(charFd >= 0 && wakeFd >= 0, "the descriptors are open");
  assert(!eventLoop || completionsFd >= 0, "an event loop hears of completions");
  assert(metadataSize >= 0 && metadataSize <= 255, "a block's metadata is 0 to 255 bytes");
}

/** How requests arrive and leave: a kind is one file and one line here. */
function makeSlots(batch: boolean, options: SlotsOptions): Slots {
  return batch ? new BatchSlots(options) : new FetchSlots(options);
}

/** Where the file that is the disk is among those that the ring knows. */
const PLAIN_FILE = 1;

/** The most SQEs that the kernel makes a ring with (`IORING_MAX_ENTRIES`). */
const MAX_ENTRIES = 32768;

/**
 * An event loop sleeps on an eventfd, and with `DEFER_TASKRUN` that can be for ever: one `enter`
 * runs some twenty of the pieces of work that wait, and the eventfd is signalled again only once
 * all have been run. Without it the kernel runs them by itself, whatever the thread does.
 */
const EVENT_LOOP_SETUP = IORING_SETUP_SUBMIT_ALL;

/**
 * Maps one queue's descriptors. The offset counts in queues of the largest depth there can be, the
 * length is exactly this device's depth; a wrong offset would silently show queue 0.
 */
function mapDescriptors(order: ServeOrder, queue: number): Mapping {
  const stride = pageAlign(UBLK_MAX_QUEUE_DEPTH * IO_DESC_BYTES);
  const offset = UBLKSRV_CMD_BUF_OFFSET + queue * stride;
  return Mapping.ofFile(order.charFd, offset, pageAlign(order.depth * IO_DESC_BYTES), {
    writable: false,
    operation: `mmap the descriptors of queue ${queue}`,
  });
}
