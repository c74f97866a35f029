import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { parseFlags } from "../line/flags.ts";
import { taskFlags, threadsWithout } from "./process.ts";
import { asksOfProcess, PROCESS_FLAGS, processOptions } from "../line/process_flags.ts";

const parse = (...args: string[]) => processOptions(parseFlags("ublk-mem", PROCESS_FLAGS, args));

Deno.test("processOptions reads the flags, and without them nothing is asked for", () => {
  assertEquals(parse("--mlock", "--io-flusher", "--oom-score", "-1000", "--cpus", "0-1,3"), {
    mlock: true,
    ioFlusher: true,
    oomScore: -1000,
    cpus: [0, 1, 3],
  });
  assertEquals(asksOfProcess(parse()), false);
  for (const line of [["--mlock"], ["--io-flusher"], ["--oom-score=0"], ["--cpus", "0"]]) {
    assertEquals(asksOfProcess(parse(...line)), true, line[0]);
  }
});

Deno.test("processOptions refuses what is no score and no list", () => {
  assertThrows(() => parse("--oom-score", "1001"), UblkError, "-1000 to 1000");
  assertThrows(() => parse("--cpus", "3-1"), UblkError, "it is not a list of CPUs");
});

/** A thread's `stat`, with the fields that matter. */
const stat = (id: number, name: string, flags: number) =>
  `${id} (${name}) S 1 1 1 0 -1 ${flags} 0 0 0 0`;

Deno.test("threadsWithout names each thread that lacks a bit of the mark, whatever its name", () => {
  const mark = 0x180000;
  const stats = [
    stat(1, "deno", 0x580040),
    stat(2, "V8 Worker", 0x500040),
    stat(3, ") S 1 1 (", 0x400040),
  ];
  assertEquals(stats.map(taskFlags), [0x580040, 0x500040, 0x400040]);
  assertEquals(threadsWithout(mark, stats), ["2 (V8 Worker)", "3 () S 1 1 ()"]);
});
