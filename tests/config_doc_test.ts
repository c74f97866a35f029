/** Reads the options files in `docs/config.md` as `ublk add --config` does. */

import { assertEquals, assertRejects } from "@std/assert";
import { expandConfig } from "../cmd/line/config.ts";
import { Excerpt } from "../cmd/program/excerpt.ts";
import { UblkError } from "../uapi/error.ts";
import { snippetsOf } from "./snippets.ts";
import { tutorialFolder } from "./tutorial.ts";

const PAGE = "docs/config.md";
const FILES = snippetsOf(PAGE).filter(({ language }) => language === "toml" || language === "json");

/** The command lines that a file produces, in a folder with the tutorial's modules. */
async function linesOf(text: string, name: string): Promise<string[][]> {
  const folder = await tutorialFolder();
  try {
    await Deno.writeTextFile(`${folder}${name}`, text);
    return await expandConfig(["--config", `${folder}${name}`], folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("docs/config.md + each file + is accepted", async () => {
  const counts: number[] = [];
  for (const { text, language } of FILES) {
    const lines = await linesOf(text, `disk.${language}`);
    counts.push(lines.length);
  }
  assertEquals(counts, [1, 1, 2, 2]);
});

Deno.test("docs/config.md + the error that it shows + is that of its first file", async () => {
  const shown = snippetsOf(PAGE).find(({ text }) => text.startsWith("ublk: error: "))!.text;
  const [, line, key, value] = /data\.toml:(\d+):\d+: (\w+): (\S+) /.exec(shown)!;
  const wrong = FILES[0].text.split("\n").with(Number(line) - 1, `${key} = ${value}`).join("\n");
  const error = await assertRejects(() => linesOf(wrong, "data.toml"), UblkError);
  const [expected, ...excerpt] = shown.replace("ublk: error: /etc/ublk/", "").split("\n");
  assertEquals(error.message.slice(error.message.indexOf("data.toml")), expected);
  assertEquals(Excerpt.linesOf(error.cause), excerpt);
});
