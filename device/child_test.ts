import { assert, assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { letGo, outputWithin, startShell } from "./child.ts";

// Between a child's end and the moment in which Deno has told of it, unref() throws "Bad resource
// ID" and kill() throws too. serve() failed with that on a busy machine.
Deno.test("letGo does all it can with a child of which Deno has not told yet that it ended", () => {
  const called: string[] = [];
  const fail = (name: string) => () => {
    called.push(name);
    throw new Deno.errors.BadResource("Bad resource ID");
  };
  const child = { unref: fail("unref"), kill: fail("kill") } as unknown as Deno.ChildProcess;
  letGo(child);
  assertEquals(called, ["unref"]);
  letGo(child, "SIGKILL");
  assertEquals(called, ["unref", "unref", "kill"]);
});

// A search for that moment, which not every machine meets, and for others like it.
Deno.test("letGo lets go of a child at any moment of its end", async () => {
  let bare = 0;
  for (let round = 0; round < 1000 && bare < 3; round++) {
    const child = startShell("exit", [], "null");
    let isOver = false;
    const status = child.status.finally(() => isOver = true);
    while (!isOver) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      letGo(child, "SIGKILL");
      try {
        child.unref();
      } catch {
        bare++;
      }
      // The test must not end before the child has.
      if (!isOver) {
        try {
          child.ref();
        } catch {
          // As above.
        }
      }
    }
    await status;
  }
});

Deno.test("startShell says in one line why no shell can be started", () => {
  const { Command } = Deno;
  const broken = class {
    spawn() {
      throw new Deno.errors.NotFound("Too many open files (os error 24)");
    }
  };
  Object.defineProperty(Deno, "Command", { value: broken, configurable: true });
  try {
    assertThrows(
      () => startShell("exit", [], "null"),
      UblkError,
      "start /bin/sh: Too many open files (os error 24); see `ulimit -u`",
    );
  } finally {
    Object.defineProperty(Deno, "Command", { value: Command, configurable: true });
  }
});

Deno.test("outputWithin reads all of a child's output, and gives up at its time", async () => {
  const long = startShell("i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done", [], "piped");
  assertEquals((await outputWithin(long, 60_000))?.split("\n").length, 20_001);
  // The shell ends at once, and the output does not.
  const started = performance.now();
  assertEquals(await outputWithin(startShell("sleep 12 &", [], "piped"), 100), undefined);
  assert(performance.now() - started < 10_000);
});
