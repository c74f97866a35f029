import { assert, assertEquals, assertMatch } from "@std/assert";
import { Scratch } from "../../tests/scratch.ts";
import { capLog, continueLog, keepShort } from "./log_cap.ts";

Deno.test("capLog keeps the last whole lines, and whoever appends goes on behind them", () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/log`;
  using log = Deno.openSync(path, { append: true, create: true });
  const write = (text: string) => void log.writeSync(new TextEncoder().encode(text));
  for (let line = 0; line < 100; line++) write(`line ${line}\n`);
  capLog(path, 10_000, 20);
  assertEquals(Deno.statSync(path).size, 790, "it is not too long");
  capLog(path, 500, 20);
  assertEquals(Deno.readTextFileSync(path), "(774 older bytes were dropped)\nline 98\nline 99\n");
  write("line 100\n");
  assertEquals(Deno.readTextFileSync(path).split("\n").at(-2), "line 100");
});

// Once, a timer checked the file every 10 s even if nothing was logged.
Deno.test("keepShort looks at the log as it is written, and lives without it", () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/log`;
  using log = Deno.openSync(path, { append: true, create: true });
  const line = new TextEncoder().encode(`${"x".repeat(1023)}\n`);
  const written = keepShort(path);
  let largest = 0;
  for (let kib = 0; kib < 16 << 10; kib++) {
    log.writeSync(line);
    written(line.length);
    largest = Math.max(largest, log.statSync().size);
  }
  assert(largest > 3 << 20 && largest <= 5 << 20, `${largest} bytes`);
  Deno.removeSync(path);
  for (let mib = 0; mib < 8; mib++) written(1 << 20);
});

// Once, `recover` replaced the log of the crashed server.
Deno.test("continueLog puts a log behind that of the server before, and its writer goes on in it", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const [start, log] = [`${folder}/start-1.log`, `${folder}/0.log`];
    const text = (...lines: string[]) => new TextEncoder().encode(lines.join("\n") + "\n");
    using file = Deno.openSync(start, { append: true, create: true });
    file.writeSync(text("new"));
    Deno.writeFileSync(log, text("dropped", "crash"));
    continueLog(start, log, 8);
    file.writeSync(text("later"));
    assertMatch(
      Deno.readTextFileSync(log),
      new RegExp(
        `^crash\n--- above: the server before; below: process ${Deno.pid}, from \\S+Z on ---\nnew\nlater\n$`,
      ),
    );
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["0.log"]);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("continueLog of the first log is nothing but a new name", () => {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${folder}/start-1.log`, "new\n");
    continueLog(`${folder}/start-1.log`, `${folder}/0.log`);
    assertEquals(Deno.readTextFileSync(`${folder}/0.log`), "new\n");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
