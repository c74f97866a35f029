/**
 * A backend that passes everything on to another: what wrappers begin with. Each changes what it is
 * for, and so a stack can do what all of its parts can do, and no more.
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

/** Ways past the methods that a wrapper leaves open, or replaces. */
export interface Shortcuts {
  /** Ring methods. */
  readonly ring?: RingMethods;
  /** Where the contents are in memory. */
  readonly address?: number;
}

/** All parts of a type, also those that may be left out there: who has not each does not compile. */
export type EachOf<T> = { [Name in keyof Required<T>]: T[Name] };

/** Passes everything on, but for {@linkcode Shortcuts}, which a wrapper must want. */
export class Passing implements EachOf<Backend> {
  readonly blockSize: number;
  readonly limits: RequestLimits | undefined;
  topology: Topology | undefined;
  readonly ring: RingMethods | undefined;
  readonly address: number | undefined;
  /** Refused. */
  readonly zones: undefined = undefined;
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
  /** What is wrapped. Whoever loaded it closes it. */
  protected readonly inner: Backend;

  /**
   * Around a backend, with the ways past its methods that are to stay open.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` where it has zones.
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
