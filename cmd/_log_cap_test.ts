import { assertEquals } from "@std/assert";
import { Scratch } from "../tests/scratch.ts";
import { capLog } from "./_log_cap.ts";

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
