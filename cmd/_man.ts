/**
 * `deno task man`: the pages of the commands as man pages, in `dist/man/` or where `--out` says.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import config from "../deno.json" with { type: "json" };
import { manPage } from "./_roff.ts";
import { PROGRAMS } from "./completion/completions.ts";
import { writeLine } from "./program/print.ts";

/** When: `SOURCE_DATE_EPOCH` where it is set, for builds that come out the same; else today. */
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
