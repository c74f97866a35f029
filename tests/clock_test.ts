/**
 * The clocks that the code may use. The time of day jumps: once the timeout of two seconds for a locked
 * file lasted 22, because the machine's clock was set meanwhile. Code that waits or measures uses
 * `performance.now()`; times that outlive a process are the kernel's ticks since boot.
 */

import { assertEquals } from "@std/assert";
import { sources } from "./sources.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** Expressions that read the time of day, including file times. */
const TIME_OF_DAY =
  /\bDate\.now\b|\bnew Date\b|\bDate\(\)|\bTemporal\.Now\b|\btimeOrigin\b|\bCLOCK_REALTIME\b|\.(mtime|ctime|atime|birthtime)\b|\bdate \+%s|\bEPOCHSECONDS\b/;

/** The files that may use the time of day, because they show it to people. */
const SHOWN: Readonly<Record<string, string>> = {
  "volume/lost.ts": "it tells how old a volume without its journal is",
  "volume/open_read_only.ts": "it tells how old what is read may be",
  "backends/wrappers/log.ts": "each line of the wrapper's log has the time of day",
  "backends/zip/dos_time.ts": "a date of an archive's own is reckoned with, and no clock read",
  "backends/zip/entries.ts": "the same",
  "bench/ring.ts": "a report says when it was made",
  "cmd/_man.ts": "a man page says when it was made",
  "cmd/server/log.ts": "each line of a server's log has the time of day",
  "cmd/server/log_cap.ts": "the line between two servers' logs has it too",
  "cmd/server/log_test.ts": "whether that time is true",
  "device/log.ts": "the same",
  "ebs/dialects/ec2.ts": "dates of volumes are told, and no clock read",
  "ebs/dialects/provider.ts": "the same, of snapshots",
  "ebs/nats/micro.ts": "the same, of a service's start",
  "ebs/nats/status_row.ts": "the same",
  "ebs/claims/claims.ts": "a claim notes when it was made, and never waits for that",
  "links/std-log/mod.ts": "the same, of a record",
  "tests/clock_test.ts": "it names them",
  "tests/ebs/nats_jwt.ts": "a token says when it was issued, which its reader wants",
  "volume/care/rebuild.ts": "it tells of which moment a repaired volume is",
  "volume/list.ts": "dates of a volume are shown, and no clock read",
  "volume/snapshots.ts": "the same, of snapshots",
  "volume/unstored.ts": "it tells how old the state is that a store has",
  "volume/seam.ts": "a volume notes when it was created and committed, and never waits for that",
  "vm/bundles.ts": "bundles that nobody has used for long are removed by their files' times",
  "uapi/io_uring_sqe.ts": "the kernel's flag of that name",
};

Deno.test("no code waits or measures by the time of day, which may jump", () => {
  const found = sources(ROOT, [".ts", ".sh"]).flatMap((path) =>
    path in SHOWN
      ? []
      : Deno.readTextFileSync(ROOT + path).split("\n").flatMap((line, index) =>
        TIME_OF_DAY.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : []
      )
  );
  assertEquals(found, []);
});

Deno.test("expressions that read the time of day are recognised", () => {
  const lines = [
    "const end = Date.now() + 5;",
    "const at = new Date();",
    "Temporal.Now.instant()",
    "if (info.mtime < started)",
    "started=$(date +%s%3N)",
  ];
  assertEquals(lines.filter((line) => !TIME_OF_DAY.test(line)), []);
  assertEquals(TIME_OF_DAY.test("const end = performance.now() + 5; // an update"), false);
});
