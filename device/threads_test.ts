import { assertEquals, assertRejects } from "@std/assert";
import { moduleUrl } from "../tests/backend_modules.ts";
import { UblkError } from "../uapi/error.ts";
import type { Share } from "./assignment.ts";
import { ThreadLogs } from "./log.ts";
import type { CommonOrder } from "./thread_handle.ts";
import { Threads } from "./threads.ts";

/** What it is told is its size, and in the thread of queue 1 what it throws. */
const TELLING = {
  module: moduleUrl(`
    export const sharing = "per-queue";
    export const share = (options, { deviceBlockSize }) => deviceBlockSize;
    export const open = (options, { queue, shared, recovering, deadlineMs }) => {
      if (queue === 1) throw new Error(\`shared \${shared}, told \${recovering}, \${deadlineMs} ms\`);
      return { size: recovering ? 1024 : 512, readAt() {}, writeAt() {} };
    };`),
};

for (const recovered of [undefined, { blockSize: 4096 }]) {
  const recovering = recovered !== undefined;
  Deno.test(`Threads + recovering ${recovering} + every thread's backend is told`, async () => {
    using logs = new ThreadLogs(30, "");
    const threads = new Threads(TELLING, logs, 12_000);
    try {
      const { traits } = await threads.open(recovered);
      assertEquals(traits.size, recovering ? 1024 : 512);
      const shares = [0, 1].map((queue) => [{ queue } as Share]);
      // It ends before anything is fetched.
      const order = {} as CommonOrder;
      await assertRejects(
        () => threads.serve(order, shares, [[], []], false, () => {}),
        UblkError,
        `shared ${recovered?.blockSize}, told ${recovering}, 12000 ms`,
      );
    } finally {
      await threads.close(10_000);
    }
  });
}
