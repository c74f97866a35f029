import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { WRAPPERS } from "../../backends/wrappers.ts";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { parseAdd } from "./add_line.ts";
import { wrappersHelp } from "./wraps.ts";

// Opened once, before any test, because the sanitizer would report a leak.
openAllOfLibc();

const parse = (line: string) => parseAdd("ublk add", line.split(" "), "/here");

/** The modules of a stack and their options, outermost first. */
async function stackOf(line: string): Promise<[string, unknown][]> {
  const layers: [string, unknown][] = [];
  for (let spec = (await parse(line)).backend;; spec = spec.inner[0]) {
    layers.push([/(\w+)\.ts$/.exec(spec.module)![1], spec.options]);
    if (spec.inner === undefined) return layers.slice(0, -1);
  }
}

/** Command lines, and the wrappers that result. */
const STACKS: [string, [string, unknown][]][] = [
  ["-t mem", []],
  ["-t mem --wrap readonly", [["readonly", {}]]],
  ["--wrap readonly -t mem --wrap partition:2", [["readonly", {}], ["partition", { number: 2 }]]],
  ["-t mem --wrap delay:10ms", [["delay", { all: 10 }]]],
  ["-t mem --wrap delay:read=10ms,write=1.5s", [["delay", { read: 10, write: 1500 }]]],
  ["-t mem --wrap=delay:1s,read=0", [["delay", { all: 1000, read: 0 }]]],
  ["-t mem --wrap offset:1M,size=64K", [["offset", { start: 1 << 20, size: 65536 }]]],
  ["-t mem --wrap offset:0", [["offset", { start: 0 }]]],
  ["-t mem --wrap cow:a.cow", [["cow", { file: "/here/a.cow" }]]],
  ["-t mem --wrap cow:file=/b.cow,block=4K", [["cow", { file: "/b.cow", block: 4096 }]]],
  ["-t mem --wrap cow:a,,b=c", [["cow", { file: "/here/a,b=c" }]]],
  ["-t mem --wrap rate:10M,iops=500", [["rate", { bytes: 10 << 20, iops: 500 }]]],
  [
    "-t mem --wrap cache:1M,mode=write-back",
    [["cache", { size: 1 << 20, mode: "write-back", block: 4096 }]],
  ],
  [
    "-t mem --wrap error:ENOSPC,rate=0.5,ops=write+zero,range=1M-2M",
    [["error", {
      errno: "ENOSPC",
      rate: 0.5,
      ops: ["write", "zero"],
      range: { offset: 1 << 20, length: 1 << 20 },
    }]],
  ],
];

for (const [line, expected] of STACKS) {
  Deno.test(`--wrap understands: ublk add ${line}`, async () =>
    assertEquals(await stackOf(line), expected));
}

/** Command lines, and the complete message for each. */
const MISTAKES: [string, string][] = [
  [
    "-t mem --wrap foil",
    "--wrap: there is no wrapper foil; use one of readonly, offset, partition, cow, cache, rate, " +
    "delay, error, stats, log",
  ],
  ["-t mem --wrap", "--wrap: it needs a value; see `ublk add --help`"],
  ["-t mem --wrap readonly:x", "--wrap readonly: there is no option x; it has none"],
  [
    "-t mem --wrap delay:1s,rea=2s",
    "--wrap delay: there is no option rea; it has all, read, write, flush, trim, zero",
  ],
  ["-t mem --wrap cow:flie=a.cow", "--wrap cow: there is no option flie; it has file, block"],
  ["-t mem --wrap delay:read", "--wrap delay: read needs a value; write read=…"],
  ["-t mem --wrap delay:read=1s,read=2s", "--wrap delay: read is given twice; give it once"],
  [
    "-t mem --wrap delay:read=x",
    "wrapper delay: read=x is not possible; write milliseconds, or a time with a unit: 10ms, 1.5s, 2m",
  ],
  ["-t mem --wrap cow", "wrapper cow: file is missing; give file=…"],
  ["-t mem --wrap partition:0", "wrapper partition: number=0 is not possible; use 1 to 1048576"],
];

for (const [line, message] of MISTAKES) {
  Deno.test(`--wrap names cause and remedy of: ublk add ${line}`, async () => {
    const error = await assertRejects(() => parse(line), UblkError);
    assertEquals([error.code, error.message], ["INVALID_ARGUMENT", message]);
  });
}

Deno.test("--wrap of a wrapper that never writes opens the target for reading only", async () => {
  const readOnly = async (line: string) => {
    let spec = (await parse(line)).backend;
    while (spec.inner !== undefined) spec = spec.inner[0];
    return (spec.options as { readOnly: boolean }).readOnly;
  };
  assertEquals(await readOnly("-t loop a --wrap cow:over"), true);
  assertEquals(await readOnly("-t loop a --wrap delay:1s --wrap readonly --wrap offset:1M"), true);
  assertEquals(await readOnly("-t loop a --wrap delay:1s"), false);
  assertEquals(
    (await parse("-t loop a --wrap cow:over")).options.readOnly,
    undefined,
    "the device is not",
  );
});

Deno.test("--wrap with a cache that writes back makes a disk that cannot be recovered", async () => {
  const persistent = async (line: string) => (await parse(line)).target.persistent;
  assertEquals(await persistent("-t loop a --wrap cache:1M"), true);
  assertEquals(await persistent("-t loop a --wrap readonly --wrap cache:mode=write-back"), false);
  assertEquals(await persistent("-t mem --wrap cache"), false);
});

Deno.test("the help and docs/wrappers.md have every wrapper and each of its options", () => {
  const help = wrappersHelp();
  const page = Deno.readTextFileSync(new URL("../../docs/wrappers.md", import.meta.url));
  for (const { name, options } of WRAPPERS) {
    assertStringIncludes(help, `\n${name}: `);
    const [, section] = page.split(`\n## ${name}\n`);
    assert(section !== undefined, `docs/wrappers.md has no section of ${name}`);
    for (const option of options) {
      assertStringIncludes(help, `${option.name}=`);
      assertStringIncludes(section.split("\n## ")[0], `**${option.name}=`);
    }
  }
});
