import { assertEquals, assertMatch } from "@std/assert";
import { engineMemory } from "../../disk/engine_memory.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { closeFd, eventFd, isSignalled } from "../../uring/libc.ts";
import { FetchBoard } from "./fetch_board.ts";
import { Fetcher } from "./fetcher.ts";
import type { FetchJob, FromFetcher } from "./messages.ts";

const LINE = 4096;

/** A job for a thread that fetches, and what it works with. */
async function withJob(
  wakeFd: number,
  use: (board: FetchBoard, job: FetchJob) => Promise<void>,
): Promise<void> {
  await inFolder(async ({ store }) => {
    await Deno.mkdir(store, { recursive: true });
    using memory = engineMemory(LINE);
    const board = new FetchBoard();
    await use(board, {
      ...{ store, name: "v", volume: crypto.randomUUID(), ancestors: [] },
      memory: { address: memory.address, bytes: LINE },
      ...{ board: board.buffer, line: LINE, wakeFd },
    });
  });
}

Deno.test("the fetching thread + an error that nobody catches + the engine learns of it, and it leaves in order", async () => {
  // Nobody catches that this one cannot be signalled.
  await withJob(-1, async (board, job) => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    const messages: FromFetcher[] = [];
    const ended = new Promise<void>((resolve) => {
      worker.onmessage = ({ data }: MessageEvent<FromFetcher>) => {
        messages.push(data);
        if (data.type === "ended") return resolve();
        board.ask(0, 1, 0, LINE, false, Int32Array.of(0), Int32Array.of(LINE), 1);
        board.wake();
      };
      worker.onerror = (event) => {
        event.preventDefault();
        resolve();
      };
    });
    worker.postMessage(job);
    await ended;
    worker.terminate();
    assertEquals(messages, [{ type: "ready" }, { type: "ended" }]);
    assertEquals(board.hasFailed, true);
    const line =
      /^v: the thread that fetches .* has ended: .*eventfd.*; .* attach the volume again$/;
    assertMatch(`${board.takeFailure()}`, line);
    assertEquals(board.takeFailure(), undefined);
  });
});

Deno.test("Fetcher + its thread has ended + whoever asks is woken to fail", async () => {
  const wakeFd = eventFd(true);
  try {
    await withJob(wakeFd, async (board, job) => {
      await using fetcher = await Fetcher.start(board, job);
      fetcher.look();
      assertEquals(isSignalled(wakeFd), false);
      board.fail("it has ended");
      fetcher.look();
      assertEquals(isSignalled(wakeFd), true);
    });
  } finally {
    closeFd(wakeFd);
  }
});
