/**
 * Servers that do not answer, or answer anything: each command says so in one line, in bounded time.
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { type Ran, ROOT, withPrivateDev } from "./_run_command.ts";

/** What `ublk stats` says of each, by the number in `_odd_servers.ts`. */
const REASONS: Readonly<Record<number, RegExp>> = {
  1: /^at \/run\/ublk\/1\.sock answers something else than a server of ublk$/,
  2: /^its server closed the connection$/,
  3: /^its server closed the connection$/,
  4: /^at \S+ answers something else than a server of ublk$/,
  5: /^its server tells something else than counters$/,
  6: /^its server tells something else than counters$/,
  7: /^at \S+ answers something else than a server of ublk$/,
  8: /^bad\\x1b\[2J\\nublkb9 {2}forged$/,
  9: /^at \S+ answers something else than a server of ublk$/,
  21: /^its server, pid \d+, is stopped \(SIGSTOP, or Ctrl-Z\)$/,
  22: /^its server, pid 999999, has died$/,
  23: /^its server, pid \d+, has no control socket for us$/,
};

Deno.test({
  name: "ublk stats and top + servers that are stopped, dead, silent or others + a line for each",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    const [program, ...args] = [
      ...withPrivateDev("mount -t tmpfs none /run"),
      Deno.execPath(),
      ...["run", "-A", "tests/integration/_odd_servers.ts"],
    ];
    const { stdout, stderr } = await new Deno.Command(program, {
      args,
      cwd: ROOT,
      stdin: "null",
      signal: AbortSignal.timeout(180_000),
    }).output();
    const text = new TextDecoder().decode(stdout);
    assertMatch(text, /^\{/, new TextDecoder().decode(stderr));
    const asked: Record<string, Ran> = JSON.parse(text);
    for (const [id, reason] of Object.entries(REASONS)) {
      const { code, stdout, stderr } = asked[id];
      assertEquals([code, stderr], [0, ""], id);
      const [heading, row, ...more] = stdout.trimEnd().split("\n");
      assertMatch(heading, /^DEVICE/);
      assertMatch(row.replace(/^ublkb\d+ +/, ""), reason);
      assertEquals(more, []);
    }
    assertEquals(JSON.parse(asked.json.stdout)[0].target, "evil\x1b[2J\n\x9b");
    assertEquals([asked.top.code, asked.top.stderr], [0, ""]);
    assertEquals(asked.top.stdout.trimEnd().split("\n").length, 1 + 13);
    assertMatch(asked.top.stdout, /^ublkb20 +its server, pid \d+, does not answer$/m);
    for (const { stdout } of Object.values(asked)) {
      // deno-lint-ignore no-control-regex
      assertEquals(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/.test(stdout), false);
    }
    assertStringIncludes(asked.json.stdout, "\\u009b");
  },
});
