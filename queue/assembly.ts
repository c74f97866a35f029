/**
 * Puts together what serves requests: where they arrive, how their data travels, where it lies, and
 * what answers. The one place that knows which of each there are.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";
import type { Backend } from "../disk/backend.ts";
import { type DataPathName, isZeroCopy } from "../uapi/data_path.ts";
import { PAGE_BYTES, pageBytes } from "../uring/mapping.ts";
import { tryRegisterBuffers } from "../uring/register.ts";
import type { Ring } from "../uring/ring.ts";
import { SlotBuffers } from "./buffers.ts";
import { BytesHandler } from "./bytes_handler.ts";
import { CopyPath } from "./copy_path.ts";
import type { DataPath, Handler, Places, SlotPlaces } from "./data_path.ts";
import { GetDataPath } from "./get_data_path.ts";
import type { LogWriter } from "./log_ring.ts";
import { DirectMemory, MemoryHandler } from "./memory_handler.ts";
import { Metadata } from "./metadata.ts";
import { OPERATIONS_PER_REQUEST, RingHandler } from "./ring_handler.ts";
import { type SharedBuffer, SharedMemory, SharedMemoryPath } from "./shared_memory.ts";
import type { Slots } from "./slots.ts";
import { UserCopyPath } from "./user_copy_path.ts";
import { RegisteredBuffers, ZeroCopyPath } from "./zero_copy_path.ts";
import { Zones } from "./zones.ts";

/** The most of a slot's buffer that the ring is to know, and of all of a thread: it stays in memory. */
const REGISTERED_BYTES = 32 << 10;
const REGISTERED_BYTES_OF_ALL = 16 << 20;

/** What a thread is made of beside its slots. */
export interface AssemblyOptions {
  /** Operations on the ring have the deadline too. Default: they have none. */
  readonly bounded?: boolean;
  /** What answers. */
  readonly backend: Backend;
  /** What answers where it is called with bytes: the backend, or one that watches over it. */
  readonly seen?: Backend;
  /** The thread's ring. */
  readonly ring: Ring;
  /** The descriptor of `/dev/ublkcN`. */
  readonly charFd: number;
  /** The thread's slots. */
  readonly slots: Slots;
  /** How data travels. */
  readonly path: DataPathName;
  /** The largest request in bytes. */
  readonly maxIoBytes: number;
  /** The logical block in bytes. Default: 512. */
  readonly blockSize?: number;
  /** Bytes of integrity metadata per block. Default: 0. */
  readonly metadataSize?: number;
  /** What clients may send instead of data. Default: none. */
  readonly sharedBuffers?: readonly SharedBuffer[];
  /** Where the backend's `plainFd` is among the ring's files, if it is. */
  readonly plainFile?: number;
  /** Whether the thread runs an event loop. */
  readonly eventLoop: boolean;
  /** The log channel. */
  readonly log: LogWriter;
  /** Called when a request was answered outside of the loop. */
  readonly answered: () => void;
}

/** What serves requests. */
export interface Assembly extends Disposable {
  /** How data travels. */
  readonly path: DataPath;
  /** What answers. */
  readonly handler: Handler;
}

/** What answers, of the three kinds there are. */
export type HandlerKind = "bytes" | "memory" | "ring";

/** Which kind answers for a backend. */
export function handlerKind(
  { backend, path, eventLoop, sharedBuffers = [], metadataSize = 0 }: Pick<
    AssemblyOptions,
    "backend" | "path" | "eventLoop" | "sharedBuffers" | "metadataSize"
  >,
): HandlerKind {
  if (isZeroCopy(path)) return "ring";
  // With zones, whatever is written must be seen by who keeps the write pointers.
  if (eventLoop || backend.synchronous !== true || backend.zones !== undefined) return "bytes";
  if (backend.ring !== undefined && !backend.ring.forZeroCopyOnly) return "ring";
  // Data that travels neither by copies of the kernel to any address, nor by ours, must be copied.
  const anywhere = path === "get-data" || path === "user-copy";
  const alone = sharedBuffers.length === 0 && metadataSize === 0;
  return backend.address !== undefined && anywhere && alone ? "memory" : "bytes";
}

/** SQEs that a slot may need at a time, beside the one of its command. */
export function sqesPerSlot(options: Parameters<typeof handlerKind>[0]): number {
  const { backend, path } = options;
  const operations = handlerKind(options) === "ring"
    ? backend.ring!.operations ?? OPERATIONS_PER_REQUEST
    : 0;
  // A copy of data and one of metadata, or a registration before and after.
  return operations + (path === "copy" || path === "get-data" ? 0 : 2);
}

/** SQEs of its own that a slot fills once and uses for each request. */
export function ownSqesPerSlot(
  options: Parameters<typeof handlerKind>[0] & { readonly batch: boolean },
): number {
  return (options.batch ? 0 : 1) + (plainFdOf(options) === undefined ? 0 : 1);
}

/** The file that takes plain requests, where there is one and they go there without being looked at. */
export function plainFdOf(options: Parameters<typeof handlerKind>[0]): number | undefined {
  // Where shared memory may be the place, a request's place is not always its slot's.
  const { backend, sharedBuffers = [] } = options;
  if (handlerKind(options) !== "ring" || sharedBuffers.length > 0) return undefined;
  return backend.ring!.plainFd;
}

/** Makes everything. */
export function assemble(options: AssemblyOptions): Assembly {
  const { backend, ring, slots, path: name, maxIoBytes, log, blockSize = 512 } = options;
  const { metadataSize = 0, sharedBuffers = [] } = options;
  const kind = handlerKind(options);
  assert(maxIoBytes > 0 && maxIoBytes % PAGE_BYTES === 0, "the largest request is whole pages");
  assert(kind !== "ring" || backend.ring !== undefined, "what travels unseen needs ring methods");
  assert(metadataSize === 0 || name === "user-copy", "metadata travels by copies of the server");
  assert(backend.zones === undefined || kind === "bytes", "writes to zones are seen");
  using stack = new DisposableStack();
  let handler: (MemoryHandler | BytesHandler | RingHandler) | undefined = undefined;
  const owner = {
    count: slots.count,
    // What is under way may still write to its buffer, as may the kernel to that of a live slot.
    get live(): number {
      return slots.live + (handler?.outstanding ?? 0);
    },
  };
  const metadata = metadataSize > 0
    ? stack.use(new Metadata(slots, owner, maxIoBytes, blockSize, metadataSize))
    : undefined;
  const shared = sharedBuffers.length > 0 ? new SharedMemory(slots, sharedBuffers) : undefined;
  const places: Places & Partial<SlotPlaces> = isZeroCopy(name)
    ? new RegisteredBuffers()
    : kind === "memory"
    ? new DirectMemory(backend, slots, maxIoBytes)
    : new SlotBuffers(owner, maxIoBytes);
  stack.use(places);
  const methods = (options.seen ?? backend).zones;
  const zones = methods === undefined ? undefined : new Zones({
    ...{ methods, slots, maxIoBytes, log },
    buffers: places as SlotBuffers,
  });
  const common = { backend, slots, log, metadata, shared };
  handler = kind === "memory"
    ? new MemoryHandler(backend, slots, log)
    : kind === "ring"
    ? new RingHandler({
      ...common,
      ring,
      places,
      plainFd: plainFdOf(options),
      plainFile: options.plainFile,
      registeredBytes: registerPlaces(options, places),
      bounded: options.bounded,
    })
    : new BytesHandler({
      ...common,
      zones,
      backend: options.seen ?? backend,
      buffers: places as SlotBuffers,
      mayAwait: options.eventLoop,
      answered: options.answered,
    });
  stack.use(handler);
  const inner = makePath(name, { ...options, places, handler, metadata, zones });
  const path: DataPath = shared === undefined
    ? inner
    : new SharedMemoryPath(slots, handler, shared, inner, log);
  stack.use(path);
  handler.path = path;
  slots.path = path;
  slots.canFollow &&= path.mayFollow === true;
  const owned = stack.move();
  return { path, handler, [Symbol.dispose]: () => owned.dispose() };
}

/**
 * Has the ring know the beginning of each slot's buffer, if its file is past the page cache: each
 * operation would look up its pages and pin them otherwise. Where it may not, it is done without.
 *
 * @returns How many bytes of each.
 */
function registerPlaces(options: AssemblyOptions, places: Places): number {
  const { ring, backend, slots, maxIoBytes } = options;
  if (!(places instanceof SlotBuffers) || plainFdOf(options) === undefined) return 0;
  if (backend.ring!.preferZeroCopy !== true) return 0;
  const share = Math.min(REGISTERED_BYTES, maxIoBytes, REGISTERED_BYTES_OF_ALL / slots.count);
  const bytes = Math.floor(share / pageBytes()) * pageBytes();
  const buffers = Array.from(places.addresses, (address) => ({ address, bytes }));
  return bytes > 0 && tryRegisterBuffers(ring, buffers) ? bytes : 0;
}

interface PathParts extends AssemblyOptions {
  readonly places: Places & Partial<SlotPlaces>;
  readonly handler: Handler;
  readonly metadata: Metadata | undefined;
  readonly zones: Zones | undefined;
}

/** A path is one file and one line here. */
function makePath(name: DataPathName, parts: PathParts): DataPath {
  const { slots, handler, log } = parts;
  const places = parts.places as SlotBuffers;
  const operations = parts.backend.ring?.operations ?? OPERATIONS_PER_REQUEST;
  switch (name) {
    case "copy":
      return new CopyPath(slots, handler, places);
    case "get-data":
      return new GetDataPath(slots, handler, places, log);
    case "user-copy":
      return new UserCopyPath({ ...parts, places });
    case "zero-copy":
      return new ZeroCopyPath({ ...parts, operations, registration: "command" });
    case "auto-zero-copy":
      return new ZeroCopyPath({ ...parts, operations, registration: "automatic" });
    case "auto-zero-copy-fallback":
      return new ZeroCopyPath({ ...parts, operations, registration: "fallback" });
  }
}
