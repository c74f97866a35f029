import { assertEquals } from "@std/assert";
import { formatTotals, junitTimes, parseJunit, total } from "./totals.ts";

/** A report in Deno 2.9.6's format: steps after the tests, filtered tests without a time. */
const REPORT = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="9" failures="3" errors="1" time="0.184">
    <testsuite name="./a_test.ts" tests="8" disabled="2" errors="0" failures="3">
        <testcase name="plain &amp; &lt;x&gt;&quot;q&quot;" classname="./a_test.ts" time="0.000" line="1" col="6">
        </testcase>
        <testcase name="has &gt; arrow" classname="./a_test.ts" time="0.000" line="2" col="6">
        </testcase>
        <testcase name="with steps" classname="./a_test.ts" time="0.002" line="3" col="6">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="ignored" classname="./a_test.ts" time="0.000" line="4" col="11">
            <skipped/>
        </testcase>
        <testcase name="with steps &gt; one" classname="./a_test.ts" time="0.000" line="3" col="48">
        </testcase>
        <testcase name="with steps &gt; ign" classname="./a_test.ts" time="0.000" line="3" col="79">
            <skipped/>
        </testcase>
        <testcase name="with steps &gt; two &gt; deep" classname="./a_test.ts" time="0.000" line="3" col="165">
            <failure message="Uncaught Error: boom &lt;a&gt; ]]&gt;">Error: boom &lt;skipped/&gt;</failure>
        </testcase>
        <testcase name="left out" classname="./a_test.ts" line="46" col="1">
            <skipped/>
        </testcase>
    </testsuite>
    <testsuite name="./sub/b_test.ts" tests="1" disabled="0" errors="1" failures="0">
        <testcase name="one" classname="./sub/b_test.ts" time="0.000" line="2" col="6">
            <error message="Cancelled"/>
        </testcase>
    </testsuite>
</testsuites>`;

Deno.test("parseJunit counts tests, not their steps, and names failed and skipped ones", () => {
  assertEquals(parseJunit(REPORT, ["a_test.ts", "sub/b_test.ts"]), {
    passed: 2,
    failed: [
      "a_test.ts: with steps\n1 test step failed.\na_test.ts: with steps > two > deep\nError: boom <skipped/>",
      "sub/b_test.ts: one",
    ],
    skipped: ["a_test.ts: ignored", "a_test.ts: with steps > ign"],
  });
});

Deno.test("junitTimes has the tests of all files, without their steps", () => {
  const times = junitTimes(REPORT);
  assertEquals(times[2], { file: "a_test.ts", name: "with steps", seconds: 0.002 });
  assertEquals(times.map(({ name }) => name), [
    ...['plain & <x>"q"', "has > arrow", "with steps", "ignored", "left out"],
    "one",
  ]);
});

Deno.test("parseJunit counts a file that reported nothing as a failure", () => {
  const outcome = parseJunit(REPORT, ["a_test.ts", "sub/b_test.ts", "broken_test.ts"]);
  assertEquals(outcome.failed.at(-1), "broken_test.ts: reported no test");
  assertEquals(outcome.failed.length, 3);
});

Deno.test("parseJunit parses a report of the running Deno", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/real_test.ts`,
      `Deno.test("a > b", () => {});
       Deno.test("steps", async (t) => {
         await t.step("in", () => {});
         await t.step({ name: "out", ignore: true, fn() {} });
       });
       Deno.test("bad", () => { throw new Error("</testcase>"); });
       Deno.test.ignore("later", () => {});`,
    );
    await new Deno.Command(Deno.execPath(), {
      args: ["test", "--no-config", "--junit-path=junit.xml", "real_test.ts"],
      cwd: folder,
      stdout: "null",
      stderr: "null",
    }).output();
    const xml = await Deno.readTextFile(`${folder}/junit.xml`);
    const { failed, ...others } = parseJunit(xml, ["real_test.ts"]);
    assertEquals(failed.map((one) => one.split("\n").slice(0, 2)), [
      ["real_test.ts: bad", "Error: </testcase>"],
    ]);
    assertEquals(others, {
      passed: 2,
      skipped: ["real_test.ts: later", "real_test.ts: steps > out"],
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("total adds up outcomes and formatTotals formats the last line", () => {
  const totals = total([
    { passed: 2, failed: ["x"], skipped: [] },
    { passed: 40, failed: [], skipped: ["y", "z"] },
  ]);
  assertEquals(totals, { passed: 42, failed: 1, skipped: 2 });
  assertEquals(formatTotals(totals), "42 passed, 1 failed, 2 skipped");
});
