/**
 * A backend's traits: what it is and can do, as plain data, for whoever offers it as a disk.
 *
 * @module
 */

import type { Backend, RequestLimits, Topology, ZoneMethods } from "./backend.ts";

/** Traits of a backend. They can cross to another thread. */
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
