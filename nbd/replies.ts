/**
 * The replies of a connection, in the form that it agreed on.
 *
 * @module
 */

import { type Bytes, FrameWriter, textBytes } from "./frames.ts";
import {
  NBD_CMD_READ,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_BLOCK_STATUS_EXT,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
} from "./protocol.ts";
import {
  FRAME_BYTES,
  putChunk,
  putSimple,
  type ReplyForm,
  type RequestHeader,
} from "./requests.ts";

/** The metadata context's number. Clients return it in nothing, and find it in replies. */
export const ALLOCATION_ID = 1;

/** Bytes before the data in the payload of a READ's chunk: the data's place. */
const PLACE_BYTES = 8;
/** Most bytes of a reply besides data: an extended chunk with the data's place. */
export const MOST_FRAME_BYTES: number = FRAME_BYTES.extended + PLACE_BYTES;

/** Longest extent of a reply without extended headers: the length has 32 bits. */
const MOST_COMPACT_BYTES = 2 ** 32 - 2 ** 16;

const WORD = 2 ** 32;

/** A part of an export with one state. */
export interface StatusExtent {
  /** Bytes. */
  readonly length: number;
  /** `NBD_STATE_*`. */
  readonly state: number;
}

/** Encodes replies. */
export class Replies {
  readonly #form: ReplyForm;
  readonly #extended: boolean;
  readonly #frameBytes: number;
  /** Bytes of the frame before the data of a READ. */
  readonly dataFrameBytes: number;

  constructor(form: ReplyForm) {
    this.#form = form;
    this.#extended = form === "extended";
    this.#frameBytes = FRAME_BYTES[form];
    this.dataFrameBytes = this.#frameBytes + (form === "simple" ? 0 : PLACE_BYTES);
  }

  /** Whether a reply may have several chunks. */
  get isStructured(): boolean {
    return this.#form !== "simple";
  }

  /** Writes success without data. @returns Bytes of the frame. */
  putDone(view: DataView, at: number, to: RequestHeader): number {
    // With structured replies, a READ never gets a simple one; extended headers know no other.
    if (this.#form === "simple" || (!this.#extended && to.command !== NBD_CMD_READ)) {
      putSimple(view, at, to, 0);
      return FRAME_BYTES.simple;
    }
    const [extended, flags] = [this.#extended, NBD_REPLY_FLAG_DONE];
    putChunk(view, at, to, { extended, flags, type: NBD_REPLY_TYPE_NONE, payload: 0 });
    return this.#frameBytes;
  }

  /**
   * Writes the frame before data of a READ, of {@linkcode dataFrameBytes} bytes.
   *
   * @param place The data's place: bytes from the start of the export.
   * @param isLast No chunk follows.
   */
  putData(
    view: DataView,
    at: number,
    to: RequestHeader,
    place: number,
    length: number,
    isLast: boolean,
  ): void {
    if (this.#form === "simple") return putSimple(view, at, to, 0);
    const [extended, flags] = [this.#extended, isLast ? NBD_REPLY_FLAG_DONE : 0];
    const payload = PLACE_BYTES + length;
    putChunk(view, at, to, { extended, flags, type: NBD_REPLY_TYPE_OFFSET_DATA, payload });
    view.setUint32(at + this.#frameBytes, place / WORD);
    view.setUint32(at + this.#frameBytes + 4, place % WORD);
  }

  /** Success without data. */
  done(to: RequestHeader): Bytes {
    const bytes = new Uint8Array(this.#frameBytes);
    return bytes.subarray(0, this.putDone(new DataView(bytes.buffer), 0, to));
  }

  /** The frame before data of a READ: see {@linkcode putData}. */
  data(to: RequestHeader, place: number, length: number, isLast: boolean): Bytes {
    const bytes = new Uint8Array(this.dataFrameBytes);
    this.putData(new DataView(bytes.buffer), 0, to, place, length, isLast);
    return bytes;
  }

  /** Failure. The words are for people; a simple reply has no room for them. */
  failed(to: RequestHeader, error: number, words: string): Bytes {
    if (this.#form === "simple") {
      const bytes = new Uint8Array(FRAME_BYTES.simple);
      putSimple(new DataView(bytes.buffer), 0, to, error);
      return bytes;
    }
    const text = textBytes(words);
    const payload = new FrameWriter(6 + text.length).u32(error).u16(text.length).raw(text).bytes;
    return this.#chunk(to, NBD_REPLY_TYPE_ERROR, payload);
  }

  /** The states of extents, from the request's offset on. */
  status(to: RequestHeader, extents: readonly StatusExtent[]): Bytes {
    if (this.#extended) {
      const payload = new FrameWriter(8 + 16 * extents.length)
        .u32(ALLOCATION_ID).u32(extents.length);
      for (const { length, state } of extents) payload.u64(length).u64(state);
      return this.#chunk(to, NBD_REPLY_TYPE_BLOCK_STATUS_EXT, payload.bytes);
    }
    // Behind one that is cut, the next would be taken to be where it ends.
    const cut = extents.findIndex(({ length }) => length > MOST_COMPACT_BYTES);
    const told = cut < 0 ? extents : extents.slice(0, cut + 1);
    const payload = new FrameWriter(4 + 8 * told.length).u32(ALLOCATION_ID);
    for (const { length, state } of told) {
      payload.u32(Math.min(length, MOST_COMPACT_BYTES)).u32(state);
    }
    return this.#chunk(to, NBD_REPLY_TYPE_BLOCK_STATUS, payload.bytes);
  }

  /** The only chunk of a reply. */
  #chunk(to: RequestHeader, type: number, payload: Bytes): Bytes {
    const bytes = new Uint8Array(this.#frameBytes + payload.length);
    const how = { extended: this.#extended, flags: NBD_REPLY_FLAG_DONE, type };
    putChunk(new DataView(bytes.buffer), 0, to, { ...how, payload: payload.length });
    bytes.set(payload, this.#frameBytes);
    return bytes;
  }
}
