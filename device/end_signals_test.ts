import { assert, assertEquals, assertThrows } from "@std/assert";
import { moduleUrl } from "../tests/backend_modules.ts";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import type { EndSignal } from "../uring/signals.ts";
import { chosenSignals } from "./end_signals.ts";

// It stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();

const CHILD = new URL("../tests/end_signals_child.ts", import.meta.url).pathname;

/** A program whose devices end at signals; its parent sends them to it. */
class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  #stdout = "";

  constructor(args: readonly string[], wrap: readonly string[] = []) {
    const [program, ...rest] = [...wrap, Deno.execPath(), "run", "-A", "--no-check", CHILD];
    const child = new Deno.Command(program, {
      args: [...rest, ...args],
      stdin: "null",
      stdout: "piped",
    }).spawn();
    this.#child = child;
    this.#reading = (async () => {
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
        this.#stdout += text;
      }
    })();
  }

  /** Resolves once it has said something, so many times. */
  async said(text: string, times = 1): Promise<void> {
    for (let tries = 0; this.#stdout.split(text).length <= times; tries++) {
      assert(tries < 1_000, `it never said ${text}: ${this.#stdout}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  kill(signal: EndSignal): void {
    this.#child.kill(signal);
  }

  /** How it ended: a signal or an exit status, and its lines. */
  async end(): Promise<[string | number, string[]]> {
    const { signal, code } = await this.#child.status;
    await this.#reading;
    return [signal ?? code, this.#stdout.trimEnd().split("\n")];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await this.#reading;
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.test(`${signal} ends the devices, the last one first, and then the process by that signal`, async () => {
    await using program = new Program([]);
    await program.said("ready");
    program.kill(signal);
    assertEquals(await program.end(), [signal, [
      "ready",
      `${signal} ends second`,
      "second ended",
      `${signal} ends first`,
      "first ended",
    ]]);
  });
}

Deno.test("a second signal ends the rest and the process at once, but not the twin of the first", async () => {
  await using program = new Program(["slow", "stacked"]);
  await program.said("ready");
  program.kill("SIGINT");
  program.kill("SIGINT");
  await program.said("SIGINT ends second");
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  program.kill("SIGINT");
  assertEquals(await program.end(), ["SIGINT", [
    "ready",
    "SIGINT ends second",
    "SIGINT ends first",
    "first ended",
  ]]);
});

Deno.test("a signal ends the process at once while its thread is stuck", async () => {
  await using program = new Program(["stuck"]);
  await program.said("ready");
  program.kill("SIGINT");
  assertEquals(await program.end(), ["SIGINT", ["ready"]]);
});

// It ended the process for good, and left all devices but the one that had been stuck.
Deno.test("signals end devices again when a stuck thread gets on", async () => {
  await using program = new Program(["stuck", "unstuck"]);
  await program.said("ready");
  program.kill("SIGINT");
  const [how, lines] = await program.end();
  assertEquals([how, lines.at(-1)], ["SIGINT", "first ended"]);
});

// The first device was left behind, with what was dirty, when the process was killed at last.
Deno.test("a device that hangs does not keep the others from being ended", async () => {
  await using program = new Program(["slow"]);
  await program.said("ready");
  program.kill("SIGTERM");
  await program.said("first ended");
});

Deno.test("a device that the one before still writes to is ended after that one", async () => {
  await using program = new Program(["stacked"]);
  await program.said("ready");
  program.kill("SIGINT");
  assertEquals(await program.end(), ["SIGINT", [
    "ready",
    "SIGINT ends second",
    "second ended",
    "SIGINT ends first",
    "first ended",
  ]]);
});

// A program that serves again whenever a device has closed was ended with the new device left behind.
Deno.test("serve() begins nothing while a signal ends the process", async () => {
  await using program = new Program(["again"]);
  await program.said("ready");
  program.kill("SIGINT");
  const [how, lines] = await program.end();
  assertEquals([how, lines.includes("serves again")], ["SIGINT", false]);
});

Deno.test("serve() begins after the signal in a program that goes on", async () => {
  await using program = new Program(["again", "own"]);
  await program.said("ready");
  program.kill("SIGINT");
  await program.said("serves again");
});

Deno.test("a program with a listener of its own goes on, and is ended by a signal without devices", async () => {
  await using program = new Program(["own"]);
  await program.said("ready");
  program.kill("SIGINT");
  await program.said("first ended");
  await program.said("own listener", 2);
  // While it still handled the first signal, it would take the next one for its twin.
  await program.said("signal handled");
  program.kill("SIGTERM");
  const [how, lines] = await program.end();
  assertEquals([how, lines.filter((line) => line === "own listener").length], ["SIGTERM", 2]);
});

Deno.test("devices that have ended leave signals as they were", async () => {
  await using program = new Program(["closed"]);
  await program.said("ready");
  program.kill("SIGINT");
  assertEquals(await program.end(), ["SIGINT", ["ready"]]);
});

// Under nohup the end of the terminal is not for the program, nor Ctrl-C for what a script has
// started in the background.
Deno.test("signals that the process was started to ignore stay ignored", async () => {
  const wrap = ["/bin/sh", "-c", `trap "" HUP INT; exec "$@"`, "sh"];
  await using program = new Program(["short"], wrap);
  await program.said("ready");
  program.kill("SIGHUP");
  program.kill("SIGINT");
  assertEquals(await program.end(), [0, ["ready", "over"]]);
});

// A server under nohup that reloads at SIGHUP: its listener, added after ours, was never called.
Deno.test("a program may listen to a signal that it was started to ignore", async () => {
  const wrap = ["/bin/sh", "-c", `trap "" INT; exec "$@"`, "sh"];
  await using program = new Program(["own"], wrap);
  await program.said("ready");
  program.kill("SIGINT");
  await program.said("own listener");
  program.kill("SIGTERM");
  assertEquals((await program.end())[0], "SIGTERM");
});

// As an uncaught error it would have ended the program by a stack trace and with status 1.
/** Makes a program the first process of a PID namespace, as in a container. */
const AS_PID_1 = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

// The kernel ignores a signal without a handler there, and Deno then ended itself by a SIGSEGV.
Deno.test("SIGTERM ends the first process of a container with the status of the signal", async () => {
  await using program = new Program(["itself"], AS_PID_1);
  const [how, lines] = await program.end();
  assertEquals([how, lines.at(-1)], [128 + 15, "first ended"]);
});

Deno.test("the first process of a container with a listener of its own goes on", async () => {
  await using program = new Program(["itself", "own", "short"], AS_PID_1);
  const [how, lines] = await program.end();
  assertEquals([how, lines.at(-1)], [0, "over"]);
});

// Each start was called off in its turn only, and each backend had the 20 s of a flush to close, times
// three for the three under way: two minutes.
Deno.test("serve() that a signal interrupts ends the process by the signal, not by an error, and soon", async () => {
  const backend =
    "export const open = () => new Promise((resolve) => setTimeout(resolve, 60_000));";
  const program = `
    const { serve } = await import("${new URL("../mod.ts", import.meta.url).href}");
    console.log("ready");
    const backend = { module: "${moduleUrl(backend)}" };
    await Promise.all([1, 2, 3].map(() => serve({ backend })));`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", program],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  // The listener comes with serve(), a moment later.
  await new Promise((resolve) => setTimeout(resolve, 500));
  const startMs = performance.now();
  child.kill("SIGINT");
  const { signal } = await child.status;
  assertEquals([signal, await new Response(child.stderr).text()], ["SIGINT", ""]);
  // They get 5 s, all at the same time.
  assert(performance.now() - startMs < 12_000, `after ${performance.now() - startMs} ms`);
  await reader.cancel();
});

Deno.test("only signals that end programs can be chosen", () => {
  assertEquals(chosenSignals(false), []);
  assertEquals(chosenSignals(["SIGTERM"]), ["SIGTERM"]);
  assertThrows(() => chosenSignals(["SIGUSR2" as EndSignal]), UblkError, "SIGUSR2 ends no device");
});
