import { assertEquals, assertThrows } from "@std/assert";
import { parseVmReport } from "./vm_report.ts";

const OLD = {
  kernel: "6.12",
  passed: 3,
  failed: 1,
  skipped: 2,
  failures: ["flush"],
  skips: ["zero copy", "resize"],
};
const NEW = {
  kernel: "7.2",
  passed: 6,
  failed: 0,
  skipped: 0,
  failures: [],
  skips: [],
  times: [{ file: "a_test.ts", name: "one", seconds: 3 }],
};

Deno.test("parseVmReport sums up the kernels and prefixes names with them", () => {
  assertEquals(parseVmReport(JSON.stringify({ suites: [OLD, NEW] })), {
    passed: 9,
    failed: ["Linux 6.12: flush"],
    skipped: ["Linux 6.12: zero copy", "Linux 6.12: resize"],
    times: NEW.times,
  });
});

Deno.test("parseVmReport trusts the count if names are missing", () => {
  const suites = [{ ...NEW, failed: 2, failures: ["one"] }];
  assertEquals(parseVmReport(JSON.stringify({ suites })).failed, [
    "Linux 7.2: one",
    "Linux 7.2: a test without a name",
  ]);
});

Deno.test("parseVmReport refuses a report without totals", () => {
  assertThrows(() => parseVmReport("{}"), TypeError, "has no suites");
  const suites = [{ ...NEW, failed: undefined }];
  assertThrows(() => parseVmReport(JSON.stringify({ suites })), TypeError, "no totals");
});
