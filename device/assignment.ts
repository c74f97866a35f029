/**
 * The assignment of tags to threads. Pure functions; no kernel is needed.
 *
 * The kernel does not know threads, only which task fetched a tag. Normally each queue has a thread.
 * With per-I/O daemons the tags of all queues are dealt out like cards. With batch I/O a thread
 * serves whole queues, and queues and threads are dealt out to each other. Both deals match kublk's
 * (`ublk_submit_fetch_commands`, `ublk_batch_setup_map`), so the two servers can be compared.
 *
 * @module
 */

import type { Sharing } from "../disk/backend.ts";
import type { QueueShare } from "../queue/serving.ts";
import type { DataPathName } from "../uapi/data_path.ts";
import { assert, invalidIn } from "../uapi/error.ts";

const invalid = invalidIn("serve");

/** A thread's share of a queue, without its counters. */
export type Share = Required<Omit<QueueShare, "stats">>;

/** The inputs of the assignment. */
export interface Workload {
  /** Queues, as granted. */
  readonly queues: number;
  /** Queues, as requested; the kernel cuts them to the number of CPUs. */
  readonly askedQueues: number;
  /** Tags per queue. */
  readonly depth: number;
  /** Threads, as requested. */
  readonly threads?: number;
  /** Whether the backend may be open in more than one thread. */
  readonly sharing: Sharing;
  /** Deal out tags rather than queues. */
  readonly perIoDaemons: boolean;
  /** Many requests per command. */
  readonly batch: boolean;
  /** How data travels. */
  readonly path: DataPathName;
}

/**
 * Each thread's shares, in the order of threads and queues. Every thread has at least one share, and
 * every tag has one thread. Only with batch I/O may several threads share a queue.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for a number of threads that is not possible.
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
  // Threads beyond the number of tags would be idle.
  if (work.perIoDaemons) return Math.min(threads, queues * work.depth);
  if (threads !== askedQueues && !work.batch) {
    throw invalid(
      `${threads} threads cannot share ${askedQueues} queues`,
      "ask for as many threads as queues, or for perIoDaemons or batch",
    );
  }
  // Threads for queues that were not granted are not needed. With automatic registration a request's
  // pages belong to the ring that prepared its tag, so no other ring can commit it.
  const limit = threads <= askedQueues || isAutomatic(work.path) ? queues : threads;
  return Math.min(threads, limit);
}

/** Whether the kernel itself registers a request's pages with a ring. */
export function isAutomatic(path: DataPathName): boolean {
  return path === "auto-zero-copy" || path === "auto-zero-copy-fallback";
}

function all(queues: number): Share[] {
  return Array.from({ length: queues }, (_, queue) => whole(queue, true));
}

function whole(queue: number, prepare: boolean): Share {
  return { queue, first: 0, step: 1, prepare };
}

/** Every `threads`-th tag, counted across all queues. */
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

/** Pairs queues and threads in turn until each has had a partner. */
function dealQueues(queues: number, threads: number): Share[][] {
  const shares: Share[][] = Array.from({ length: threads }, () => []);
  for (let turn = 0; turn < Math.max(queues, threads); turn++) {
    // A queue's tags are prepared once, by the first thread that serves it.
    shares[turn % threads].push(whole(turn % queues, turn < queues));
  }
  return shares;
}

/**
 * The CPUs of each thread. An empty list leaves the thread's affinity unchanged.
 *
 * @param kernel The CPUs of each queue. Used only if there is one thread per queue.
 * @param byHand The caller's lists, used instead.
 * @param allowed The CPUs that the process may use. The kernel's lists are cut to these; the
 *   caller's are not.
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
