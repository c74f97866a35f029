import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);

/** Where a line may leave the process; all else goes through these, which escape. */
const PRINTERS: readonly string[] = [
  "cmd/_print.ts",
  // The thread that empties the log is stuck.
  "device/last_words.ts",
  // It is installed with the floors below, and without the commands.
  "udev/ublk-own.ts",
  // A thread's console, which the commands have taken for their log.
  "backends/zip/open.ts",
  "queue/console.ts",
];

function* sources(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    if (isDirectory) yield* sources(`${folder}/${name}`);
    else if (name.endsWith(".ts") && !name.endsWith("_test.ts")) yield `${folder}/${name}`;
  }
}

Deno.test("the source + console, Deno.stdout, Deno.stderr + are used in the one place alone", () => {
  const printing: string[] = [];
  let count = 0;
  for (
    const folder of [
      "uapi",
      "uring",
      "ctrl",
      "queue",
      "backends",
      "device",
      "cmd",
      "metrics",
      "udev",
    ]
  ) {
    for (const path of sources(folder)) {
      count++;
      const code = Deno.readTextFileSync(new URL(path, ROOT)).replaceAll(
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
