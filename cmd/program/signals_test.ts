import { assertEquals } from "@std/assert";
import { openAllOfLibc } from "../../uring/libc.ts";
import { SECOND_SIGNAL_MS } from "../../uring/signals.ts";
import { type EndSignal, watchSignals } from "./signals.ts";

// It stays open for the process's lifetime, so the first test to open it does not leak it.
openAllOfLibc();

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("watchSignals takes a Ctrl-C that arrives twice for one, and a later one for force", async () => {
  const forced: EndSignal[] = [];
  let nowMs = 0;
  using watch = watchSignals((name) => forced.push(name), () => nowMs);
  // Told of each signal after the watch, because it listens later.
  let heard = 0;
  const hear = () => void heard++;
  Deno.addSignalListener("SIGHUP", hear);
  /** Sends one, and waits with a timer: a signal listener alone does not keep the event loop alive. */
  const send = async () => {
    const before = heard;
    // SIGHUP for all of them: `deno test` itself ends on the others.
    Deno.kill(Deno.pid, "SIGHUP");
    while (heard === before) await sleep(5);
  };
  try {
    await send();
    assertEquals(watch.signal.reason, "SIGHUP");
    nowMs += SECOND_SIGNAL_MS - 1;
    await send();
    assertEquals(forced, []);
    nowMs += 1;
    await send();
    assertEquals(forced, ["SIGHUP"]);
  } finally {
    Deno.removeSignalListener("SIGHUP", hear);
  }
});

// Once, closing the terminal ended a server under nohup.
Deno.test("watchSignals leaves SIGHUP ignored where the command was started so", async () => {
  const module = new URL("./signals.ts", import.meta.url).href;
  const program = `
    const { watchSignals } = await import("${module}");
    using watch = watchSignals(() => {});
    Deno.kill(Deno.pid, "SIGHUP");
    await new Promise((resolve) => setTimeout(resolve, 200));
    console.log(watch.signal.aborted);
    Deno.kill(Deno.pid, "SIGTERM");
    while (!watch.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 5));
    console.log(watch.signal.reason);`;
  const { code, stdout } = await new Deno.Command("/bin/sh", {
    args: ["-c", `trap "" HUP; exec "$0" eval "$1"`, Deno.execPath(), program],
  }).output();
  assertEquals([code, new TextDecoder().decode(stdout)], [0, "false\nSIGTERM\n"]);
});

// A shell without job control ignores SIGINT for background commands. Once, the listener for
// SIGHUP, which was added first, restored that unknown to Deno, and a later `kill -INT` was never
// heard.
Deno.test("watchSignals hears SIGINT and SIGTERM, also where they were ignored at the start", async () => {
  const module = new URL("./signals.ts", import.meta.url).href;
  for (const name of ["SIGINT", "SIGTERM"]) {
    const program = `
      const { watchSignals } = await import("${module}");
      using watch = watchSignals(() => {});
      Deno.kill(Deno.pid, "${name}");
      const endMs = performance.now() + 5_000;
      while (!watch.signal.aborted && performance.now() < endMs) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      console.log(watch.signal.reason);`;
    const { code, stdout } = await new Deno.Command("/bin/sh", {
      args: ["-c", `trap "" INT TERM; exec "$0" eval "$1"`, Deno.execPath(), program],
    }).output();
    assertEquals([code, new TextDecoder().decode(stdout)], [0, `${name}\n`]);
  }
});
