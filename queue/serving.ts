/**
 * Puts a serving thread together: descriptors, ring, slots, path and server; in a Worker or in the
 * caller's own thread.
 *
 * @module
 */

import type { Backend } from "../backends/backend.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_MAX_QUEUE_DEPTH } from "../uapi/ublk_cmd.ts";
import { UBLKSRV_CMD_BUF_OFFSET } from "../uapi/ublk_io.ts";
import { IO_DESC_BYTES } from "../uapi/offsets.ts";
import { IORING_SETUP_SUBMIT_ALL } from "../uapi/io_uring.ts";
import { Mapping, pageAlign } from "../uring/mapping.ts";
import { claimRelease, OWNER_THREAD } from "./control_block.ts";
import { openRing } from "../uring/open_ring.ts";
import { CopyPath } from "./copy_path.ts";
import type { DataPath } from "./data_path.ts";
import { GetDataPath } from "./get_data_path.ts";
import type { LogWriter } from "./log_ring.ts";
import { paranoid } from "./paranoid.ts";
import { OPERATIONS_PER_REQUEST, RingPath } from "./ring_path.ts";
import { QueueServer } from "./server.ts";
import { type OwnedQueue, Slots } from "./slots.ts";
import { QueueStats } from "./stats.ts";
import { serveBlocking, serveInEventLoop } from "./wait.ts";

/** How data travels; chosen by negotiation. */
export type DataPathName = "copy" | "get-data";

/** What a thread is to serve. Plain data: it crosses to a Worker. */
export interface ServeOrder {
  /** The device's id, for messages. */
  readonly device: number;
  /** The descriptor of `/dev/ublkcN`, opened once for the whole process. */
  readonly charFd: number;
  /** The queues of which this thread owns every tag, and where to count. */
  readonly queues: readonly { readonly queue: number; readonly stats: SharedArrayBuffer }[];
  /** Tags per queue. */
  readonly depth: number;
  /** The largest request in bytes. */
  readonly maxIoBytes: number;
  /** How data travels. */
  readonly path: DataPathName;
  /** The control block. */
  readonly control: SharedArrayBuffer;
  /** The eventfd that wakes the thread. */
  readonly wakeFd: number;
  /** The deadline of asynchronous requests in milliseconds. */
  readonly deadlineMs: number;
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
  using stack = new DisposableStack();
  const descriptors = order.queues.map(({ queue }) => stack.use(mapDescriptors(order, queue)));
  const queues: OwnedQueue[] = order.queues.map(({ queue, stats }, index) => ({
    queue,
    descriptors: new Uint32Array(descriptors[index].buffer()),
    stats: new QueueStats(stats),
  }));
  const throughRing = order.path === "copy" && backend.ring !== undefined && !eventLoop;
  const slotCount = order.queues.length * order.depth;
  const { ring, mappings } = openRing({
    // One more for the wake-up; the rest is rounded up to a power of two anyway.
    entries: Math.min(slotCount * (throughRing ? OPERATIONS_PER_REQUEST : 1) + 8, MAX_ENTRIES),
    setupFlags: eventLoop ? EVENT_LOOP_SETUP : undefined,
  });
  stack.use(ring);
  const slots = new Slots(ring, order.charFd, queues, order.depth, log);
  const seen = order.paranoid ? stack.use(paranoid(backend, log)) : backend;
  let server: QueueServer | undefined = undefined;
  const path: DataPath = order.path === "get-data"
    ? new GetDataPath(backend, slots, log)
    : throughRing
    ? new RingPath(backend, ring, slots, order.maxIoBytes, log)
    : new CopyPath(seen, slots, order.maxIoBytes, eventLoop, log, () => server!.submitSoon());
  stack.use(path);
  const control = new Int32Array(order.control);
  server = new QueueServer({ ring, slots, path, log, control, wakeFd: order.wakeFd });
  stack.use(server);
  const errno = server.fetch();
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
        if (eventLoop) await serveInEventLoop(server, order.deadlineMs);
        else serveBlocking(server);
        return server.lostErrno;
      } finally {
        // Unless the manager has lost patience and taken it all away.
        if (claimRelease(control, OWNER_THREAD)) owned.dispose();
      }
    },
  };
}

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
