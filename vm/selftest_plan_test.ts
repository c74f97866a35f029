import { assertEquals, assertThrows } from "@std/assert";
import { VmError } from "./host.ts";
import { CI_LIST, needsOf, scriptNames, selectScripts } from "./selftest_plan.ts";

const OTHERS = ["loop_05", "stress_05"];
const ALL = [...CI_LIST, ...OTHERS].sort();

Deno.test("scriptNames takes the tests and nothing else of the folder", () => {
  const files = ["test_null_02.sh", "test_common.sh", "kublk", "test_batch_01.sh", "trace"];
  assertEquals(scriptNames(files), ["batch_01", "null_02"]);
});

Deno.test("scriptNames puts the stress tests last", () => {
  const files = ["test_stress_02.sh", "test_stripe_01.sh", "test_stress_01.sh"];
  assertEquals(scriptNames(files), ["stripe_01", "stress_01", "stress_02"]);
});

Deno.test("selectScripts takes all, or the short list, or what matches", () => {
  assertEquals(selectScripts(ALL, {}), ALL);
  assertEquals(selectScripts(ALL, { list: "ci" }), CI_LIST.toSorted());
  assertEquals(selectScripts(ALL, { only: "loop_05,test_stress_05.sh" }), OTHERS);
  assertEquals(selectScripts(ALL, { only: "stre*_05" }), ["stress_05"]);
  assertEquals(selectScripts(ALL, { list: "ci", only: "part*" }), ["part_02"]);
});

Deno.test("selectScripts refuses what would run nothing", () => {
  assertThrows(() => selectScripts(ALL, { only: "zoned_*" }), VmError, `"zoned_*"`);
  assertThrows(() => selectScripts(ALL, { list: "short" }), VmError, "all or ci");
  assertThrows(() => selectScripts(OTHERS, {}), VmError, "CI_LIST");
});

Deno.test("CI_LIST has a script of each group", () => {
  const groups = new Set(CI_LIST.map((name) => name.split("_")[0]));
  assertEquals([...groups].sort(), [
    ...["batch", "generic", "integrity", "loop", "null", "part", "recover", "shmemzc"],
    ...["stress", "stripe"],
  ]);
});

Deno.test("needsOf reads programs and features, and what -z asks for", () => {
  const source = `if ! _have_program sfdisk || ! _have_program blockdev; then
if ! _have_feature "AUTO_BUF_REG"; then
dev_id=$(_add_ublk_dev -t null -z --auto_zc)`;
  assertEquals(needsOf(source), {
    programs: ["sfdisk", "blockdev"],
    features: ["AUTO_BUF_REG", "ZERO_COPY"],
  });
  assertEquals(needsOf("_add_ublk_dev -t null -q 2").features, []);
});
