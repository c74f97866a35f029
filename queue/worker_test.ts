import { assert, assertEquals, assertMatch } from "@std/assert";
import { openAllOfLibc } from "../uring/libc.ts";
import { createLogBuffer, LogReader } from "./log_ring.ts";
import { unpackError } from "../uapi/packed_error.ts";
import type { FromThread, ToThread } from "./messages.ts";

// libc stays open. Open it here, because inside a test the sanitizer would report a leak.
openAllOfLibc();

const MODULE = `data:application/javascript,${
  encodeURIComponent(`
  export function open({ later }) {
    console.log("one \\x1b[2J\\ntwo", { a: 1 });
    console.warn("é".repeat(300));
    console.error("error: forged");
    console.assert(true, "not said");
    console.count();
    if (later) setTimeout(() => Promise.reject(new RangeError("first\\nsecond")), 0);
    return { size: 512, readAt() {}, writeAt() {} };
  }`)
}`;

/** Opens the module in a thread. Returns the thread's first `count` messages, and its log. */
async function opened(later: boolean, count: number): Promise<[FromThread[], string[]]> {
  const log = createLogBuffer();
  const worker = new Worker(new URL("./worker.ts", import.meta.url), {
    type: "module",
    name: "thread 0",
  });
  try {
    const messages: FromThread[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    worker.onmessage = ({ data }) => {
      if (messages.push(data) === count) resolve();
    };
    const spec = { module: MODULE, options: { later } };
    const open: ToThread = {
      ...{ type: "open", spec, queue: 0, log, takesConsole: true },
    };
    worker.postMessage(open);
    await promise;
    const lines: string[] = [];
    new LogReader(log).drain(({ level, message }) => lines.push(`${level} ${message}`));
    return [messages, lines];
  } finally {
    worker.terminate();
  }
}

Deno.test("a serving Worker whose console is taken + what its module prints + is records of the log", async () => {
  const [[message], lines] = await opened(false, 1);
  assertEquals(message.type, "opened");
  assertEquals(lines, [
    "20 one \x1b[2J",
    "20 two { a: 1 }",
    // One record is full, and others hold the rest.
    `30 ${"é".repeat(120)}`,
    `30 ${"é".repeat(120)}`,
    `30 ${"é".repeat(60)}`,
    "40 console: error: forged",
  ]);
});

Deno.test("a serving Worker + a Promise that is rejected later + tells its manager the first line, and lives", async () => {
  const [[first, second]] = await opened(true, 2);
  assertEquals(first.type, "opened");
  assert(second.type === "failed");
  const { code, message } = unpackError(second.error);
  assertEquals(code, "THREAD_FAILED");
  assertMatch(message, /^serving thread thread 0: uncaught: RangeError: first; see the backend's /);
});
