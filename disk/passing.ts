/**
 * A backend that passes everything on to another one: the base class of wrappers. Each wrapper
 * overrides only its own part. So a stack can do what all of its parts can do, and no more.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import type {
  Answer,
  Backend,
  RequestLimits,
  RingMethods,
  Topology,
  WriteOptions,
} from "./backend.ts";
import type { BackendCounters } from "./counters.ts";

/** Shortcuts past the methods, which a wrapper passes on or replaces. */
export interface Shortcuts {
  /** Ring methods. */
  readonly ring?: RingMethods;
  /** Address of the contents in memory. */
  readonly address?: number;
}

/** All properties of a type, even optional ones. A class that misses one does not compile. */
export type EachOf<T> = { [Name in keyof Required<T>]: T[Name] };

/** {@linkcode Backend.extentAt} of the wrapped disk, for wrappers that change no byte. */
export function sameExtents(inner: Backend): Backend["extentAt"] {
  return inner.extentAt && ((offset, length) => inner.extentAt!(offset, length));
}

/** Passes everything on except {@linkcode Shortcuts}, which a wrapper must choose to pass on. */
export class Passing implements EachOf<Backend> {
  readonly blockSize: number;
  readonly limits: RequestLimits | undefined;
  topology: Topology | undefined;
  readonly ring: RingMethods | undefined;
  readonly address: number | undefined;
  readonly counters: BackendCounters | undefined;
  readonly warnings: readonly string[] | undefined;
  /** Always undefined: the engine's requests would bypass the wrapper, which calls the methods. */
  readonly engine: undefined = undefined;
  /** Always undefined: zoned disks are refused. */
  readonly zones: undefined = undefined;
  /**
   * Undefined, so that all is data: a wrapper may hold data for what is a hole inside, and vice
   * versa. One that changes no byte sets {@linkcode sameExtents}.
   */
  extentAt: Backend["extentAt"] = undefined;
  readOnly: boolean;
  fua: boolean;
  synchronous: boolean;
  persistent: boolean;
  flush: Backend["flush"];
  trim: Backend["trim"];
  writeZeroes: Backend["writeZeroes"];
  readMetadata: Backend["readMetadata"];
  writeMetadata: Backend["writeMetadata"];
  resize: Backend["resize"];
  beforeFetch: Backend["beforeFetch"];
  close: Backend["close"];
  /** The wrapped backend. It is closed by its loader, not here. */
  protected readonly inner: Backend;

  /**
   * Wraps a backend. The given shortcuts stay available.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` if the backend has zones.
   */
  constructor(inner: Backend, { ring, address }: Shortcuts = {}) {
    if (inner.zones !== undefined) {
      throw new UblkError("INVALID_ARGUMENT", {
        operation: "wrap a zoned disk",
        reason: "wrappers pass on no zones",
        hint: "serve it without any",
      });
    }
    this.inner = inner;
    this.ring = ring;
    this.address = address;
    this.blockSize = inner.blockSize ?? 512;
    this.limits = inner.limits;
    this.topology = inner.topology;
    this.counters = inner.counters;
    this.warnings = inner.warnings;
    this.readOnly = inner.readOnly === true;
    this.fua = inner.fua === true;
    this.synchronous = inner.synchronous === true;
    this.persistent = inner.persistent === true;
    this.flush = inner.flush && (() => inner.flush!());
    this.trim = inner.trim && ((offset, length) => inner.trim!(offset, length));
    this.writeZeroes = inner.writeZeroes &&
      ((offset, length, options) => inner.writeZeroes!(offset, length, options));
    this.readMetadata = inner.readMetadata &&
      ((buffer, offset) => inner.readMetadata!(buffer, offset));
    this.writeMetadata = inner.writeMetadata &&
      ((buffer, offset) => inner.writeMetadata!(buffer, offset));
    this.resize = inner.resize && ((size) => inner.resize!(size));
    this.beforeFetch = inner.beforeFetch && ((queue, tag) => inner.beforeFetch!(queue, tag));
  }

  get size(): number {
    return this.inner.size;
  }

  readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    return this.inner.readAt(buffer, offset);
  }

  writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number, options: WriteOptions): Answer {
    return this.inner.writeAt(buffer, offset, options);
  }
}
