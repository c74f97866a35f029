import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { BaseHandler, getLogger, setup } from "@std/log";
import { LOGGER, logLine } from "../../device/log.ts";
import { LOG_DEBUG, LOG_ERROR, LOG_INFO, LOG_TRACE, LOG_WARN } from "../../queue/log_events.ts";
import { setLogLevel, StderrLog } from "./log.ts";

function collector() {
  const texts: string[] = [];
  return {
    texts,
    write: (bytes: Uint8Array) => {
      texts.push(new TextDecoder().decode(bytes));
      return Promise.resolve(bytes.length);
    },
  };
}

Deno.test("StderrLog writes each record as one line with the level in words", async () => {
  const sink = collector();
  const log = new StderrLog("tool", { sink, times: false });
  setup({ handlers: { log }, loggers: { t: { level: "DEBUG", handlers: ["log"] } } });
  getLogger("t").debug("a");
  getLogger("t").info("b");
  getLogger("t").warn("two\n  lines");
  log.error("d");
  await log.flush();
  assertEquals(
    sink.texts.join(""),
    "tool: debug: a\ntool: b\ntool: warning: two\\n  lines\ntool: error: d\n",
  );
});

Deno.test("StderrLog begins each record with the time, and the reason of a failed start without", async () => {
  const sink = collector();
  const log = new StderrLog("tool", { sink, times: true });
  setup({ handlers: { log }, loggers: { t: { level: "DEBUG", handlers: ["log"] } } });
  log.error("not started");
  getLogger("t").warn("a");
  log.started();
  log.error("it broke");
  await log.flush();
  const lines = sink.texts.join("").split("\n");
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /;
  assertEquals(lines[0], "tool: error: not started");
  assertEquals(lines.slice(1, 3).map((line) => line.replace(time, "TIME ")), [
    "TIME tool: warning: a",
    "TIME tool: error: it broke",
  ]);
  const ageMs = Date.now() - Date.parse(lines[1].slice(0, 24));
  assert(ageMs >= 0 && ageMs < 60_000, `${ageMs} ms old`);
});

Deno.test("StderrLog + where the mistake is + stands below the reason of a failed start alone", async () => {
  const sink = collector();
  const log = new StderrLog("tool", { sink, times: false });
  log.error("not started");
  log.detail("  2 | q\x1b = 1");
  log.started();
  log.detail("  2 | q");
  await log.flush();
  assertEquals(sink.texts.join(""), "tool: error: not started\n  2 | q\\x1b = 1\n");
});

Deno.test("StderrLog of a server in the background has the time in every line", async () => {
  const sink = collector();
  const log = new StderrLog("tool", { sink, times: true, inBackground: true });
  log.error("not started");
  await log.flush();
  assertMatch(sink.texts.join(""), /^\d{4}-.+Z tool: error: not started\n$/);
});

Deno.test("StderrLog + lines with control characters + forge nothing", async () => {
  const sink = collector();
  const log = new StderrLog("tool", { sink, times: false });
  log.log("a\n2026-01-01T00:00:00.000Z tool: error: forged\x1b[2J\u202e");
  log.error("b\r\x9b");
  await log.flush();
  assertEquals(
    sink.texts.join(""),
    "tool: a\\n2026-01-01T00:00:00.000Z tool: error: forged\\x1b[2J\\u202e\n" +
      "tool: error: b\\r\\x9b\n",
  );
});

Deno.test("StderrLog on a disk that is full goes on once there is room, at a line's beginning", async () => {
  let room = 10;
  let text = "";
  const write = (bytes: Uint8Array) => {
    if (room === 0) return Promise.reject(new Error("No space left on device (os error 28)"));
    const part = bytes.subarray(0, room);
    room -= part.length;
    text += new TextDecoder().decode(part);
    return Promise.resolve(part.length);
  };
  const log = new StderrLog("tool", { sink: { write }, times: false });
  for (const line of ["first", "second", "third"]) {
    log.log(line);
    await log.flush();
  }
  room = 1000;
  log.log("fourth");
  await log.flush();
  assertEquals(text, "tool: firs\ntool: fourth\ntool: warning: 3 lines of log dropped\n");
});

Deno.test("setLogLevel + each level of the threads + is that of the log", () => {
  const shown: string[] = [];
  class Collector extends BaseHandler {
    override log(text: string) {
      shown.push(text);
    }
  }
  const levels = [LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR];
  const counts = levels.map((level) => {
    setup({
      handlers: { all: new Collector("DEBUG") },
      loggers: { [LOGGER]: { level: "INFO", handlers: ["all"] } },
    });
    setLogLevel(level);
    shown.length = 0;
    for (const each of levels) logLine(each, "x");
    return shown.length;
  });
  // The lowest level of @std/log is DEBUG: the threads hold the trace back themselves.
  assertEquals(counts, [5, 5, 3, 2, 1]);
});

Deno.test("StderrLog does not repeat an error that the log has just said", async () => {
  const sink = collector();
  const log = new StderrLog("tool", { sink, times: false });
  setup({ handlers: { log }, loggers: { t: { level: "DEBUG", handlers: ["log"] } } });
  getLogger("t").error("it broke");
  log.error("it broke");
  await log.flush();
  assertEquals(sink.texts.join(""), "tool: error: it broke\n");
});

Deno.test("StderrLog with a reader that never reads keeps going, bounded in memory and time", async () => {
  const { promise: never, resolve: end } = Promise.withResolvers<number>();
  const written: string[] = [];
  const write = (bytes: Uint8Array) => {
    written.push(new TextDecoder().decode(bytes));
    return written.length === 1 ? never : Promise.resolve(bytes.length);
  };
  const log = new StderrLog("tool", { sink: { write }, times: false });
  const line = "x".repeat(1000);
  for (let index = 0; index < 5000; index++) log.log(line);
  const startMs = performance.now();
  await log.flush(20);
  assert(performance.now() - startMs < 60_000, "flush gives up");
  // The reader wakes up: the queued lines arrive, then the number of dropped ones.
  end(new TextEncoder().encode(written[0]).length);
  await log.flush(60_000);
  const text = written.join("");
  assert(text.length <= 2.2e6, `${text.length} characters were kept`);
  assertStringIncludes(text, "lines of log dropped");
});

Deno.test("StderrLog survives a reader that is gone", async () => {
  const log = new StderrLog("tool", {
    times: false,
    sink: { write: () => Promise.reject(new Deno.errors.BrokenPipe()) },
  });
  log.log("a");
  await log.flush();
  log.log("b");
  await log.flush();
});

// Continuing another log rewrites this one. Once, a line that was written in between was lost.
Deno.test("StderrLog.betweenWrites waits for the write under way, and holds back those after it", async () => {
  const texts: string[] = [];
  const writes: (() => void)[] = [];
  const write = async (bytes: Uint8Array) => {
    texts.push(new TextDecoder().decode(bytes));
    await new Promise<void>((resolve) => writes.push(resolve));
    texts.push("written");
    return bytes.length;
  };
  const log = new StderrLog("tool", { sink: { write }, times: false });
  log.error("before");
  const done = log.betweenWrites(() => {
    log.error("meanwhile");
    return texts.push("here");
  });
  // The write in progress includes the lines that came before its end.
  log.error("waiting");
  while (!texts.includes("here")) {
    writes.shift()?.();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  assertEquals(await done, 5);
  while (texts.length < 7) {
    writes.shift()?.();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await log.flush();
  assertEquals(texts, [
    "tool: error: before\n",
    "written",
    "tool: error: waiting\n",
    "written",
    "here",
    "tool: error: meanwhile\n",
    "written",
  ]);
});
