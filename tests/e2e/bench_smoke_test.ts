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
  assertEquals(speed.length, 4, out);
  for (const row of speed) {
    const [ratio, ours, theirs] = row.split("|").slice(3, 6).map(Number);
    assert(ratio > 0 && ours > 0 && theirs > 0, row);
    assert([ratio, ours, theirs].every(Number.isFinite), row);
  }
  const starts = rows.filter((row) => /^\| (1|4096) /.test(row)).filter((row) =>
    / 1 +\|$/.test(row)
  );
  assertEquals(starts.length, 2, out);
  for (const disk of ["ublk-null", "ublk-mem"]) {
    assert(rows.some((row) => row.startsWith(`| ${disk} `) && /\d+ \+ \d+ +\|$/.test(row)), out);
  }
});
