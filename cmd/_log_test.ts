import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { getLogger, setup } from "@std/log";
import { StderrLog } from "./_log.ts";

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
  const log = new StderrLog("tool", sink);
  setup({ handlers: { log }, loggers: { t: { level: "DEBUG", handlers: ["log"] } } });
  getLogger("t").debug("a");
  getLogger("t").info("b");
  getLogger("t").warn("two\n  lines");
  log.error("d");
  await log.flush();
  assertEquals(
    sink.texts.join(""),
    "tool: debug: a\ntool: b\ntool: warning: two lines\ntool: error: d\n",
  );
});

Deno.test("StderrLog does not repeat an error that the log has just said", async () => {
  const sink = collector();
  const log = new StderrLog("tool", sink);
  setup({ handlers: { log }, loggers: { t: { level: "DEBUG", handlers: ["log"] } } });
  getLogger("t").error("it broke");
  log.error("it broke");
  await log.flush();
  assertEquals(sink.texts.join(""), "tool: error: it broke\n");
});

Deno.test("StderrLog with a reader that never reads keeps going, bounded in memory and time", async () => {
  const { promise: never, resolve: end } = Promise.withResolvers<number>();
  const written: string[] = [];
  const log = new StderrLog("tool", {
    write: (bytes) => {
      written.push(new TextDecoder().decode(bytes));
      return written.length === 1 ? never : Promise.resolve(bytes.length);
    },
  });
  const line = "x".repeat(1000);
  for (let index = 0; index < 5000; index++) log.log(line);
  const startMs = performance.now();
  await log.flush(20);
  assert(performance.now() - startMs < 5000, "flush gives up");
  // The reader wakes up: what was kept arrives, then what was lost is said.
  end(new TextEncoder().encode(written[0]).length);
  await log.flush(5000);
  const text = written.join("");
  assert(text.length <= 2.2e6, `${text.length} characters were kept`);
  assertStringIncludes(text, "lines of log dropped");
});

Deno.test("StderrLog survives a reader that is gone", async () => {
  const log = new StderrLog("tool", { write: () => Promise.reject(new Error("EPIPE")) });
  log.log("a");
  await log.flush();
  log.log("b");
  await log.flush();
});
