import { assertEquals } from "@std/assert";
import { judge, noFacts, type Run, RunWatcher } from "./selftest_runs.ts";

const NOTHING = { programs: [], features: [] };
const LIMIT_MS = 60_000;
const PASSED: Run = {
  column: "ours",
  script: "null_01",
  status: 0,
  ms: 4000,
  devices: 0,
  processes: 0,
};
const SKIPPED = { ...PASSED, status: 4 };

/** A guest whose kernel has one feature, which our program does not name. */
function facts() {
  const facts = noFacts();
  facts.features.set("kublk", "UBLK_F_SUPPORT_ZERO_COPY");
  facts.features.set("ours", "");
  facts.versions.set("fio", "fio-3.33").set("bpftrace", "bpftrace v0.17.0");
  return facts;
}

Deno.test("RunWatcher keeps facts, ended runs, and the one that did not end", () => {
  const watcher = new RunWatcher();
  for (
    const line of [
      "@\tlacks\tfio",
      "@\tversion\tbpftrace\tbpftrace v0.27.1",
      "@\tfeatures\tours\tUBLK_F_BATCH_IO ",
      "@\tbegin\tours\tnull_01",
      "words of something else",
      "@\tend\tours\tnull_01\t255\t4000\t1\t2",
      "@\tbegin\tkublk\tnull_01",
    ]
  ) watcher.take(line);
  assertEquals([...watcher.facts.lacks], ["fio"]);
  assertEquals(watcher.facts.versions.get("bpftrace"), "bpftrace v0.27.1");
  assertEquals(watcher.facts.features.get("ours"), "UBLK_F_BATCH_IO ");
  assertEquals(watcher.runs, [{ ...PASSED, status: 255, devices: 1, processes: 2 }]);
  assertEquals(watcher.current, { column: "kublk", script: "null_01" });
});

Deno.test("judge passes what left no device, and tells of processes", () => {
  assertEquals(judge(PASSED, "", NOTHING, facts(), LIMIT_MS), {
    kind: "pass",
    reason: undefined,
    ms: 4000,
  });
  assertEquals(judge({ ...PASSED, devices: 1 }, "", NOTHING, facts(), LIMIT_MS).kind, "fail");
  const busy = judge({ ...PASSED, processes: 2 }, "", NOTHING, facts(), LIMIT_MS);
  assertEquals([busy.kind, busy.reason], ["pass", "left 2 process(es)"]);
});

Deno.test("judge tells a failure by the script's last words", () => {
  const output = `ublk selftest: null_01 starting at 2026-01-01
dd took 7 seconds to exit (>= 5s tolerance)!
ublk selftest: null_01 done at 2026-01-01
null_01 : [FAIL]
`;
  const failed = { ...PASSED, status: 255 };
  const verdict = judge(failed, output, NOTHING, facts(), LIMIT_MS);
  assertEquals([verdict.kind, verdict.reason], [
    "fail",
    "dd took 7 seconds to exit (>= 5s tolerance)!",
  ]);
  assertEquals(judge(failed, "", NOTHING, facts(), LIMIT_MS).reason, "exit status 255");
});

Deno.test("judge finds the failures that scripts forget in subshells", () => {
  const output = "delete dev 0 failed\nstress_01 : [FAIL]\nstress_01 : [PASS]\n";
  const verdict = judge(PASSED, output, NOTHING, facts(), LIMIT_MS);
  assertEquals([verdict.kind, verdict.reason], [
    "fail",
    "it says it passed, but a part of it did not: delete dev 0 failed",
  ]);
  assertEquals(judge(PASSED, "null_01 : [PASS]\n", NOTHING, facts(), LIMIT_MS).kind, "pass");
});

Deno.test("judge knows a script whose time was up from one that died with its guest", () => {
  const late = { ...PASSED, status: 124, ms: LIMIT_MS };
  assertEquals(judge(late, "", NOTHING, facts(), LIMIT_MS).kind, "timeout");
  const dead = { ...PASSED, status: { died: "the guest ended" } };
  assertEquals(judge(dead, "", NOTHING, facts(), LIMIT_MS).reason, "the guest ended");
});

Deno.test("judge calls a skip for want of a program a fault of the guest", () => {
  const lacking = facts();
  lacking.lacks.add("sfdisk");
  const verdict = judge(SKIPPED, "", { ...NOTHING, programs: ["sfdisk"] }, lacking, LIMIT_MS);
  assertEquals([verdict.kind, verdict.reason], ["unfit", "no sfdisk in the guest: install it"]);
});

Deno.test("judge tells a feature that the kernel lacks from one that only we do not name", () => {
  const of = (feature: string) =>
    judge(SKIPPED, "", { ...NOTHING, features: [feature] }, facts(), LIMIT_MS);
  assertEquals([of("BATCH_IO").kind, of("BATCH_IO").reason], [
    "skip",
    "the kernel has no BATCH_IO",
  ]);
  assertEquals(of("ZERO_COPY").kind, "fail");
});

Deno.test("judge knows the reasons that scripts and bpftrace give", () => {
  const of = (output: string) => judge(SKIPPED, output, NOTHING, facts(), LIMIT_MS);
  assertEquals(
    of("Requires fio version with https://github.com/axboe/fio/pull/1992").reason,
    "it wants fio 3.42 for metadata, and this is fio-3.33",
  );
  const trace = of("bpftrace -d trace/seq_io.bt:\ntrace/seq_io.bt:22:1-14: ERROR: no 'dev'\n");
  assertEquals([trace.kind, trace.reason], [
    "unfit",
    "bpftrace v0.17.0 cannot load trace/seq_io.bt: no 'dev'",
  ]);
  assertEquals(of("SKIP: hugetlbfs not supported").kind, "skip");
  assertEquals(of("SKIP: cannot allocate hugepages").kind, "unfit");
});

Deno.test("judge does not believe a skip without a reason", () => {
  assertEquals(judge(SKIPPED, "", NOTHING, facts(), LIMIT_MS).kind, "unfit");
});
