import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { DeviceOption } from "../../device/option_row.ts";
import { DEVICE_OPTIONS, kernelOf } from "../../device/option_table.ts";
import { DEVICE_FLAGS, recoveryOptions } from "./device_flags.ts";
import { findFlag } from "./flags.ts";

const ROWS: readonly DeviceOption[] = DEVICE_OPTIONS;

/** The list of options on a page: the description of each, by flag. */
function bullets(page: string): Map<string, string> {
  const text = Deno.readTextFileSync(new URL(`../../docs/${page}`, import.meta.url));
  const list = text.slice(text.indexOf("\n## OPTIONS"), text.indexOf("\nOf the other commands:"));
  return new Map(
    [...list.matchAll(/^- \*\*--([a-z-]+)[^]*?(?=^- |^$)/gm)].map(([all, name]) =>
      [name, all.replaceAll(/\s+/g, " ")] as const
    ),
  );
}

const UBLK = bullets("ublk.md");

for (const row of ROWS.filter(({ flag }) => flag !== undefined)) {
  Deno.test(`docs/ublk.md + --${row.flag} + has the letter, default and kernel of its row`, () => {
    const said = UBLK.get(row.flag!);
    assert(said !== undefined, `docs/ublk.md has no line "- **--${row.flag}** — …"`);
    const help = findFlag(DEVICE_FLAGS, `--${row.flag}`)!.help.replaceAll(/\s+/g, " ");
    const kernel = kernelOf(row);
    if (kernel !== undefined) {
      assertStringIncludes(said, `Linux ${kernel}`);
      assertStringIncludes(help, `(Linux ${kernel}).`);
    }
    if (row.short !== undefined) assertStringIncludes(said, `**-${row.short}`);
    const held = /Default: (.*)\.$/.exec(help)?.[1];
    assertEquals(held === undefined, row.kind === "switch");
    if (held !== undefined) assertStringIncludes(said.replaceAll("`", ""), `Default: ${held}`);
    for (const choice of row.choices ?? []) assertStringIncludes(said, `\`${choice}\``);
  });
}

Deno.test("recoveryOptions() + what a device was made with + is left out", () => {
  const kept = recoveryOptions({
    queues: 2,
    recovery: "reissue",
    integrity: { metadataSize: 8 },
    threads: 1,
    fixedFile: false,
    sharedMemory: { path: "/m", readOnly: true },
    deadlineMs: 500,
    logLevel: 5,
  });
  assertEquals(kept, {
    threads: 1,
    fixedFile: false,
    sharedMemory: { path: "/m", readOnly: true },
    deadlineMs: 500,
    logLevel: 5,
  });
});
