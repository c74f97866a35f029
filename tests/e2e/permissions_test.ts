/** `docs/permissions.md`, where it takes a disk to see it. */

import { assertEquals, assertMatch } from "@std/assert";
import { commandLine } from "../integration/_run_command.ts";
import { nodes, run, Running } from "./_command.ts";

/** `ublk-null` as its task has it, without some permissions. */
function without(...flags: string[]): string[] {
  return commandLine("ublk-null", ["--size", "1G"]).filter((word) => !flags.includes(word));
}

Deno.test("ublk-null + nothing but ffi, read and run + serves, without record or socket", async () => {
  await using server = new Running(without("--allow-write=/run/ublk,/run/user", "--allow-net"));
  assertMatch(await server.firstLine(), /^\/dev\/ublkb\d+$/);
  const records = await run("sh", "-c", "ls /run/ublk/*.json /run/ublk/*.sock 2>/dev/null");
  assertEquals(records.stdout, "");
  server.kill("SIGTERM");
  assertEquals(await server.exitCode(), 0, server.stderr);
  assertEquals(nodes(), []);
});

Deno.test("ublk-null + no right to run a shell + one line, and no device is left", async () => {
  const [program, ...args] = without("--allow-run=/bin/sh");
  const ran = await run(program, ...args);
  assertEquals([ran.code, ran.stdout], [1, ""]);
  assertMatch(ran.stderr, /^ublk-null: error: .*Requires run access to "\/bin\/sh"; .*\n$/);
  assertEquals(nodes(), []);
});
