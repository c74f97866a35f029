import { assertEquals } from "@std/assert";
import { BaseHandler, setup } from "@std/log";
import { LogWriter } from "../queue/log_ring.ts";
import { LOG_INFO, LOG_WARN } from "../queue/log_events.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { LOGGER, logLine, ThreadLogs } from "./log.ts";

// Opened for good, and before a test, whose sanitizer would call it a leak.
openAllOfLibc();

Deno.test("the library's logger + foreign text, of a thread or our own + hands a handler one harmless line", () => {
  const lines: string[] = [];
  class Collector extends BaseHandler {
    override log(text: string) {
      lines.push(text);
    }
  }
  setup({
    handlers: { all: new Collector("DEBUG") },
    loggers: { [LOGGER]: { level: "DEBUG", handlers: ["all"] } },
  });
  logLine(LOG_WARN, "file \x1b[2J\nERROR forged");
  const logs = new ThreadLogs(LOG_INFO, "device 0: ");
  new LogWriter(logs.add()).text(LOG_WARN, "thrown: \u202e\x9b\nERROR forged");
  logs[Symbol.dispose]();
  assertEquals(lines, [
    "WARN file \\x1b[2J\\nERROR forged",
    "WARN device 0: thrown: \\u202e\\x9b\\nERROR forged",
  ]);
});
