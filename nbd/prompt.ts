/**
 * READs and WRITEs of a disk that answers at once, up to a length: they are performed in the
 * connection's own memory, one after the other. A READ goes to where its reply is sent from, and a WRITE
 * is taken from where it has arrived, so that nothing is copied or allocated on the way.
 *
 * @module
 */

import type { DiskHost } from "../disk/host.ts";
import { assert } from "../uapi/error.ts";
import { UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { Bytes } from "./frames.ts";
import { PROMPT_BYTES } from "./memory.ts";
import { NBD_CMD_FLAG_FUA } from "./protocol.ts";
import { MOST_FRAME_BYTES } from "./replies.ts";
import type { RequestHeader } from "./requests.ts";
import { answer, failure, type Served } from "./served.ts";

/** Whether a READ or WRITE is performed in this way. */
export function isPrompt(host: DiskHost, { length }: RequestHeader): boolean {
  return host.backend.synchronous === true && length <= PROMPT_BYTES;
}

/** The requests of one connection. */
export class Prompt {
  readonly #served: Served;
  /** Where a WRITE is collected that did not come in one piece. */
  #piece: Bytes = new Uint8Array(0);

  constructor(served: Served) {
    this.#served = served;
  }

  /** Performs a READ. @returns A Promise if it has to wait until earlier answers have been sent. */
  read(request: RequestHeader): Promise<void> | undefined {
    const { sender, replies } = this.#served;
    // Nobody waits for it.
    if (sender.hasFailed) return undefined;
    const at = sender.room(replies.dataFrameBytes + request.length);
    if (at < 0) return this.#readLater(request);
    this.#readTo(at, request);
    return undefined;
  }

  async #readLater(request: RequestHeader): Promise<void> {
    const { sender, replies } = this.#served;
    const bytes = replies.dataFrameBytes + request.length;
    let at: number;
    do {
      await sender.emptied();
      if (sender.hasFailed) return;
      at = sender.room(bytes);
    } while (at < 0);
    this.#readTo(at, request);
  }

  #readTo(at: number, request: RequestHeader): void {
    const { host, sender, replies, isBegun, isOver } = this.#served;
    const { offset, length } = request;
    const dataAt = at + replies.dataFrameBytes;
    const buffer = sender.own.subarray(dataAt, dataAt + length);
    const result = host.request({ op: UBLK_IO_OP_READ, offset, length, buffer });
    assert(typeof result === "number", "a synchronous disk answers at once");
    if (result < 0) {
      isBegun();
      return sender.send([failure(replies, request, result)], isOver);
    }
    replies.putData(sender.view, at, request, offset, length, true);
    sender.made(replies.dataFrameBytes + length);
  }

  /** Performs a WRITE. @returns A Promise if its data is not here yet. */
  write(request: RequestHeader): Promise<void> | undefined {
    const data = this.#served.incoming.takenBytes(request.length);
    if (data === undefined) return this.#writeLater(request);
    this.#writeFrom(data, request);
    return undefined;
  }

  async #writeLater(request: RequestHeader): Promise<void> {
    const { length } = request;
    if (this.#piece.length < length) this.#piece = new Uint8Array(nextPowerOf2(length));
    const data = this.#piece.subarray(0, length);
    await this.#served.incoming.fill(data);
    this.#writeFrom(data, request);
  }

  #writeFrom(buffer: Bytes, request: RequestHeader): void {
    const { host, sender, replies, isBegun } = this.#served;
    const { offset, length } = request;
    const fua = (request.flags & NBD_CMD_FLAG_FUA) !== 0;
    const result = host.request({ op: UBLK_IO_OP_WRITE, offset, length, buffer, fua });
    assert(typeof result === "number", "a synchronous disk answers at once");
    const at = result < 0 ? -1 : sender.room(MOST_FRAME_BYTES);
    if (at >= 0) return sender.made(replies.putDone(sender.view, at, request));
    isBegun();
    answer(this.#served, request, Math.min(result, 0));
  }
}

function nextPowerOf2(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(bytes));
}
