import { assertEquals } from "@std/assert";
import { OutputWatcher, timesFromJunit, totalsFromJunit } from "./junit.ts";

/** As Deno 2.9.6 writes it for `--filter` with one test that matches. */
const XML = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="7" failures="2" errors="0" time="0.059">
    <testsuite name="./e2e/a_test.ts" tests="7" disabled="3" errors="0" failures="2">
        <testcase name="reads &gt; writes" classname="./e2e/a_test.ts" time="0.001" line="1" col="6">
        </testcase>
        <testcase name="steps" classname="./e2e/a_test.ts" time="0.001" line="2" col="6">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="zoned &lt;&amp;&gt;" classname="./e2e/a_test.ts" time="0.000" line="3" col="1">
            <skipped/>
        </testcase>
        <testcase name="left out by the filter" classname="./e2e/a_test.ts" line="4" col="6">
            <skipped/>
        </testcase>
        <testcase name="steps &gt; one" classname="./e2e/a_test.ts" time="0.000" line="2" col="47">
            <failure message="Uncaught Error: x">Error: x</failure>
        </testcase>
        <testcase name="steps &gt; two" classname="./e2e/a_test.ts" time="0.000" line="2" col="78">
            <skipped/>
        </testcase>
    </testsuite>
</testsuites>`;

Deno.test("totalsFromJunit counts tests and not steps, but names ignored steps", () => {
  assertEquals(totalsFromJunit(XML, ["e2e/a_test.ts"]), {
    passed: 1,
    failed: 1,
    skipped: 2,
    failures: ["e2e/a_test.ts: steps\n1 test step failed.\ne2e/a_test.ts: steps > one\nError: x"],
    skips: ["e2e/a_test.ts: zoned <&>", "e2e/a_test.ts: steps > two"],
  });
});

Deno.test("totalsFromJunit counts a file that is not mentioned as a failure", () => {
  const totals = totalsFromJunit(XML, ["e2e/a_test.ts", "e2e/b_test.ts"]);
  assertEquals(totals.failed, 2);
  assertEquals(totals.failures[1], "e2e/b_test.ts: did not load, or has no test");
});

Deno.test("OutputWatcher keeps the counts of a run that died", () => {
  const watcher = new OutputWatcher();
  for (
    const line of [
      "running 3 tests from ./e2e/a_test.ts",
      "reads ... \x1b[32mok\x1b[0m (5ms)",
      "steps ...",
      "  one ... ok (1ms)",
      "steps ... FAILED (due to 1 failed step) (2ms)",
      "zoned ... ignored (0ms)",
      "stop ...",
    ]
  ) watcher.take(line);
  assertEquals(watcher.withoutJunit("hung"), {
    passed: 1,
    failed: 2,
    skipped: 1,
    failures: ["e2e/a_test.ts: steps", "hung (during e2e/a_test.ts: stop)"],
    skips: ["e2e/a_test.ts: zoned"],
  });
});

Deno.test("OutputWatcher adds the failures that only the summary counts", () => {
  const watcher = new OutputWatcher();
  watcher.take("FAILED | 1 passed (1 step) | 2 failed (1 step) | 2 ignored (1 step) (52ms)");
  assertEquals(watcher.complete(totalsFromJunit(XML, [])).failed, 2);
});

Deno.test("timesFromJunit + steps of steps, and a test named as another file's step + counts tests once", () => {
  const suite = (file: string, names: string[]) =>
    `<testsuite name="./${file}">` + names.map((name) =>
      `<testcase name="${name.replaceAll(">", "&gt;")}" classname="./${file}" time="1.5" line="1">
       </testcase>`
    ).join("") + "</testsuite>";
  const xml = suite("a_test.ts", ["a", "a > b", "a > b > c"]) + suite("b_test.ts", ["a > b"]);
  assertEquals(timesFromJunit(xml), [
    { file: "a_test.ts", name: "a", seconds: 1.5 },
    { file: "b_test.ts", name: "a > b", seconds: 1.5 },
  ]);
});
