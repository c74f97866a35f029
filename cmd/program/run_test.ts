import { assertEquals, assertMatch } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { EXIT_FAILURE, EXIT_USAGE, exitStatus, failureText, serverStatus } from "./run.ts";

// Opened once, before any test, because the sanitizer would report a leak.
openAllOfLibc();

/** Runs a command that throws; returns the status and lines. */
async function failed(thrown: unknown, isShort = true): Promise<[number, string[]]> {
  const lines: string[] = [];
  const log = {
    isShort,
    error: (line: string) => void lines.push(line),
    flush: () => Promise.resolve(),
  };
  return [await exitStatus(log, () => Promise.reject(thrown)), lines];
}

Deno.test("exitStatus + an operating error + is its line", async () => {
  const usage = new UblkError("INVALID_ARGUMENT", { operation: "--x", reason: "no" });
  assertEquals(await failed(usage), [EXIT_USAGE, ["--x: no"]]);
  // The command line is valid, but the device is not as expected.
  const state = new UblkError("INVALID_ARGUMENT", {
    operation: "recover",
    device: 3,
    reason: "no",
  });
  assertEquals(await failed(state), [EXIT_FAILURE, ["recover (device 3): no"]]);
  const other = new UblkError("DEVICE_BUSY", { operation: "open", reason: "no" });
  assertEquals(await failed(other), [EXIT_FAILURE, ["open: no"]]);
});

Deno.test("serverStatus + --resume + what is wrong beyond the command line is no mistake in it", async () => {
  const log = { error: () => {}, flush: () => Promise.resolve() };
  const usage = new UblkError("INVALID_ARGUMENT", { operation: "disk.img", reason: "in use" });
  const served = (resumes: boolean) =>
    serverStatus(log, (isTriedAgain) => {
      if (resumes) isTriedAgain();
      return Promise.reject(usage);
    });
  assertEquals([await served(false), await served(true)], [EXIT_USAGE, EXIT_FAILURE]);
});

Deno.test("exitStatus + whatever else is thrown + is one line without a stack", async () => {
  const recurse = (): unknown => [recurse()];
  let overflow: unknown;
  try {
    recurse();
  } catch (error) {
    overflow = error;
  }
  const thrown = [
    overflow,
    new Error("first\nsecond\n    at file:///x.ts:1:1"),
    new Error("Too many open files (os error 24)"),
    "text\nof two lines",
    undefined,
    {
      toString() {
        throw new Error("again");
      },
    },
    new Proxy({}, {
      getPrototypeOf() {
        throw new Error("no");
      },
    }),
  ];
  for (const one of thrown) {
    const [status, lines] = await failed(one);
    assertEquals([status, lines.length], [EXIT_FAILURE, 1]);
    assertMatch(lines[0], /^[^\n]+$/);
    assertEquals(/\bat file:/.test(lines[0]), false);
  }
});

Deno.test("failureText + a limit of the machine + names its remedy", () => {
  assertEquals(
    failureText(new Error("Too many open files (os error 24)")),
    "Too many open files (os error 24); raise the limit (`ulimit -n`)",
  );
  assertEquals(failureText(new Error("one\ntwo")), "one; UBLK_DEBUG=1 shows where");
});

Deno.test("exitStatus + a reader of stdout that is gone + says nothing, as a SIGPIPE", async () => {
  const cause = new Deno.errors.BrokenPipe();
  const error = new UblkError("SYSCALL_FAILED", { operation: "write to stdout", cause });
  assertEquals(await failed(error), [141, []]);
  // A server whose disk nobody learns of is different.
  const [status, lines] = await failed(error, false);
  assertEquals([status, lines.length], [EXIT_FAILURE, 1]);
});

Deno.test("exitStatus + a rejection that nobody catches while a device is served + is a line, and it goes on", async () => {
  const lines: string[] = [];
  const log = {
    serves: true,
    error: (line: string) => void lines.push(line),
    flush: () => Promise.resolve(),
  };
  const status = await exitStatus(log, async () => {
    Promise.reject(new Error("first\nsecond"));
    while (lines.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    return 0;
  });
  assertEquals([status, lines], [0, ["uncaught: first; UBLK_DEBUG=1 shows where"]]);
});

Deno.test("exitStatus + an uncaught error that the log ignores + is nobody's", async () => {
  const lines: string[] = [];
  const log = {
    serves: true,
    ignores: (thrown: unknown) => thrown instanceof RangeError,
    error: (line: string) => void lines.push(line),
    flush: () => Promise.resolve(),
  };
  const status = await exitStatus(log, async () => {
    reportError(new RangeError("aftermath"));
    reportError(new Error("first"));
    while (lines.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    return 0;
  });
  assertEquals([status, lines], [0, ["uncaught: first; UBLK_DEBUG=1 shows where"]]);
});
