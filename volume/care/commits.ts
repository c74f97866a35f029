/**
 * The commits that a volume's chunks are of, and which of them never counted.
 *
 * What has counted is one row of commits, each beginning with the batch after the last one of the
 * commit before. A commit was never part of that row if a later writer, or its own in a later
 * attempt, has begun at or before its last batch: he began where the row ended.
 *
 * Data that was moved from sparse chunks is as of the last batch before it, whether the move has counted
 * or not. So a move is a commit of no batches, whose `first` is `last` + 1.
 *
 * @module
 */

import type { ChunkTable } from "../format/chunk.ts";

/** A commit, as far as its chunks are there. */
export interface Commit {
  /** The epoch of its writer. */
  readonly epoch: number;
  /** The sequence of its first batch. */
  readonly first: number;
  /** The sequence of its last batch. */
  readonly last: number;
  /** Its chunks. Those of several attempts agree on every block that they have in common. */
  readonly chunks: readonly ChunkTable[];
  /** Number of its chunks that are not there. */
  readonly missing: number;
}

/** The commits that may have counted, in their order. */
export function commitsOf(tables: Iterable<ChunkTable>): Commit[] {
  const groups = new Map<string, ChunkTable[]>();
  for (const table of tables) {
    const key = `${table.epoch} ${table.first} ${table.last}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [table]);
    else group.push(table);
  }
  const commits = [...groups.values()].map(commitOf);
  commits.sort((left, right) =>
    left.epoch - right.epoch || left.last - right.last || left.first - right.first
  );
  let begun = Infinity;
  const counted: Commit[] = [];
  for (const commit of commits.reverse()) {
    if (begun > commit.last) counted.push(commit);
    begun = Math.min(begun, commit.first);
  }
  return counted.reverse();
}

function commitOf(chunks: ChunkTable[]): Commit {
  const { epoch, first, last } = chunks[0];
  chunks.sort((left, right) => left.number - right.number);
  // Attempts at one commit may have had different numbers of chunks: one that is whole is enough.
  const found = new Map<number, Set<number>>();
  for (const { part, parts } of chunks) found.set(parts, (found.get(parts) ?? new Set()).add(part));
  const missing = Math.min(...[...found].map(([parts, seen]) => parts - seen.size));
  return { epoch, first, last, chunks, missing };
}

/**
 * The commits that continue a state: each begins where the one before has ended, and is whole.
 *
 * @param most At most so many.
 */
export function continuing(
  commits: readonly Commit[],
  { sequence, epoch }: { readonly sequence: number; readonly epoch: number },
  most: number,
): Commit[] {
  const row: Commit[] = [];
  let end = { sequence, epoch };
  while (row.length < most) {
    const next = commits.findLast((one) =>
      one.first === end.sequence + 1 && one.last >= one.first && one.epoch >= end.epoch &&
      one.missing === 0
    );
    if (next === undefined) break;
    row.push(next);
    end = { sequence: next.last, epoch: next.epoch };
  }
  return row;
}

/** The number of blocks of the smallest disk that has all blocks of some commits. */
export function blocksOf(commits: readonly Commit[]): number {
  let end = 0;
  for (const { chunks } of commits) {
    for (const { frames } of chunks) {
      const last = frames.at(-1);
      if (last !== undefined) end = Math.max(end, last.block + last.count);
    }
  }
  return end;
}
