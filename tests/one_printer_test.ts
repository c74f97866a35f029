import { assert, assertEquals } from "@std/assert";
import { sources } from "./sources.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** The only files that may print. They escape; all other code prints through them. */
const PRINTERS: readonly string[] = [
  "cmd/program/print.ts",
  // Used when the thread that drains the log is stuck.
  "device/last_words.ts",
  // Installed without the commands, only with the layers below them.
  "udev/ublk-own.ts",
  // Uses a thread's console, which the commands redirect to their log.
  "backends/zip/open.ts",
  "volume/serve.ts",
  "volume/open_disk.ts",
  "volume/open_read_only.ts",
  "queue/console.ts",
  // stdin and stdout are a client's connection there.
  "nbd/stdio.ts",
];

Deno.test("the source + console, Deno.stdout, Deno.stderr + are used only by the printers", () => {
  const printing: string[] = [];
  let count = 0;
  for (
    const folder of [
      "uapi",
      "uring",
      "files",
      "ctrl",
      "queue",
      "backends",
      "disk",
      "store",
      "volume",
      "device",
      "cmd",
      "ebs",
      "metrics",
      "nbd",
      "ebs",
      "udev",
    ]
  ) {
    for (const path of sources(ROOT, [".ts"], `${folder}/`)) {
      if (path.endsWith("_test.ts")) continue;
      count++;
      const code = Deno.readTextFileSync(ROOT + path).replaceAll(
        /^\s*(\*|\/\/|\/\*).*$/gm,
        "",
      );
      if (
        /\bconsole\s*(\.(?!ts")|\[)|\bDeno\.std(out|err)\b|\balert\(|\bas unknown as Console/.test(
          code,
        )
      ) {
        printing.push(path);
      }
    }
  }
  assert(count > 200, "the source is read");
  assertEquals(printing.filter((path) => !PRINTERS.includes(path)), []);
});
