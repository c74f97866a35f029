/**
 * What a serving Worker and its manager say to one another. All of it is cloneable data.
 *
 * @module
 */

import type { Backend, RequestLimits, Sharing, Topology, ZoneMethods } from "../disk/backend.ts";
import type { RecoveredDevice } from "../disk/load.ts";
import type { BackendSpec } from "../disk/spec.ts";
import {
  isUblkError,
  thrownText,
  UblkError,
  type UblkErrorCode,
  type UblkErrorInit,
} from "../uapi/error.ts";
import type { ServeOrder, ThreadResources } from "./serving.ts";

/** A value that may itself be `undefined`, in a place that may be left out. */
export interface Box {
  /** The value. */
  readonly value: unknown;
}

/** From the manager to a thread. */
export type ToThread =
  | {
    readonly type: "open";
    readonly spec: BackendSpec;
    readonly queue: number;
    /** The device that is there already, and goes on; absent for a new one. */
    readonly recovered?: RecoveredDevice;
    /** What the first thread's `share` made; absent for the first thread. */
    readonly shared?: Box;
    readonly log: SharedArrayBuffer;
    /** Whether what its modules print goes to the log. */
    readonly takesConsole: boolean;
  }
  | { readonly type: "serve"; readonly order: ServeOrder; readonly cpus: readonly number[] }
  | {
    readonly type: "close";
    /** Whether to release what the threads share; heeded by the one that made it. */
    readonly unshare: boolean;
  };

/** From a thread to its manager. */
export type FromThread =
  | {
    readonly type: "opened";
    readonly traits: BackendTraits;
    readonly sharing: Sharing;
    readonly shared: unknown;
  }
  | { readonly type: "ready"; readonly resources: ThreadResources }
  | { readonly type: "stopped"; readonly lostErrno: number }
  | { readonly type: "closed" }
  | { readonly type: "failed"; readonly error: PackedError };

/** What a backend is and can do, without the backend. */
export interface BackendTraits {
  /** Bytes. */
  readonly size: number;
  /** Bytes. */
  readonly blockSize: number;
  /** The kernel is to refuse writes. */
  readonly readOnly: boolean;
  /** Its writes need a flush to be durable. */
  readonly flush: boolean;
  /** It honours FUA. */
  readonly fua: boolean;
  /** It forgets trimmed ranges. */
  readonly trim: boolean;
  /** It writes zeroes by itself. */
  readonly writeZeroes: boolean;
  /** Its contents are memory that the kernel can be pointed to. */
  readonly address: boolean;
  /** It works through its thread's ring. */
  readonly ring: boolean;
  /** Zero copy is its best way. */
  readonly preferZeroCopy: boolean;
  /** It keeps integrity metadata. */
  readonly metadata: boolean;
  /** Its contents outlive this process. */
  readonly persistent: boolean;
  /** It can change its size. */
  readonly resize: boolean;
  /** What the memory of requests must be like. */
  readonly limits?: RequestLimits;
  /** How it is best used. */
  readonly topology?: Topology;
  /** Its zones, where it has some. */
  readonly zones?: ZoneTraits;
  /** Its thread may block in the kernel. */
  readonly synchronous: boolean;
}

/** What the zones of a backend are. */
export interface ZoneTraits {
  /** Bytes of a zone. */
  readonly size: number;
  /** The most that are open at a time; 0 for no limit. */
  readonly maxOpen: number;
  /** The most that are open or closed at a time; 0 for no limit. */
  readonly maxActive: number;
}

/**
 * Reads off a backend what it is and can do.
 *
 * @param synchronous Whether its thread may block in the kernel: then it is what it declares.
 */
export function traitsOf(
  backend: Backend,
  synchronous: boolean = backend.synchronous === true,
): BackendTraits {
  const ring = synchronous ? backend.ring : undefined;
  const bytes = ring === undefined || ring.forZeroCopyOnly === true;
  const keepsMetadata = backend.readMetadata !== undefined && backend.writeMetadata !== undefined;
  return {
    size: backend.size,
    ...(backend.limits === undefined ? {} : { limits: backend.limits }),
    ...(backend.topology === undefined ? {} : { topology: backend.topology }),
    ...(backend.zones === undefined ? {} : { zones: zoneTraitsOf(backend.zones) }),
    blockSize: backend.blockSize ?? 512,
    readOnly: backend.readOnly === true,
    flush: backend.flush !== undefined,
    fua: backend.fua === true,
    trim: backend.trim !== undefined,
    writeZeroes: backend.writeZeroes !== undefined,
    address: backend.address !== undefined && synchronous,
    ring: ring !== undefined,
    preferZeroCopy: ring?.preferZeroCopy === true,
    metadata: bytes ? keepsMetadata : ring.metadata === true,
    persistent: backend.persistent === true,
    resize: backend.resize !== undefined,
    synchronous,
  };
}

function zoneTraitsOf({ size, maxOpen = 0, maxActive = 0 }: ZoneMethods): ZoneTraits {
  return { size, maxOpen, maxActive };
}

/** An error on its way to another thread: `structuredClone` would lose what makes it a UblkError. */
export interface PackedError {
  /** The code of a {@linkcode UblkError}. */
  readonly code?: UblkErrorCode;
  /** The parts of a {@linkcode UblkError}. */
  readonly init?: UblkErrorInit;
  /** The words of any other error. */
  readonly message: string;
}

/** Makes an error cloneable. */
export function packError(error: unknown): PackedError {
  if (isUblkError(error)) {
    const { code, operation, reason, hint, device, queue, errno, message } = error;
    return { code, message, init: { operation, reason, hint, device, queue, errno } };
  }
  return { message: thrownText(error) };
}

/** What nobody caught in a thread that serves. */
export function uncaughtError(thread: string, thrown: unknown): UblkError {
  return new UblkError("THREAD_FAILED", {
    operation: `serving thread ${thread}`,
    reason: `uncaught: ${thrownText(thrown).split("\n")[0]}`,
    hint: "see the backend's timers and Promises that nobody awaits",
  });
}

/** What was thrown, and where if it says so. */
export function stackText(thrown: unknown): string {
  try {
    return thrown instanceof Error ? `${thrown.stack}` : thrownText(thrown);
  } catch {
    return thrownText(thrown);
  }
}

/** The error again. */
export function unpackError(packed: PackedError): UblkError {
  if (packed.code !== undefined && packed.init !== undefined) {
    return new UblkError(packed.code, packed.init);
  }
  return new UblkError("THREAD_FAILED", {
    operation: "serve",
    reason: packed.message,
    hint: "this is a bug of @ublk/ublk; please report it",
  });
}
