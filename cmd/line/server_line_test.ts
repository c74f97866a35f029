import { assertEquals } from "@std/assert";
import { targetInLine } from "./server_line.ts";

Deno.test("targetInLine + the command line of a server + names its target", () => {
  const deno = ["/usr/bin/deno", "run", "--allow-write=/run/ublk", "/src/cmd/ublk.ts"];
  const cases: [string[], string | undefined][] = [
    [[...deno, ":background", "add", "-t", "loop", "disk.img"], "loop"],
    [[...deno, "add", "--foreground", "-uvvt", "mem"], "mem"],
    [[...deno, "add", "--module=/x.ts"], "module"],
    [[...deno, "add", "-t", "./x.ts"], "module"],
    [[...deno, "recover", "-n", "0"], undefined],
    [[...deno, "list"], undefined],
    [[...deno, "kublk", "add", "--foreground", "-t", "null"], "null"],
    [[...deno, ":background", "add", ":kublk", "mem"], "mem"],
    [[...deno, ":task", "add", "--foreground", "loop", "disk.img"], "loop"],
    [["/usr/bin/ublk", ":background", "add", "-tnull"], "null"],
    [["/usr/bin/deno", "run", "jsr:@ublk/ublk/ublk-mem", "--size", "1M"], "mem"],
    [["/usr/bin/ublk-file", "disk.img"], "loop"],
    [["/usr/bin/ublk-tape", "disk.img"], undefined],
    [["/usr/bin/kublk", "add", "-t", "null"], undefined],
    [["/usr/bin/nbdkit"], undefined],
    [[], undefined],
  ];
  for (const [words, target] of cases) assertEquals(targetInLine(words), target, `${words}`);
});
