/**
 * The benchmarks run, and print tables of finite figures. How large the figures are is nobody's
 * business here.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

Deno.test("deno task bench --smoke prints its tables with finite figures", async () => {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "bench/main.ts", "--smoke"],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  const out = text.decode(stdout);
  assertEquals(code, 0, out + text.decode(stderr));
  assertStringIncludes(out, "NOPs per system call");
  const rows = out.split("\n").filter((line) => line.startsWith("| "));
  const speed = rows.filter((row) => row.startsWith("| ublk-mem : kernel-loop"));
  assertEquals(speed.length, 1, out);
  const [ratio, ours, theirs] = speed[0].split("|").slice(3, 6).map(Number);
  for (const figure of [ratio, ours, theirs]) assert(Number.isFinite(figure) && figure > 0, out);
  assert(rows.some((row) => /^\| 4096 +\| \d+ +\| 1 +\|$/.test(row)), out);
  assert(rows.some((row) => /^\| ublk-mem +\| 400 .* \d+ \+ \d+ +\|$/.test(row)), out);
});
