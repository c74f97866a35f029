import { assertEquals } from "@std/assert";
import { verdictOf } from "./verdict.ts";

const SEED = "of 9 seeds failed: 9; replay: deno test -A volume/crash_test.ts -- --seed 9";

function verdict(output: string, code = 1, timedOut = false) {
  return verdictOf({ code, timedOut, output });
}

Deno.test("verdictOf + a seed that breaks a promise + red, with what the seed said", () => {
  const output =
    `running 1 test\nerror: Error: ${SEED}\nseed 9: block 3 has 0, and not 7\na log\n` +
    "Caused by: Error: seed 9: block 3 has 0, and not 7\nCaused by: Error: block 3\n";
  assertEquals(verdict(output), { is: "red", seed: 9, words: "block 3 has 0, and not 7" });
  assertEquals(verdict(`\x1b[31m${output}\x1b[0m`), verdict(output));
});

Deno.test("verdictOf + a seed that fails an assertion + red", () => {
  const output = `error: Error: ${SEED}\nseed 9: assertion failed: one\n` +
    "Caused by: AssertionError: assertion failed: one\n";
  assertEquals(verdict(output), { is: "red", seed: 9, words: "assertion failed: one" });
});

Deno.test("verdictOf + source that uses what is not there + a mistake in the list", () => {
  const output = `error: Error: ${SEED}\nseed 9: foo is not defined\n` +
    "Caused by: Error: seed 9: foo is not defined\nCaused by: ReferenceError: foo is not defined\n";
  const words = "ReferenceError: foo is not defined";
  assertEquals(verdict(output), { is: "mistake", words });
});

Deno.test("verdictOf + source that does not load + a mistake in the list", () => {
  const output = "error: Expected ';', '}' or <eof> at file:///a.ts:1:2\n";
  const words = "it does not load: Expected ';', '}' or <eof> at file:///a.ts:1:2";
  assertEquals(verdict(output), { is: "mistake", words });
});

Deno.test("verdictOf + no seed that fails + green, if a test has run", () => {
  const green = "ok | 1 passed | 0 failed | 10 filtered out (21s)\n";
  assertEquals(verdict(green, 0), { is: "green" });
  const none = "ok | 0 passed | 0 failed | 11 filtered out (1ms)\n";
  assertEquals(verdict(none, 0), { is: "mistake", words: "no test has run" });
});

Deno.test("verdictOf + a run that does not end, or waits for nothing + a hang", () => {
  assertEquals(verdict("", 143, true), { is: "hang" });
  const output = "error: Promise resolution is still pending but the event loop has resolved\n";
  assertEquals(verdict(output), { is: "hang" });
});
