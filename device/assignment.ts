/**
 * Which thread serves which tags. Pure: no kernel is needed.
 *
 * The kernel knows no threads, only who fetched a tag. Plainly a queue has a thread; with per-I/O
 * daemons the tags of all queues are dealt out like cards; with batch I/O, where a thread serves
 * whole queues, queues and threads are dealt out to one another. The two deals are kublk's
 * (`ublk_submit_fetch_commands`, `ublk_batch_setup_map`), so that both can be compared.
 *
 * @module
 */

import type { Sharing } from "../disk/backend.ts";
import type { QueueShare } from "../queue/serving.ts";
import type { DataPathName } from "../uapi/data_path.ts";
import { assert, UblkError } from "../uapi/error.ts";

/** A thread's share of a queue, still without a place to count. */
export type Share = Required<Omit<QueueShare, "stats">>;

/** What decides who serves what. */
export interface Workload {
  /** Queues, as granted. */
  readonly queues: number;
  /** Queues, as asked for: the kernel may have cut them to its CPUs. */
  readonly askedQueues: number;
  /** Tags per queue. */
  readonly depth: number;
  /** Threads that were asked for. */
  readonly threads?: number;
  /** Whether the backend may be open in more than one thread. */
  readonly sharing: Sharing;
  /** Tags, and not queues, are dealt out. */
  readonly perIoDaemons: boolean;
  /** Many requests per command. */
  readonly batch: boolean;
  /** How data travels. */
  readonly path: DataPathName;
}

/**
 * Each thread's shares, in the order of threads and of queues. No thread is without one, and each
 * tag has one thread; only with batch I/O several threads may have a queue in common.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where so many threads cannot be.
 */
export function assign(work: Workload): Share[][] {
  assert(work.queues > 0 && work.depth > 0, "the kernel has granted queues, and tags in them");
  const threads = threadCount(work);
  const shares = work.sharing === "single"
    ? [all(work.queues)]
    : work.perIoDaemons
    ? dealTags(work, threads)
    : dealQueues(work.queues, threads);
  assert(shares.every((list) => list.length > 0), "no thread is without a share");
  assert(preparedTags(shares, work) === work.queues * work.depth, "each tag has one thread");
  return shares;
}

/** How many tags are prepared, by whomever. */
function preparedTags(shares: readonly (readonly Share[])[], { depth }: Workload): number {
  return shares.flat().filter(({ prepare }) => prepare)
    .reduce((sum, { first, step }) => sum + Math.ceil((depth - first) / step), 0);
}

function threadCount({ threads, sharing, queues, askedQueues, ...work }: Workload): number {
  if (sharing === "single") {
    if ((threads ?? 1) === 1) return 1;
    throw invalid(
      `${threads} threads cannot serve a backend whose state belongs to one`,
      'leave `threads` out, or make its module `sharing: "per-queue"`',
    );
  }
  if (threads === undefined) return queues;
  // More threads than tags would have nothing to do.
  if (work.perIoDaemons) return Math.min(threads, queues * work.depth);
  if (threads !== askedQueues && !work.batch) {
    throw invalid(
      `${threads} threads cannot share ${askedQueues} queues`,
      "ask for as many threads as queues, or for perIoDaemons or batch",
    );
  }
  // Threads for queues that the kernel did not grant are not needed. And a request's pages are
  // registered with the ring that prepared its tag, so that no other can commit it.
  const limit = threads <= askedQueues || isAutomatic(work.path) ? queues : threads;
  return Math.min(threads, limit);
}

/** Whether the kernel registers pages with a ring by itself. */
export function isAutomatic(path: DataPathName): boolean {
  return path === "auto-zero-copy" || path === "auto-zero-copy-fallback";
}

function all(queues: number): Share[] {
  return Array.from({ length: queues }, (_, queue) => whole(queue, true));
}

function whole(queue: number, prepare: boolean): Share {
  return { queue, first: 0, step: 1, prepare };
}

/** Every `threads`-th of all tags, in the order of queues and tags. */
function dealTags({ queues, depth }: Workload, threads: number): Share[][] {
  return Array.from({ length: threads }, (_, thread) => {
    const shares: Share[] = [];
    for (let queue = 0; queue < queues; queue++) {
      // The least tag for which (queue * depth + tag) mod threads is the thread.
      const first = (((thread - queue * depth) % threads) + threads) % threads;
      if (first < depth) shares.push({ queue, first, step: threads, prepare: true });
    }
    return shares;
  });
}

/** Queues and threads in turn, until each has had its turn. */
function dealQueues(queues: number, threads: number): Share[][] {
  const shares: Share[][] = Array.from({ length: threads }, () => []);
  for (let turn = 0; turn < Math.max(queues, threads); turn++) {
    // A queue's tags are prepared once, by the first thread that has it.
    shares[turn % threads].push(whole(turn % queues, turn < queues));
  }
  return shares;
}

/**
 * The CPUs for each thread; an empty list leaves it where it is.
 *
 * @param kernel The CPUs of each queue. They fit threads only where each has a queue.
 * @param byHand What the caller wants instead.
 * @param allowed The CPUs that the process may use. The kernel's lists are cut to them, not the
 *   caller's.
 * @throws {UblkError} `INVALID_ARGUMENT` for more lists than threads.
 */
export function threadCpus(
  threads: number,
  kernel: readonly (readonly number[])[],
  byHand?: readonly (readonly number[])[],
  allowed?: readonly number[],
): (readonly number[])[] {
  if (byHand !== undefined && byHand.length > threads) {
    throw invalid(
      `there are ${byHand.length} lists of CPUs for ${threads} serving threads`,
      "give one list for each thread, or fewer",
    );
  }
  const near = threads === kernel.length ? kernel : [];
  const lists = byHand ??
    near.map((cpus) => cpus.filter((cpu) => allowed?.includes(cpu) ?? true));
  return Array.from({ length: threads }, (_, thread) => lists[thread] ?? []);
}

function invalid(reason: string, hint: string): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation: "serve", reason, hint });
}
