import { assert, assertEquals, assertStringIncludes } from "@std/assert";

const ROOT = new URL("../", import.meta.url);
const PAGE = await Deno.readTextFile(new URL("docs/troubleshooting.md", ROOT));

/** The error codes, from the type in `uapi/error.ts`. */
const CODES = await (async () => {
  const source = await Deno.readTextFile(new URL("uapi/error.ts", ROOT));
  const type = /export type UblkErrorCode =([^;]+);/.exec(source)![1];
  return [...type.matchAll(/\| "(\w+)"/g)].map(([, code]) => code);
})();

/** All strings of the source in one text, with concatenated strings joined. */
const SOURCE = [
  ...[
    "uapi",
    "uring",
    "ctrl",
    "queue",
    "disk",
    "backends",
    "device",
    "cmd",
    "store",
    "volume",
    "ebs",
  ],
]
  .flatMap((folder) => [...files(folder)])
  .map((path) => Deno.readTextFileSync(new URL(path, ROOT)))
  .join("\n")
  .replaceAll(/["'`] \+\s+["'`]/g, "");

function* files(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    if (isDirectory) yield* files(`${folder}/${name}`);
    else if (name.endsWith(".ts") && !name.endsWith("_test.ts")) yield `${folder}/${name}`;
  }
}

/** The heading and text of each symptom. */
const SYMPTOMS = PAGE.split(/^### /m).slice(1).map((section) => {
  const [heading, ...text] = section.split("\n");
  return { heading, text: text.join(" ") };
});

Deno.test("docs/troubleshooting.md + every error code + is listed", () => {
  assert(CODES.length > 15, "the type is read");
  assertEquals(CODES.filter((code) => !PAGE.includes(`\`${code}\``)), []);
});

Deno.test("docs/troubleshooting.md + each symptom + has a cause and a remedy", () => {
  for (const { heading, text } of SYMPTOMS) {
    assertStringIncludes(text, "**Cause.**", heading);
    assertStringIncludes(text, "**Remedy.**", heading);
    const capitals = [...text.matchAll(/`([A-Z]+_[A-Z_]+)`/g)].map(([, word]) => word);
    assertEquals(capitals.filter((word) => !CODES.includes(word) && word !== "O_DIRECT"), []);
  }
});

Deno.test("docs/troubleshooting.md + each message + occurs in the source", () => {
  let pieces = 0;
  for (const { heading } of SYMPTOMS.filter(({ heading }) => heading.startsWith("`"))) {
    for (const [, message] of heading.matchAll(/`([^`]+)`/g)) {
      // "operation: reason; remedy" is composed at run time, so look for the parts.
      for (const piece of message.split(/…|: |; /).map((part) => part.trim())) {
        if (!/\w/.test(piece)) continue;
        assert(SOURCE.includes(piece), `nothing in the source says "${piece}", of ${heading}`);
        pieces++;
      }
    }
  }
  assert(pieces > 40, "messages are quoted");
});
