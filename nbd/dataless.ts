/**
 * Requests that carry no data of the client's: FLUSH, TRIM, WRITE_ZEROES, CACHE and BLOCK_STATUS.
 *
 * @module
 */

import { EPIPE } from "../uapi/errno.ts";
import { flush, readAhead, trim, writeZeroes, zero } from "./disk.ts";
import { MAX_PAYLOAD_BYTES } from "./export.ts";
import { statusBytes, statusOf } from "./extents.ts";
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE_ZEROES,
  NBD_ENOTSUP,
} from "./protocol.ts";
import type { RequestHeader } from "./requests.ts";
import { answer, type Served, take } from "./served.ts";

/**
 * Begins with a request. The answer follows when it is done.
 *
 * @returns A Promise if no other one may begin yet.
 */
export function perform(served: Served, request: RequestHeader): Promise<void> | undefined {
  const { command } = request;
  served.isBegun();
  if (command === NBD_CMD_BLOCK_STATUS) return status(served, request);
  if (command === NBD_CMD_WRITE_ZEROES) void zeroes(served, request);
  else void simple(served, request).then((result) => answer(served, request, result));
}

async function simple(served: Served, request: RequestHeader): Promise<number> {
  const { host, memory, line } = served;
  const { command, offset, length } = request;
  if (command === NBD_CMD_FLUSH) return await flush(host, line);
  if (command === NBD_CMD_CACHE) {
    const range = { offset, length: Math.min(length, MAX_PAYLOAD_BYTES) };
    return await readAhead(host, range, memory, line);
  }
  if (command !== NBD_CMD_TRIM) throw new Error(`command ${command} was checked`);
  return await durably(served, request, await trim(host, request, line));
}

async function zeroes(served: Served, request: RequestHeader): Promise<void> {
  const { host, memory, line, replies, sender, isOver } = served;
  const { flags } = request;
  if (host.traits.writeZeroes) {
    const result = await zero(host, request, (flags & NBD_CMD_FLAG_NO_HOLE) === 0, line);
    return answer(served, request, await durably(served, request, result));
  }
  if ((flags & NBD_CMD_FLAG_FAST_ZERO) !== 0) {
    const words = "the disk writes zeroes no faster than data";
    return sender.send([replies.failed(request, NBD_ENOTSUP, words)], isOver);
  }
  const result = await writeZeroes(host, request, memory, line);
  answer(served, request, await durably(served, request, result));
}

/** Makes what a request without data has done durable, if it wants that. */
async function durably({ host, line }: Served, { flags }: RequestHeader, result: number) {
  if (result !== 0 || (flags & NBD_CMD_FLAG_FUA) === 0) return result;
  return await flush(host, line);
}

/** Takes the memory of the reply, which may be long, before it asks the disk. */
async function status(served: Served, request: RequestHeader): Promise<void> {
  const one = (request.flags & NBD_CMD_FLAG_REQ_ONE) !== 0;
  const bytes = statusBytes(served.host, request, one);
  await take(served, bytes);
  void gather(served, request, one, bytes);
}

/** @param taken Bytes that were taken for it. */
async function gather(served: Served, request: RequestHeader, one: boolean, taken: number) {
  const { host, line, memory, replies, sender, isOver } = served;
  // The client has left.
  const found = sender.hasFailed ? -EPIPE : await statusOf(host, request, one, line);
  if (typeof found === "number") {
    memory.give(taken);
    return answer(served, request, found);
  }
  const reply = replies.status(request, found);
  memory.give(taken - reply.length);
  sender.send([reply], () => {
    memory.give(reply.length);
    isOver();
  });
}
