/**
 * Requests that carry no data of the client's: FLUSH, TRIM, WRITE_ZEROES, CACHE and BLOCK_STATUS.
 *
 * @module
 */

import { flush, readAhead, trim, writeZeroes, zero } from "./disk.ts";
import { MAX_PAYLOAD_BYTES } from "./export.ts";
import { statusOf } from "./extents.ts";
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
import { answer, type Served } from "./served.ts";

/** Begins with a request. The answer follows when it is done. */
export function perform(served: Served, request: RequestHeader): undefined {
  const { command } = request;
  served.isBegun();
  if (command === NBD_CMD_BLOCK_STATUS) void status(served, request);
  else if (command === NBD_CMD_WRITE_ZEROES) void zeroes(served, request);
  else void simple(served, request).then((result) => answer(served, request, result));
}

async function simple(served: Served, request: RequestHeader): Promise<number> {
  const { host, memory } = served;
  const { command, offset, length } = request;
  if (command === NBD_CMD_FLUSH) return await flush(host);
  if (command === NBD_CMD_CACHE) {
    return await readAhead(host, { offset, length: Math.min(length, MAX_PAYLOAD_BYTES) }, memory);
  }
  if (command !== NBD_CMD_TRIM) throw new Error(`command ${command} was checked`);
  return await durably(served, request, await trim(host, request));
}

async function zeroes(served: Served, request: RequestHeader): Promise<void> {
  const { host, memory, replies, sender, isOver } = served;
  const { flags } = request;
  if (host.traits.writeZeroes) {
    const result = await zero(host, request, (flags & NBD_CMD_FLAG_NO_HOLE) === 0);
    return answer(served, request, await durably(served, request, result));
  }
  if ((flags & NBD_CMD_FLAG_FAST_ZERO) !== 0) {
    const words = "the disk writes zeroes no faster than data";
    return sender.send([replies.failed(request, NBD_ENOTSUP, words)], isOver);
  }
  const result = await writeZeroes(host, request, memory);
  answer(served, request, await durably(served, request, result));
}

/** Makes what a request without data has done durable, if it wants that. */
async function durably({ host }: Served, { flags }: RequestHeader, result: number) {
  if (result !== 0 || (flags & NBD_CMD_FLAG_FUA) === 0) return result;
  return await flush(host);
}

async function status(served: Served, request: RequestHeader): Promise<void> {
  const { host, replies, sender, isOver } = served;
  const one = (request.flags & NBD_CMD_FLAG_REQ_ONE) !== 0;
  const extents = await statusOf(host, request, one);
  if (typeof extents === "number") return answer(served, request, extents);
  sender.send([replies.status(request, extents)], isOver);
}
