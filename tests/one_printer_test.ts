import { assert, assertEquals } from "@std/assert";
import { sources } from "./sources.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** Where a line may leave the process; all else goes through these, which escape. */
const PRINTERS: readonly string[] = [
  "cmd/program/print.ts",
  // The thread that empties the log is stuck.
  "device/last_words.ts",
  // It is installed with the floors below, and without the commands.
  "udev/ublk-own.ts",
  // A thread's console, which the commands have taken for their log.
  "backends/zip/open.ts",
  "queue/console.ts",
];

Deno.test("the source + console, Deno.stdout, Deno.stderr + are used in the one place alone", () => {
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
      "device",
      "cmd",
      "metrics",
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
