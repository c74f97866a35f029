import { assert, assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { assign, type Share, threadCpus, type Workload } from "./assignment.ts";

const plain: Workload = {
  queues: 2,
  askedQueues: 2,
  depth: 8,
  sharing: "per-queue",
  perIoDaemons: false,
  batch: false,
  path: "copy",
};

function work(changes: Partial<Workload>): Workload {
  return { ...plain, askedQueues: changes.queues ?? plain.queues, ...changes };
}

/** The queues of each thread. */
function queuesOf(shares: Share[][]): number[][] {
  return shares.map((thread) => thread.map(({ queue }) => queue));
}

/** The tags of a share, as `queue:tag`. */
function tags({ queue, first, step }: Share, depth: number): string[] {
  const names: string[] = [];
  for (let tag = first; tag < depth; tag += step) names.push(`${queue}:${tag}`);
  return names;
}

Deno.test("assign() + nothing asked for + each queue has a thread", () => {
  const shares = assign(work({ queues: 3 }));
  assertEquals(queuesOf(shares), [[0], [1], [2]]);
  assertEquals(shares[1], [{ queue: 1, first: 0, step: 1, prepare: true }]);
});

Deno.test("assign() + a backend of one thread + has all queues, and no second thread", () => {
  assertEquals(queuesOf(assign(work({ queues: 3, sharing: "single" }))), [[0, 1, 2]]);
  for (const mode of [{}, { perIoDaemons: true }, { batch: true }]) {
    const one = work({ sharing: "single", threads: 1, ...mode });
    assertEquals(queuesOf(assign(one)), [[0, 1]]);
    assertThrows(() => assign({ ...one, threads: 2 }), UblkError, "belongs to one");
  }
});

Deno.test("assign() + per-I/O daemons + every tag has one thread, by turns", () => {
  for (const [queues, depth, threads] of [[2, 8, 3], [1, 4, 4], [3, 5, 7], [2, 2, 1], [4, 3, 2]]) {
    const shares = assign(work({ queues, depth, threads, perIoDaemons: true }));
    const owner = new Map<string, number>();
    for (const [thread, mine] of shares.entries()) {
      assert(mine.length > 0);
      for (const tag of mine.flatMap((share) => tags(share, depth))) {
        assert(!owner.has(tag), `${tag} twice`);
        owner.set(tag, thread);
      }
    }
    assertEquals(owner.size, queues * depth);
    for (const [tag, thread] of owner) {
      const [queue, index] = tag.split(":").map(Number);
      assertEquals((queue * depth + index) % threads, thread);
    }
  }
});

Deno.test("assign() + more per-I/O daemons than tags + as many as there are tags", () => {
  const shares = assign(work({ queues: 2, depth: 2, threads: 9, perIoDaemons: true }));
  assertEquals(queuesOf(shares), [[0], [0], [1], [1]]);
});

Deno.test("assign() + batch I/O + deals queues as kublk does, and prepares each once", () => {
  const deal = (threads: number, queues: number) =>
    queuesOf(assign(work({ queues, threads, batch: true })));
  assertEquals(deal(2, 4), [[0, 2], [1, 3]]);
  assertEquals(deal(4, 2), [[0], [1], [0], [1]]);
  assertEquals(deal(3, 3), [[0], [1], [2]]);
  for (const [threads, queues] of [[4, 2], [2, 4], [5, 3], [1, 4], [4, 1]]) {
    const prepared = assign(work({ queues, threads, batch: true })).flat()
      .filter((share) => share.prepare).map(({ queue }) => queue);
    assertEquals(prepared.sort(), Array.from({ length: queues }, (_, queue) => queue));
  }
});

Deno.test("assign() + fewer queues granted than asked for + fewer threads", () => {
  const cut = work({ queues: 2, askedQueues: 4, threads: 4 });
  assertEquals(assign(cut).length, 2);
  assertEquals(assign({ ...cut, batch: true }).length, 2);
  assertEquals(assign({ ...cut, batch: true, threads: 6 }).length, 6);
  assertEquals(assign({ ...cut, batch: true, threads: 6, path: "auto-zero-copy" }).length, 2);
});

Deno.test("assign() + another number of threads than queues + says what it takes", () => {
  const error = assertThrows(() => assign(work({ threads: 3 })), UblkError);
  assertEquals(error.code, "INVALID_ARGUMENT");
  assert(error.message.includes("perIoDaemons or batch"), error.message);
});

Deno.test("threadCpus() + the kernel's where each thread has a queue, or the caller's", () => {
  const kernel = [[0, 2], [1, 3]];
  assertEquals(threadCpus(2, kernel), [[0, 2], [1, 3]]);
  assertEquals(threadCpus(3, kernel), [[], [], []]);
  assertEquals(threadCpus(2, kernel, [[1]]), [[1], []]);
  // A process that may use some CPUs only keeps to them, unless the caller says otherwise.
  assertEquals(threadCpus(2, kernel, undefined, [1, 2, 3]), [[2], [1, 3]]);
  assertEquals(threadCpus(2, kernel, undefined, [0]), [[0], []]);
  assertEquals(threadCpus(2, kernel, [[1]], [0]), [[1], []]);
  assertThrows(() => threadCpus(1, kernel, [[1], [2]]), UblkError, "2 lists of CPUs");
});
