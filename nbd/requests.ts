/**
 * The frames of the transmission phase: from bytes to values and back, without any state. One of them
 * passes for each request, so they are read and written in place, and without objects on the way.
 *
 * ```
 *   request         magic:4  flags:2  command:2  cookie:8  offset:8  length:4
 *   extended        magic:4  flags:2  command:2  cookie:8  offset:8  length:8
 *
 *   simple reply    magic:4  error:4  cookie:8  data
 *   chunk           magic:4  flags:2  type:2  cookie:8  length:4  payload:length
 *   extended chunk  magic:4  flags:2  type:2  cookie:8  offset:8  length:8  payload:length
 * ```
 *
 * @module
 */

import {
  NBD_EXTENDED_REPLY_MAGIC,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_REQUEST_MAGIC,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
} from "./protocol.ts";

/** Bytes of a request's header. */
export const REQUEST_BYTES = 28;
/** Bytes of an extended request's header. */
export const EXTENDED_REQUEST_BYTES = 32;

const WORD = 2 ** 32;

/** A request's header. */
export interface RequestHeader {
  /** `NBD_CMD_FLAG_*`. */
  readonly flags: number;
  /** `NBD_CMD_*`. */
  readonly command: number;
  /** The upper half of the cookie, the client's name for the request. */
  readonly cookieHigh: number;
  /** The lower half. */
  readonly cookieLow: number;
  /** Bytes from the start of the export. Beyond 2^53 it is not exact, and past any end. */
  readonly offset: number;
  /** The upper half of the offset, which extended replies repeat. */
  readonly offsetHigh: number;
  /** The lower half. */
  readonly offsetLow: number;
  /** Bytes. Beyond 2^53 it is not exact, and too many. */
  readonly length: number;
}

/** Decodes a request's header; undefined if its magic is wrong. */
export function requestHeader(
  view: DataView,
  at: number,
  extended: boolean,
): RequestHeader | undefined {
  const magic = extended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC;
  if (view.getUint32(at) !== magic) return undefined;
  const [offsetHigh, offsetLow] = [view.getUint32(at + 16), view.getUint32(at + 20)];
  return {
    flags: view.getUint16(at + 4),
    command: view.getUint16(at + 6),
    cookieHigh: view.getUint32(at + 8),
    cookieLow: view.getUint32(at + 12),
    offset: offsetHigh * WORD + offsetLow,
    offsetHigh,
    offsetLow,
    length: extended
      ? view.getUint32(at + 24) * WORD + view.getUint32(at + 28)
      : view.getUint32(at + 24),
  };
}

/** The form of replies that a connection has agreed on, from the oldest to the newest. */
export type ReplyForm = "simple" | "structured" | "extended";

/** Bytes of a frame without its payload: a simple reply, or a chunk in one of the two forms. */
export const FRAME_BYTES: Readonly<Record<ReplyForm, number>> = {
  simple: 16,
  structured: 20,
  extended: 32,
};

/** Writes a simple reply, without data. */
export function putSimple(view: DataView, at: number, to: RequestHeader, error: number): void {
  view.setUint32(at, NBD_SIMPLE_REPLY_MAGIC);
  view.setUint32(at + 4, error);
  view.setUint32(at + 8, to.cookieHigh);
  view.setUint32(at + 12, to.cookieLow);
}

/**
 * Writes a chunk's frame, without its payload.
 *
 * @param flags `NBD_REPLY_FLAG_*`.
 * @param type `NBD_REPLY_TYPE_*`.
 * @param payload Bytes of the payload.
 */
export function putChunk(
  view: DataView,
  at: number,
  to: RequestHeader,
  { extended, flags, type, payload }: {
    readonly extended: boolean;
    readonly flags: number;
    readonly type: number;
    readonly payload: number;
  },
): void {
  view.setUint32(at, extended ? NBD_EXTENDED_REPLY_MAGIC : NBD_STRUCTURED_REPLY_MAGIC);
  view.setUint16(at + 4, flags);
  view.setUint16(at + 6, type);
  view.setUint32(at + 8, to.cookieHigh);
  view.setUint32(at + 12, to.cookieLow);
  if (!extended) return view.setUint32(at + 16, payload);
  view.setUint32(at + 16, to.offsetHigh);
  view.setUint32(at + 20, to.offsetLow);
  // No payload of ours has 4 GiB.
  view.setUint32(at + 24, 0);
  view.setUint32(at + 28, payload);
}
