import { assert, assertEquals } from "@std/assert";
import { ALONE, isAlone, testFiles, testGroups } from "./checks.ts";

/** Of what there is but once in a process, and changes under a suite that is not alone. */
const SHARED =
  /\/proc\/self\/(fd"|maps|statm|smaps|task)|memoryUsage\(\)\.rss|Deno\.(env\.set|umask|chdir)\(|Deno\.kill\(Deno\.pid|\bisMapped\(/;

/** They look for something of their own, which nobody else changes, or kill a child. */
const OWN = ["disk/claims_test.ts", "nbd/handshake_test.ts", "tests/checks_test.ts"];

Deno.test("testGroups + every suite is in one group", () => {
  const files = testGroups().flatMap((group) => group.files);
  assertEquals(files.length, new Set(files).size);
  const found = testFiles("").filter((file) =>
    /^(?!tests\/(ceph|e2e|integration|long|numa)\/)/.test(file)
  );
  assertEquals(files.toSorted(), found.toSorted());
  assert(!files.some((file) => file.startsWith("tests/e2e/")));
});

Deno.test("testGroups + what a process has but once is looked at by suites alone", () => {
  const files = testGroups().flatMap((group) => group.files);
  const found = files.filter((file) => SHARED.test(Deno.readTextFileSync(file)));
  assertEquals(found.filter((file) => !isAlone(file) && !OWN.includes(file)), []);
  for (const place of Object.keys(ALONE)) {
    assert(files.some((file) => file.startsWith(place)), `${place} is nothing`);
  }
});
