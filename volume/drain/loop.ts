/**
 * When the drain commits: after so many bytes, or when what waits is 5 s old, or at once if the journal is
 * full, another process asks for it, a snapshot was taken, or the volume is detached.
 *
 * A store that is away or full is tried again, less and less often, for as long as it takes; until
 * then the journal fills. What cannot get better ends the drain, and with it the engine's writes:
 * somebody else has the volume, or bytes of it are damaged.
 *
 * @module
 */

import { Backoff, mayPass } from "../../store/retry.ts";
import type { Committed } from "../committed.ts";
import { AT, type VolumeCounters } from "../counters.ts";
import type { Seam } from "../seam.ts";
import type { SpaceKeeper } from "../space/keeper.ts";
import type { Marks } from "../marks/marks.ts";
import { type DrainSide, ORDER_HURRY, ORDER_RESIZE, ORDER_STOP } from "./board.ts";
import { commitOf, type Drainer, type MadeCommit } from "./drainer.ts";
import { COMMIT_MS } from "./policy.ts";

/** The parts of a drain's loop. */
export interface DrainLoopParts {
  /** The board. */
  readonly board: DrainSide;
  /** The maker of commits. */
  readonly drainer: Drainer;
  /** The hold on the volume. */
  readonly committed: Committed;
  /** Where the drain begins in the journal. */
  readonly position: number;
  /** Bytes of the journal after which a commit is made. */
  readonly commitBytes: number;
  /** Gives space back. */
  readonly keeper: Pick<
    SpaceKeeper,
    "handedOver" | "replaced" | "quiet" | "takeMoves" | "catchUp"
  >;
  /** Counts failures of the store. */
  readonly counters: VolumeCounters;
  /** Why somebody else has the volume, once that has been found beside the loop. */
  readonly lost: () => unknown;
  /** Snapshots, and what other processes ask for. */
  readonly marks: Pick<Marks, "failure" | "takeAll" | "wanted" | "owes" | "end">;
  /** Time. */
  readonly seam: Seam;
}

/**
 * Drains until the order to stop is carried out.
 *
 * @returns The error that ended it early, if one did.
 */
export async function drainLoop(parts: DrainLoopParts): Promise<unknown> {
  const { board, drainer, committed, commitBytes, keeper, marks, seam } = parts;
  let done = parts.position;
  /** All before this position was asked for. */
  let wanted = done;
  let sinceMs: number | undefined = undefined;
  const backoff = new Backoff();
  /** A commit was made, if there was anything to commit before a position. */
  const made = (commit: MadeCommit | undefined, position: number) => {
    backoff.succeeded();
    if (commit === undefined) return;
    // It may have only moved data.
    if (commit.end !== undefined) {
      done = commit.end.position;
      if (done >= position) sinceMs = undefined;
      board.carriedOut(ORDER_HURRY);
    }
    // Once the device is gone, nobody takes anything over.
    if ((board.orders & ORDER_STOP) !== 0) return;
    keeper.handedOver(commit.extents);
    board.handOver(commitOf(commit));
  };
  for (;;) {
    const wakes = board.wakes;
    const { orders } = board;
    keeper.quiet(board.quiet);
    // Before the look: what is answered in between is perhaps not in it.
    const time = seam.now();
    const failure = parts.lost() ?? marks.failure;
    if (failure !== undefined) return failed(board, failure);
    const isAsked = marks.takeAll();
    const { position } = board.look();
    wanted = isAsked ? position : Math.max(wanted, marks.wanted);
    if (position <= done && (orders & ORDER_STOP) !== 0) marks.end();
    // Before anything else is committed: the engine does not know of it.
    if (drainer.owesCommit) {
      try {
        made(await drainer.finish(), position);
      } catch (error) {
        if (!mayPass(error)) return failed(board, error);
        await again(parts, error, backoff);
      }
      continue;
    }
    if (marks.owes) {
      try {
        await drainer.enter();
        backoff.succeeded();
      } catch (error) {
        if (!mayPass(error)) return failed(board, error);
        await again(parts, error, backoff);
      }
      continue;
    }
    if ((orders & ORDER_RESIZE) !== 0) {
      const size = board.takeSize();
      try {
        await drainer.resize(size);
        keeper.replaced();
        board.resized(size);
        backoff.succeeded();
      } catch (error) {
        board.keepSize();
        if (!mayPass(error)) return failed(board, error);
        await again(parts, error, backoff);
      }
      continue;
    }
    const isFree = !board.isHandingOver && (orders & ORDER_STOP) === 0;
    const moves = isFree ? keeper.takeMoves() : undefined;
    if (moves !== undefined) {
      try {
        made(await drainer.move(moves), position);
      } catch (error) {
        // The next collection finds that data again.
        if (!mayPass(error)) return failed(board, error);
        await again(parts, error, backoff);
      }
      continue;
    }
    if (position <= done) {
      sinceMs = undefined;
      board.carriedOut(orders & ORDER_HURRY);
      if ((orders & ORDER_STOP) !== 0) {
        try {
          await committed.release();
          return undefined;
        } catch (error) {
          if (!mayPass(error)) return failed(board, error);
          await again(parts, error, backoff);
          continue;
        }
      }
      await board.sleep(wakes, done + 1, Infinity);
      continue;
    }
    sinceMs ??= seam.clock();
    const leftMs = COMMIT_MS - (seam.clock() - sinceMs);
    const isDue = orders !== 0 || done < wanted || position - done >= commitBytes || leftMs <= 0;
    if (!isDue) {
      await board.sleep(wakes, done + commitBytes, leftMs);
      continue;
    }
    if (board.isHandingOver && (orders & ORDER_STOP) === 0) {
      await board.sleep(wakes, Infinity, Infinity);
      continue;
    }
    if ((orders & ORDER_STOP) === 0) await keeper.catchUp();
    try {
      const commit = await drainer.commit(position, time);
      if (commit === undefined) done = position;
      made(commit, position);
    } catch (error) {
      if (!mayPass(error)) return failed(board, error);
      await again(parts, error, backoff);
    }
  }
}

function failed(board: DrainSide, error: unknown): unknown {
  board.fail(`${error instanceof Error ? error.message : error}`);
  return error;
}

/** Waits before the next attempt. */
async function again(
  { board, counters }: DrainLoopParts,
  error: Error,
  backoff: Backoff,
): Promise<void> {
  counters.add(AT.storeFailures, 1);
  const ms = backoff.next();
  if (backoff.failures === 1) {
    board.report(`the store failed, and is tried again: ${error.message}`);
  }
  await board.sleep(board.wakes, Infinity, ms);
}
