/**
 * What the parts of a connection's transmission phase share: the disk, the client, and the answers.
 *
 * @module
 */

import type { DiskHost } from "../disk/host.ts";
import type { Buffers } from "./buffers.ts";
import { commandName, nbdError } from "./checks.ts";
import type { Incoming } from "./link.ts";
import type { MemoryShare } from "./memory.ts";
import type { Replies } from "./replies.ts";
import type { RequestHeader } from "./requests.ts";
import type { Sender } from "./sender.ts";
import type { TurnLine } from "./turns.ts";

/** A client that is served. */
export interface Served {
  /** The disk. */
  readonly host: DiskHost;
  /** Its requests. */
  readonly incoming: Incoming;
  /** The answers on their way to it. */
  readonly sender: Sender;
  /** The form of the answers. */
  readonly replies: Replies;
  /** Its share of the server's memory. */
  readonly memory: MemoryShare;
  /** Where its requests without data wait for their turn. */
  readonly line: TurnLine;
  /** Buffers for what is taken of it. */
  readonly buffers: Buffers;
  /** A request is performed: it counts until {@linkcode isOver} is called. */
  readonly isBegun: () => void;
  /** A request's answer is sent, or never will be. */
  readonly isOver: () => void;
}

/** Answers a request that has no data to send. @param result 0 or a negative errno. */
export function answer(
  { replies, sender, isOver }: Served,
  request: RequestHeader,
  result: number,
): void {
  sender.send([result === 0 ? replies.done(request) : failure(replies, request, result)], isOver);
}

/** The answer to a request that has failed. @param result A negative errno. */
export function failure(replies: Replies, request: RequestHeader, result: number) {
  const { command, offset, length } = request;
  const words = `${commandName(command)} of ${length} bytes at ${offset}: errno ${-result}`;
  return replies.failed(request, nbdError(result), words);
}

/** Takes memory for a request, in turn. While it waits, answers go out: some of them free memory. */
export async function take({ memory, sender }: Served, bytes: number): Promise<void> {
  const later = memory.take(bytes);
  if (later === undefined) return;
  sender.release();
  await later;
}
