/**
 * The benchmark of NBD servers runs, and prints a table of finite figures. How large they are is
 * nobody's business here.
 */

import { assert, assertEquals } from "@std/assert";
import { measureNbd, nbdTable } from "../../bench/nbd.ts";
import { Scratch } from "../scratch.ts";

Deno.test("measureNbd + tiny counts + each server and load has its samples", async () => {
  using scratch = new Scratch();
  const plan = { rounds: 1, requests: 200, passes: 1, warm: 0 };
  const samples = await measureNbd(plan, scratch.path);
  assertEquals(samples.length, 5 * 5);
  assert(samples.every(({ rate, cpuUs }) => rate > 0 && Number.isFinite(rate) && cpuUs >= 0));
  // So few requests may take no hundredth of a second, which is no ratio.
  const rows = nbdTable(samples.map((sample) => ({ ...sample, cpuUs: 1 }))).split("\n").slice(2);
  assertEquals(rows.length, 3 * 5);
  assert(
    rows.every((row) => /^\| ublk-nbd, .* \| [\d.]+ +\| 1\.00 +\| 1\.0 : 1\.0 +\|$/.test(row)),
    rows.join("\n"),
  );
});
