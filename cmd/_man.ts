/**
 * `deno task man`: writes the commands' pages as man pages, to `dist/man/` or the folder given by
 * `--out`.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import config from "../deno.json" with { type: "json" };
import { manPage } from "./_roff.ts";
import { PROGRAMS } from "./completion/completions.ts";
import { writeLine } from "./program/print.ts";

/** The date of the pages: `SOURCE_DATE_EPOCH` if set, for reproducible builds; else today. */
function date(): string {
  const seconds = Deno.env.get("SOURCE_DATE_EPOCH");
  const at = seconds === undefined ? new Date() : new Date(Number(seconds) * 1000);
  return at.toISOString().slice(0, 10);
}

const root = new URL("..", import.meta.url);
const { out } = parseArgs(Deno.args, {
  string: ["out"],
  default: { out: new URL("dist/man", root).pathname },
});
await Deno.mkdir(out, { recursive: true });
for (const name of PROGRAMS) {
  const markdown = await Deno.readTextFile(new URL(`docs/${name}.md`, root));
  const page = manPage(markdown, { version: config.version, date: date(), pages: PROGRAMS });
  await Deno.writeTextFile(`${out}/${name}.1`, page);
  await writeLine(`${out}/${name}.1`);
}
