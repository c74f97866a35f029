/** Checks that every text names the same minimum kernel. */

import { assert, assertEquals } from "@std/assert";
import { MIN_KERNEL } from "../uapi/features.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** Texts that people read: pages, and messages of the programs. */
function* texts(folder = ""): Generator<[path: string, text: string]> {
  for (const { name, isDirectory } of Deno.readDirSync(`${ROOT}${folder}`)) {
    const path = `${folder}${name}`;
    if (isDirectory && !/^\.|^(node_modules|dist|tests)$/.test(name)) yield* texts(`${path}/`);
    const isText = /\.(md|ts)$/.test(name) && !/_test\.ts$|^CHANGELOG\.md$/.test(name);
    if (!isDirectory && isText) yield [path, Deno.readTextFileSync(`${ROOT}${path}`)];
  }
}

/** A row about other servers. */
const OTHERS = /^\| ublksrv, rublk /;

Deno.test(`every text that names the kernel for the driver says Linux ${MIN_KERNEL}`, () => {
  let count = 0;
  for (const [path, text] of texts()) {
    // Paragraphs, because pages break lines within sentences.
    for (const paragraph of text.split(/\n\s*\n/)) {
      const lines = paragraph.split("\n").filter((line) => !OTHERS.test(line)).join(" ");
      for (const sentence of lines.split(/(?<=[.;|]) /)) {
        if (!/ublk_drv|GET_FEATURES|cannot say what/.test(sentence)) continue;
        for (const [words, version] of sentence.matchAll(/Linux (\d+\.\d+) or newer/g)) {
          assertEquals(version, MIN_KERNEL, `${path}: ${words}`);
          count++;
        }
      }
    }
    // An older kernel must never be said to suffice.
    for (const [words, version] of text.matchAll(/[Ll]inux (\d+\.\d+) or newer(?! or)/g)) {
      const [major, minor] = version.split(".").map(Number);
      const [leastMajor, leastMinor] = MIN_KERNEL.split(".").map(Number);
      const line = text.split("\n").find((line) => line.includes(words))!;
      const enough = major > leastMajor || (major === leastMajor && minor >= leastMinor);
      assert(enough || OTHERS.test(line), `${path}: ${words}`);
    }
  }
  assert(count >= 5, `${count} texts`);
});
