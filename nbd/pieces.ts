/**
 * READs and WRITEs in pieces, in memory that is taken for each: a WRITE is written while it arrives, and
 * a READ is sent while it is read.
 *
 * @module
 */

import { EPIPE } from "../uapi/errno.ts";
import { flush, readInto, write } from "./disk.ts";
import { LinkEnded } from "./link.ts";
import { PIECE_BYTES } from "./memory.ts";
import { NBD_CMD_FLAG_DF, NBD_CMD_FLAG_FUA } from "./protocol.ts";
import type { RequestHeader } from "./requests.ts";
import type { WriteNow } from "./sender.ts";
import { answer, failure, type Served, take } from "./served.ts";

/** Receives the data of a WRITE, and begins to write it. The answer follows when that is done. */
export async function receive(served: Served, request: RequestHeader): Promise<void> {
  const { host, incoming, memory, buffers, line } = served;
  const { offset, length, flags } = request;
  const wantsFua = (flags & NBD_CMD_FLAG_FUA) !== 0;
  // One flush is enough for all pieces, where a write cannot be durable by itself.
  const fua = wantsFua && (host.traits.fua || length <= PIECE_BYTES);
  served.isBegun();
  let failed = 0;
  const pieces: Promise<void>[] = [];
  try {
    for (let at = 0; at < length; at += PIECE_BYTES) {
      const bytes = Math.min(PIECE_BYTES, length - at);
      await take(served, bytes);
      const piece = buffers.get(bytes);
      try {
        await incoming.fill(piece);
      } catch (error) {
        memory.give(bytes);
        throw error;
      }
      pieces.push(
        write(host, piece, offset + at, fua).then((result) => {
          buffers.put(piece, result);
          memory.give(bytes);
          if (failed === 0) failed = result;
        }),
      );
    }
  } catch (error) {
    await Promise.all(pieces);
    served.isOver();
    throw error;
  }
  void Promise.all(pieces).then(async () => {
    answer(served, request, failed === 0 && wantsFua && !fua ? await flush(host, line) : failed);
  });
}

/** Begins a READ. The answer follows when it is done. */
export async function read(served: Served, request: RequestHeader): Promise<void> {
  const { replies, sender, isBegun, isOver } = served;
  const { length, flags } = request;
  isBegun();
  if (length <= PIECE_BYTES) {
    await take(served, length);
    void readPiece(served, request, 0, length, true).then(isOver);
  } else if (replies.isStructured && (flags & NBD_CMD_FLAG_DF) === 0) {
    void readPieces(served, request).then(isOver);
  } else {
    sender.stream((write) => readWhole(served, request, write), isOver);
  }
}

/**
 * Sends a piece of a READ as a chunk of its own, in memory that was taken for it.
 *
 * @param isLast No chunk follows.
 * @returns 0 or a negative errno: then an error was sent, if it can be, and no chunk may follow.
 */
async function readPiece(
  { host, memory, buffers, replies, sender }: Served,
  request: RequestHeader,
  at: number,
  length: number,
  isLast: boolean,
): Promise<number> {
  if (sender.hasFailed) {
    memory.give(length);
    return -EPIPE;
  }
  const piece = buffers.get(length);
  const offset = request.offset + at;
  const result = await readInto(host, piece, offset);
  const { promise, resolve } = Promise.withResolvers<void>();
  sender.send(
    result === 0
      ? [replies.data(request, offset, length, isLast), piece]
      : [failure(replies, request, result)],
    resolve,
  );
  await promise;
  buffers.put(piece, result);
  memory.give(length);
  return result;
}

/** Sends the pieces of a READ, one after the other: other replies may come in between. */
async function readPieces(served: Served, request: RequestHeader): Promise<void> {
  const { length } = request;
  for (let at = 0; at < length; at += PIECE_BYTES) {
    const bytes = Math.min(PIECE_BYTES, length - at);
    await take(served, bytes);
    if (await readPiece(served, request, at, bytes, at + bytes === length) !== 0) return;
  }
}

/**
 * Sends a READ whose pieces must follow each other without anything in between. They are in the
 * piece of memory that each connection has for that: were it to wait for memory, it could wait for
 * replies behind it.
 */
async function readWhole(
  { host, replies }: Served,
  request: RequestHeader,
  write: WriteNow,
): Promise<void> {
  const { offset, length } = request;
  let failed = 0;
  for (let at = 0; at < length; at += PIECE_BYTES) {
    const piece = new Uint8Array(Math.min(PIECE_BYTES, length - at));
    if (failed === 0) failed = await readInto(host, piece, offset + at);
    if (at === 0) {
      if (failed !== 0) break;
      await write(replies.data(request, offset, length, false));
    } else if (failed !== 0 && !replies.isStructured) {
      // Its header said that all is well, so there is no other way to say that it is not.
      throw new LinkEnded("a read failed after its reply had begun");
    }
    // The rest of the chunk is sent as zeroes. The error follows it.
    await write(piece);
  }
  if (failed !== 0) await write(failure(replies, request, failed));
  else if (replies.isStructured) await write(replies.done(request));
}
