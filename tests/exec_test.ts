import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { run, runQuietly, stopAll } from "./exec.ts";

Deno.test("run returns the exit code, or 128 + the signal", async () => {
  assertEquals(await run("sh", ["-c", "exit 7"], 60_000), { code: 7, timedOut: false });
  assertEquals((await run("sh", ["-c", "kill -KILL $$"], 60_000)).code, 128 + 9);
});

Deno.test("run with a label does not wait for what the program left behind", async () => {
  const startMs = performance.now();
  const { code } = await run("sh", ["-c", "sleep 300 & echo left it"], 60_000, "label");
  assertEquals(code, 0);
  assertLess(performance.now() - startMs, 60_000);
});

Deno.test("run with a label, runQuietly + a daemon that keeps the output open + do not wait for it", async () => {
  const file = await Deno.makeTempFile();
  const script = `setsid sh -c 'echo $$ > "$0"; exec sleep 300' '${file}' & echo left it
    until [ -s '${file}' ]; do sleep 0.1; done`;
  try {
    for (const how of ["labelled", "quiet"]) {
      const startMs = performance.now();
      // The output that is compared has time to arrive.
      const ran = how === "quiet"
        ? await runQuietly("sh", ["-c", script], 60_000, 2_000)
        : await run("sh", ["-c", script], 60_000, "label", 100);
      Deno.kill(Number(await Deno.readTextFile(file)), "SIGKILL");
      await Deno.truncate(file);
      assertEquals([ran.code, ran.timedOut], [0, false]);
      if ("output" in ran) assertEquals(ran.output, "left it\n");
      assertLess(performance.now() - startMs, 60_000);
    }
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("run ends a program and its children when the time is up", async () => {
  const file = await Deno.makeTempFile();
  try {
    const startMs = performance.now();
    const script = `sleep 300 & echo $! > '${file}'; wait`;
    const { timedOut } = await run("sh", ["-c", script], 2_000);
    assert(timedOut);
    assertLess(performance.now() - startMs, 60_000);
    await assertGone(Number(await Deno.readTextFile(file)));
  } finally {
    await Deno.remove(file);
  }
});

// The last one: it ends what this module is for.
Deno.test("stopAll lets a program clean up, unless forced, and none is started after it", async () => {
  const folder = await Deno.makeTempDir();
  /** Starts a script that does something at SIGTERM, and waits until it would. */
  const start = async (atEnd: string) => {
    const script = `exec 2>/dev/null; trap '${atEnd}' TERM; : > ready; while :; do sleep 0.1; done`;
    const ran = run("sh", ["-c", `cd '${folder}'; ${script}`], 60_000);
    await until(() => Deno.stat(`${folder}/ready`).then(() => true, () => false));
    await Deno.remove(`${folder}/ready`);
    return { ran };
  };
  try {
    const polite = await start("exit 42");
    const stubborn = await start("");
    stopAll();
    assertEquals(await polite.ran, { code: 42, timedOut: false });
    stopAll(true);
    assertEquals((await stubborn.ran).code, 128 + 9);
    // A check of several programs went on with the next one, and so did an installation.
    await assertRejects(() => run("true", [], 60_000), Error, "interrupted");
    await assertRejects(() => runQuietly("true", [], 60_000), Error, "interrupted");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Asserts that a process has ended. A killed orphan may stay a zombie until init reaps it. */
function assertGone(pid: number): Promise<void> {
  return until(async () => {
    const status = await Deno.readTextFile(`/proc/${pid}/status`).catch(() => "State:\tZ");
    return status.includes("State:\tZ");
  });
}

async function until(isDone: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (await isDone()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("waited 10 seconds in vain");
}
