/**
 * Assembles the parts that serve requests: slots, data path, places and handler. This is the only
 * module that knows all kinds of each.
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
import { EngineHandler } from "./engine_handler.ts";
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

/** Limits of registered buffer memory per slot and per thread, in bytes. It is pinned. */
const REGISTERED_BYTES = 32 << 10;
const REGISTERED_BYTES_OF_ALL = 16 << 20;

/** Options of {@linkcode assemble}. */
export interface AssemblyOptions {
  /**
   * Operations on the ring have the deadline too.
   *
   * @default false
   */
  readonly bounded?: boolean;
  /** The backend that answers. */
  readonly backend: Backend;
  /**
   * The backend for calls with bytes: the backend itself, or a wrapper that checks it.
   *
   * @default backend
   */
  readonly seen?: Backend;
  /** The thread's ring. */
  readonly ring: Ring;
  /** The descriptor of `/dev/ublkcN`. */
  readonly charFd: number;
  /** The thread's slots. */
  readonly slots: Slots;
  /** The name of the data path. */
  readonly path: DataPathName;
  /** The largest request in bytes. */
  readonly maxIoBytes: number;
  /**
   * The logical block in bytes.
   *
   * @default 512
   */
  readonly blockSize?: number;
  /**
   * Bytes of integrity metadata per block.
   *
   * @default 0
   */
  readonly metadataSize?: number;
  /**
   * The memory that clients share, so that they need not send data.
   *
   * @default []
   */
  readonly sharedBuffers?: readonly SharedBuffer[];
  /** The index of the backend's `plainFd` in the ring's file table, if it is registered. */
  readonly plainFile?: number;
  /** Whether the thread runs an event loop. */
  readonly eventLoop: boolean;
  /** The log channel. */
  readonly log: LogWriter;
  /** Called after a request was answered outside of the loop. */
  readonly answered: () => void;
}

/** The parts that serve requests. */
export interface Assembly extends Disposable {
  /** The data path. */
  readonly path: DataPath;
  /** The handler, which answers. */
  readonly handler: Handler;
}

/** The four kinds of handlers. */
export type HandlerKind = "bytes" | "memory" | "ring" | "engine";

/** Returns the kind of handler that a backend needs. */
export function handlerKind(
  { backend, path, eventLoop, sharedBuffers = [], metadataSize = 0 }: Pick<
    AssemblyOptions,
    "backend" | "path" | "eventLoop" | "sharedBuffers" | "metadataSize"
  >,
): HandlerKind {
  if (isZeroCopy(path)) return "ring";
  if (!eventLoop && backend.engine !== undefined) return "engine";
  // With zones, every write must pass the code that keeps the write pointers.
  if (eventLoop || backend.synchronous !== true || backend.zones !== undefined) return "bytes";
  if (backend.ring !== undefined && !backend.ring.forZeroCopyOnly) return "ring";
  // Only these two paths can move data to any address; on the others it must be copied.
  const anywhere = path === "get-data" || path === "user-copy";
  const alone = sharedBuffers.length === 0 && metadataSize === 0;
  return backend.address !== undefined && anywhere && alone ? "memory" : "bytes";
}

/** The maximum number of SQEs that a slot needs at once, besides its command. */
export function sqesPerSlot(options: Parameters<typeof handlerKind>[0]): number {
  const { backend, path } = options;
  const operations = handlerKind(options) === "ring"
    ? backend.ring!.operations ?? OPERATIONS_PER_REQUEST
    : 0;
  // Copies of data and metadata, or a registration and its removal.
  return operations + (path === "copy" || path === "get-data" ? 0 : 2);
}

/** The maximum number of SQEs that a thread needs at once, besides those of its slots. */
export function sqesBesideSlots(options: Parameters<typeof handlerKind>[0]): number {
  return handlerKind(options) === "engine" ? options.backend.engine!.operations : 0;
}

/** The number of a slot's own SQEs, which are filled once and reused for each request. */
export function ownSqesPerSlot(
  options: Parameters<typeof handlerKind>[0] & { readonly batch: boolean },
): number {
  return (options.batch ? 0 : 1) + (plainFdOf(options) === undefined ? 0 : 1);
}

/** The file for plain requests, if the backend has one and the handler may bypass the backend. */
export function plainFdOf(options: Parameters<typeof handlerKind>[0]): number | undefined {
  // With shared memory, a request's place is not always its slot's place.
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
  assert(metadataSize === 0 || kind !== "engine", "an engine declares no metadata");
  using stack = new DisposableStack();
  let handler: (MemoryHandler | BytesHandler | RingHandler | EngineHandler) | undefined = undefined;
  const owner = {
    count: slots.count,
    // An operation under way may still write to its buffer, and the kernel to that of a live slot.
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
    : kind === "engine"
    ? new EngineHandler({
      ...common,
      engine: backend.engine!,
      ring,
      places: places as SlotBuffers,
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
 * Registers the beginning of each slot's buffer with the ring, if the file bypasses the page cache.
 * Unregistered, each operation looks up and pins its pages. If registration is refused, the buffers
 * are used unregistered.
 *
 * @returns The number of bytes registered per buffer.
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

/** Makes the data path. Each path is one file and one line here. */
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
