/**
 * A backend's traits: its properties and abilities as plain data, for those who offer it as a disk.
 *
 * @module
 */

import type { Backend, RequestLimits, Topology, ZoneMethods } from "./backend.ts";

/** Traits of a backend. They can be sent to another thread. */
export interface BackendTraits {
  /** Size of the disk in bytes. */
  readonly size: number;
  /** Size of a logical block in bytes. */
  readonly blockSize: number;
  /** The disk is read-only: the kernel must refuse writes. */
  readonly readOnly: boolean;
  /** Writes need a flush to be durable. */
  readonly flush: boolean;
  /** Writes honour FUA. */
  readonly fua: boolean;
  /** Ranges can be discarded. */
  readonly trim: boolean;
  /** The backend can write zeroes itself. */
  readonly writeZeroes: boolean;
  /** The contents are memory that the kernel can access directly. */
  readonly address: boolean;
  /** The backend works through its thread's ring. */
  readonly ring: boolean;
  /** The backend prefers zero copy. */
  readonly preferZeroCopy: boolean;
  /** The backend stores integrity metadata. */
  readonly metadata: boolean;
  /** The contents outlive this process. */
  readonly persistent: boolean;
  /** The size can be changed. */
  readonly resize: boolean;
  /** Requirements on the memory of requests. */
  readonly limits?: RequestLimits;
  /** Hints on using the disk efficiently. */
  readonly topology?: Topology;
  /** The zones of a zoned disk. */
  readonly zones?: ZoneTraits;
  /** The serving thread may block in the kernel. */
  readonly synchronous: boolean;
}

/** Traits of a backend's zones. */
export interface ZoneTraits {
  /** Size of a zone in bytes. */
  readonly size: number;
  /** Maximum number of open zones; 0 for no limit. */
  readonly maxOpen: number;
  /** Maximum number of zones that are open or closed; 0 for no limit. */
  readonly maxActive: number;
}

/**
 * Whether the thread that serves a backend in a Worker may block in the kernel: because its methods
 * never wait, or because an engine is called instead of them.
 */
export function mayBlock(backend: Backend): boolean {
  return backend.synchronous === true || backend.engine !== undefined;
}

/**
 * Derives a backend's traits.
 *
 * @param synchronous Whether its thread may block in the kernel. Default: as the backend declares.
 */
export function traitsOf(
  backend: Backend,
  synchronous: boolean = mayBlock(backend),
): BackendTraits {
  // An engine is called instead of the methods for metadata.
  const engine = synchronous && backend.engine !== undefined;
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
    metadata: engine ? false : bytes ? keepsMetadata : ring.metadata === true,
    persistent: backend.persistent === true,
    resize: backend.resize !== undefined,
    synchronous,
  };
}

function zoneTraitsOf({ size, maxOpen = 0, maxActive = 0 }: ZoneMethods): ZoneTraits {
  return { size, maxOpen, maxActive };
}
