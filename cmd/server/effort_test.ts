import { assertAlmostEquals, assertGreaterOrEqual } from "@std/assert";
import { openAllOfLibc } from "../../uring/libc.ts";
import { effortOf, processEffort } from "./effort.ts";

// Opened once, before any test, because the sanitizer would report a leak.
openAllOfLibc();

const stat = (name: string, utime: number, stime: number) =>
  `7 (${name}) S 1 7 7 0 -1 4194304 1 2 3 4 ${utime} ${stime} 5 6 20 0 9 0 100 1 1`;

Deno.test("effortOf counts CPU time and bytes, whatever the process is called", () => {
  for (const name of ["deno", "a) R 9 9 9 (b"]) {
    assertAlmostEquals(effortOf(stat(name, 7, 3), ""), 2);
  }
  const io = "rchar: 131072\nwchar: 65536\nsyscr: 9\nsyscw: 9\nread_bytes: 1\nwrite_bytes: 1\n";
  assertAlmostEquals(effortOf(stat("deno", 0, 0), io), 3);
});

Deno.test("processEffort grows by a unit with 64 KiB read", async () => {
  const before = processEffort();
  for (let read = 0; read < 65_536;) {
    read += (await Deno.readFile(new URL("../ublk.ts", import.meta.url))).length;
  }
  assertGreaterOrEqual(processEffort(), before + 1);
});
