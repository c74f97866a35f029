/**
 * The replies of a connection, in the form that it agreed on.
 *
 * @module
 */

import {
  type Bytes,
  type ChunkForm,
  extendedChunk,
  FrameWriter,
  type RequestHeader,
  simpleReply,
  structuredChunk,
  textBytes,
} from "./frames.ts";
import { ALLOCATION_ID, type ReplyForm } from "./handshake.ts";
import {
  NBD_CMD_READ,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_BLOCK_STATUS_EXT,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
} from "./protocol.ts";

const NO_BYTES: Bytes = new Uint8Array(0);

/** Longest extent of a reply without extended headers: the length has 32 bits. */
const MOST_COMPACT_BYTES = 2 ** 32 - 2 ** 16;

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
  readonly #chunk: ChunkForm;

  constructor(form: ReplyForm) {
    this.#form = form;
    this.#chunk = form === "extended" ? extendedChunk : structuredChunk;
  }

  /** Whether a reply may have several chunks. */
  get isStructured(): boolean {
    return this.#form !== "simple";
  }

  /** Success without data. */
  done({ command, cookie, offset }: RequestHeader): Bytes {
    // With structured replies, a READ never gets a simple one; extended headers know no other.
    if (this.#form === "simple" || (this.#form === "structured" && command !== NBD_CMD_READ)) {
      return simpleReply(cookie, 0);
    }
    const chunk = { flags: NBD_REPLY_FLAG_DONE, type: NBD_REPLY_TYPE_NONE, cookie };
    return this.#chunk(chunk, offset, NO_BYTES);
  }

  /** Failure. The words are for people; a simple reply has no room for them. */
  failed({ cookie, offset }: RequestHeader, error: number, words: string): Bytes {
    if (this.#form === "simple") return simpleReply(cookie, error);
    const text = textBytes(words);
    const payload = new FrameWriter(6 + text.length).u32(error).u16(text.length).raw(text).bytes;
    const chunk = { flags: NBD_REPLY_FLAG_DONE, type: NBD_REPLY_TYPE_ERROR, cookie };
    return this.#chunk(chunk, offset, payload);
  }

  /**
   * The frame before data of a READ.
   *
   * @param at The data's place: bytes from the start of the export.
   * @param isLast No chunk follows.
   */
  data(
    { cookie, offset }: RequestHeader,
    at: number,
    length: number,
    isLast: boolean,
  ): Bytes {
    if (this.#form === "simple") return simpleReply(cookie, 0);
    const flags = isLast ? NBD_REPLY_FLAG_DONE : 0;
    const chunk = { flags, type: NBD_REPLY_TYPE_OFFSET_DATA, cookie, more: length };
    return this.#chunk(chunk, offset, new FrameWriter(8).u64(at).bytes);
  }

  /** The states of extents, from the request's offset on. */
  status({ cookie, offset }: RequestHeader, extents: readonly StatusExtent[]): Bytes {
    const flags = NBD_REPLY_FLAG_DONE;
    if (this.#form === "extended") {
      const payload = new FrameWriter(8 + 16 * extents.length)
        .u32(ALLOCATION_ID).u32(extents.length);
      for (const { length, state } of extents) payload.u64(length).u64(state);
      const chunk = { flags, type: NBD_REPLY_TYPE_BLOCK_STATUS_EXT, cookie };
      return this.#chunk(chunk, offset, payload.bytes);
    }
    const payload = new FrameWriter(4 + 8 * extents.length).u32(ALLOCATION_ID);
    for (const { length, state } of extents) {
      payload.u32(Math.min(length, MOST_COMPACT_BYTES)).u32(state);
    }
    return this.#chunk(
      { flags, type: NBD_REPLY_TYPE_BLOCK_STATUS, cookie },
      offset,
      payload.bytes,
    );
  }
}
