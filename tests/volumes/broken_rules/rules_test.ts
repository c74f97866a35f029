import { assertEquals, assertThrows } from "@std/assert";
import { FIRST_FAILURE_ENDS } from "./checkout.ts";
import { type Change, changed, SIMULATIONS, StaleRule } from "./rule.ts";
import { BROKEN_RULES } from "./rules.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;

function sourceOf({ file }: Change): string {
  return Deno.readTextFileSync(ROOT + file);
}

Deno.test("broken rules + this source + each changes text that is there once", () => {
  changed(sourceOf(FIRST_FAILURE_ENDS), FIRST_FAILURE_ENDS, "the first failure");
  for (const rule of BROKEN_RULES) {
    const source = sourceOf(rule);
    const broken = changed(source, rule, rule.name);
    assertEquals(broken === source, false, `${rule.name}: it changes nothing`);
  }
});

Deno.test("broken rules + their names + no two are the same", () => {
  const names = BROKEN_RULES.map(({ name }) => name);
  assertEquals([...new Set(names)], names);
});

Deno.test("broken rules + simulations + each is one test, and all find some rule", () => {
  const tests = Deno.readTextFileSync(`${ROOT}volume/crash_test.ts`).match(/^Deno\.test\(".*"/gm)!;
  for (const words of Object.values(SIMULATIONS)) {
    assertEquals(tests.filter((test) => test.includes(words)).length, 1, words);
  }
  assertEquals(Object.keys(SIMULATIONS).length, tests.length);
  const used = new Set<string>(BROKEN_RULES.flatMap(({ foundBy }) => foundBy));
  assertEquals([...used].sort(), Object.keys(SIMULATIONS).sort());
});

Deno.test("changed + text that is there once + it is replaced as it is", () => {
  const change = { file: "a.ts", text: "b();", instead: "$&;" };
  assertEquals(changed("a();b();c();", change, "rule"), "a();$&;c();");
});

Deno.test("changed + text that is missing, or there twice + one line says which rule is stale", () => {
  const stale = (text: string, message: string) => {
    const change = { file: "a.ts", text, instead: "" };
    assertThrows(() => changed("a();\nb();\nb();\n", change, "rule"), StaleRule, message);
  };
  stale("c();", '"rule" is stale: a.ts has no `c();`; give text that is there once');
  stale("  c();\n  d();", "a.ts has no `c();`");
  stale("b();", "a.ts has 2 times `b();`");
});
