/** What `ublk-volume` refuses before it looks for the kernel's driver. */

import { assertEquals } from "@std/assert";
import { Scratch } from "../scratch.ts";
import { assertOneLine, runCommand } from "./_run_command.ts";

const volume = (...args: string[]) => runCommand("ublk-volume", args);

Deno.test("ublk-volume + a store or a name that cannot be + is said in one line", async () => {
  using scratch = new Scratch();
  const store = ["--store", `${scratch.path}/store`];
  const both = [...store, "--journal", `${scratch.path}/journal`];
  assertOneLine(
    await volume("attach", "db", ...both),
    1,
    /^ublk-volume: error: .*\/store: there is no such folder; make the folder/,
  );
  const made = await volume("create", "db", "--size", "64M", ...store);
  assertEquals([made.code, made.stderr], [0, ""]);
  assertOneLine(
    await volume("create", "db", "--size", "64M", ...store),
    1,
    /has a volume of that name; choose another name/,
  );
  assertOneLine(await volume("attach", "dc", ...both), 1, /no volume of that name/);
  assertOneLine(await volume("attach", "../db", ...both), 2, /is no name of a volume/);
});
