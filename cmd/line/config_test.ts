import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { Excerpt } from "../program/excerpt.ts";
import { expandConfig } from "./config.ts";
import { eachSeed } from "../../tests/seeds.ts";
import { Dice } from "../../uapi/dice.ts";

/**
 * Expands a file with this text. In the result, `FILE` stands for its path and `DIR` for its
 * folder.
 */
async function expand(text: string, args: string[] = [], name = "x.toml"): Promise<string[]> {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/${name}`;
  try {
    await Deno.writeTextFile(path, text);
    const lines = await expandConfig(["--config", path, ...args], "/cwd");
    return lines.map((line) => line.join(" ").replaceAll(folder, "DIR"));
  } catch (error) {
    if (!(error instanceof UblkError)) throw error;
    assertEquals([error.code, error.message.includes("\n")], ["INVALID_ARGUMENT", false]);
    throw new Error(error.message.replaceAll(path, "FILE").replaceAll(folder, "DIR"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("expandConfig makes a command line of a file with one device", async () => {
  const text = `
    type = "loop"
    files = ["disk.img", "/meta"]
    queues = 4
    user_copy = true        # as with flags, _ and - are the same
    read-only = false
    metadata-size = 64
    verbose = 2
    wrap = ["cow:changes.cow", { name = "delay", read = "10ms", write = 5 }]
  `;
  assertEquals(await expand(text), [
    "--type=loop --queues=4 --user-copy --metadata-size=64 --verbose --verbose " +
    "--wrap=cow:file=DIR/changes.cow --wrap=delay:read=10ms,write=5 -- DIR/disk.img /meta",
  ]);
});

Deno.test("expandConfig makes one of each device, and JSON is the same", async () => {
  const toml = `[[device]]\ntype = "null"\nid = 1\n[[device]]\ntype = "mem"\nsize = "64M"\n`;
  const json = '{"device": [{"type": "null", "id": 1}, {"type": "mem", "size": "64M"}]}';
  const expected = ["--type=null --id=1", "--type=mem --size=64M"];
  assertEquals(await expand(toml), expected);
  assertEquals(await expand(json, [], "x.json"), expected);
});

Deno.test("expandConfig reads what begins with a byte order mark, and nothing but UTF-8", async () => {
  for (const name of ["x.toml", "x.json"]) {
    const text = name === "x.json" ? '{"type": "null"}' : 'type = "null"';
    assertEquals(await expand(`\ufeff${text}`, [], name), ["--type=null"]);
  }
  const file = await Deno.makeTempFile({ suffix: ".toml" });
  await Deno.writeFile(file, Uint8Array.of(0x23, 0xff));
  const { message } = await assertRejects(() => expandConfig(["--config", file], "/"), UblkError);
  assertStringIncludes(message, "it is no text in UTF-8; give the path of a TOML or JSON file");
  await Deno.remove(file);
});

Deno.test("expandConfig lets the command line win, under any name of a flag", async () => {
  const text = `type = "loop"\nfiles = "a"\nqueues = 4\nnthreads = 4\ncreate = true\nsize = "1M"\n`;
  assertEquals(await expand(text, ["-q2", "--threads", "2", "b"]), [
    "--type=loop --create --size=1M -q2 --threads 2 b",
  ]);
});

Deno.test("expandConfig gives the options of a module to it", async () => {
  const module = new URL("../../tests/backends/counting.ts", import.meta.url).href;
  const text = `type = "${module}"\n[options]\nsize = 4096\n[options.deep]\nlist = [1, 2]\n`;
  assertEquals(await expand(text), [
    `--type=${module} --options={"size":4096,"deep":{"list":[1,2]}}`,
  ]);
});

Deno.test("expandConfig takes a list of names as one", async () => {
  const source = `export const target = { options: [
    { name: "ops", kind: "names", choices: ["read", "write", "trim"], help: "Which." },
  ] };
  export function open() {}`;
  const module = `data:text/javascript;base64,${btoa(source)}`;
  assertEquals(await expand(`type = "${module}"\nops = ["read", "trim"]\n`), [
    `--type=${module} --ops=read+trim`,
  ]);
});

/** File texts, and the error line for each. */
const MISTAKES: readonly [string, string][] = [
  ["type = ", "FILE:1:8: Unspecified values are invalid; see docs/config.md"],
  [
    'type = "null"\ntype = "mem"\n',
    "FILE:2:1: Defining a key multiple times is invalid; see docs/",
  ],
  ['\ntype = "tape"\n', "FILE:2:8: type: there is no target tape; use one of null, "],
  ["queues = 1\n", "FILE:1:1: --type: it is missing; use one of null, "],
  ['type = "null"\nqeues = 1\n', "FILE:2:1: qeues: unknown key; did you mean queues?"],
  ['type = "null"\nqueues = -1\n', "FILE:2:10: queues: -1 is out of range; use 0 to 4096"],
  [
    'type = "null"\nqueues = "two"\n',
    'FILE:2:10: queues: "two" is not a whole number; give one in',
  ],
  ['type = "null"\nqueues = true\n', "FILE:2:10: queues: true is not a whole number; give one in"],
  ['type = "null"\nread_only = "yes"\n', "FILE:2:13: read_only: yes is neither true nor false"],
  ['type = "null"\nsize = "1X"\n', 'FILE:2:8: size: "1X" is'],
  ['type = "null"\nverbose = true\n', "FILE:2:11: verbose: true is no count; write 0, 1 or 2"],
  ['type = "null"\nverbose = 1.5\n', "FILE:2:11: verbose: 1.5 is no count; write 0, 1 or 2"],
  [
    'type = "null"\nwrap = [{ name = "cow", flie = "data.cow" }]\n',
    "FILE:2:8: wrap: cow: there is no option flie; it has file, block",
  ],
  ['type = "null"\nwrap = ["foil"]\n', "FILE:2:8: wrap: there is no wrapper foil; use one"],
  ['type = "null"\nwrap = [3]\n', "FILE:2:8: wrap: 3 is no wrapper; write "],
  ['type = "loop"\nfiles = [3]\n', 'FILE:2:9: files: 3 is no path; write files = ["disk.img"]'],
  [
    'type = "null"\nzzzz = 1\n',
    "FILE:2:1: zzzz: unknown key; null has size; see `ublk add --help`",
  ],
  [
    'type = "volume"\nname = "db"\nwithout-journal = true\n',
    "FILE:3:1: without-journal: it is for one start; give it on the command line",
  ],
  ["[[devices]]\n", "FILE:1:1: devices: unknown key; did you mean [[device]]?"],
  ["[[disk]]\n", "FILE:1:1: disk: unknown key; write [[device]] before each device"],
  [
    'type = "null"\nwrap = ["dealy"]\n',
    "FILE:2:8: wrap: there is no wrapper dealy; did you mean delay?",
  ],
  ['type = "nul"\n', "FILE:1:8: type: there is no target nul; did you mean null?"],
  [
    'type = "null"\nrecovery = "reisue"\n',
    "FILE:2:12: recovery: reisue is not possible; did you mean rei",
  ],
  ['type = "null"\nfiles = "a"\n', "null takes no files; leave it out"],
  ['type = "null"\nconfig = "a"\n', "FILE:2:1: config: unknown key"],
  [
    'type = "null"\nzero-copy = true\n\nget-data = true\n',
    "FILE:4:12: get-data and zero-copy: data travels one way only; give one of them",
  ],
  ['[[device]]\ntype = "null"\n[other]\na = 1\n', "FILE:3:1: other: it stands beside a list of"],
  ["device = []\n", "FILE:1:1: device: it is no list of devices; write [[device]] before each"],
  ["device = [3]\n", "FILE:1:1: it is no table of options; write key = value"],
  [
    '[[device]]\ntype = "null"\nid = 3\n[[device]]\ntype = "null"\nid = 3\n',
    "FILE:6:6: id: 3 is that of FILE:1:1; change one",
  ],
];

for (const [text, expected] of MISTAKES) {
  Deno.test(`expandConfig names file and line of: ${text.trim().replaceAll("\n", " | ")}`, async () => {
    const { message } = await assertRejects(() => expand(text), Error);
    assertStringIncludes(message, expected);
  });
}

for (
  const [text, expected] of [
    ['{\n "type": "null"\n "queues": 1}', "FILE:3:2: comma expected; see docs/config.md"],
    ['{\n "type": "null",\n "type": "mem"}', 'FILE:3:2: "type" is there twice; see docs/config.md'],
    ["", "FILE:1:1: value expected; see docs/config.md"],
    ["[]", "FILE:1:1: it is no table of options; write key = value"],
    [
      '{"device": [\n {"type": "null"},\n {"type": "null",\n  "depth": 0}]}',
      "FILE:4:12: depth: 0 is out of range; use 1 to 4096",
    ],
  ]
) {
  Deno.test(`expandConfig names file and line of JSON: ${text.replaceAll("\n", " ")}`, async () => {
    const { message } = await assertRejects(() => expand(text, [], "x.json"), Error);
    assertEquals(message, expected);
  });
}

Deno.test("expandConfig + a mistake of a value + shows its line and a mark", async () => {
  const cases: [text: string, lines: string[]][] = [
    ['type = "null"\n  queues = -1\n', ["  2 |   queues = -1", "    |            ^"]],
    ["a = = 1", ["  1 | a = = 1", "    |     ^"]],
    // In text from the file, each character counts with the width at which it is shown.
    ['a = "\x9b" # \u202e\nb b', ["  2 | b b", "    |   ^"]],
    ['"\u202e" b', ['  1 | "\\u202e" b', "    |          ^"]],
    [`type = "null"\n\tdepth = 0 # ${"x".repeat(99)}`, [
      `  2 | \\tdepth = 0 # ${"x".repeat(26)}…`,
      "    |           ^",
    ]],
    [`type = "${"x".repeat(70)}"; id = 3`, [
      `  1 | …${"x".repeat(49)}"; id = 3`,
      `    | ${" ".repeat(51)}^`,
    ]],
  ];
  for (const [text, lines] of cases) {
    const path = await Deno.makeTempFile({ suffix: ".toml" });
    await Deno.writeTextFile(path, text);
    const error = await assertRejects(() => expandConfig(["--config", path], "/"), UblkError);
    await Deno.remove(path);
    assertEquals(Excerpt.linesOf(error.cause), lines, error.message);
  }
});

Deno.test("expandConfig says that there is no file, or no name of one", async () => {
  const message = async (...args: string[]) =>
    (await assertRejects(() => expandConfig(args, "/cwd"), UblkError)).message;
  assertStringIncludes(
    await message("--config", "/no/such"),
    "--config /no/such: there is no such",
  );
  assertStringIncludes(await message("--config"), "--config: it needs a value; give the path of");
  assertStringIncludes(await message("--config", "/"), "--config /: it is a directory; give");
  // Regression: it was read for ever.
  assertStringIncludes(
    await message("--config", "/dev/zero"),
    "--config /dev/zero: it is longer than any file of options; give",
  );
  const file = await Deno.makeTempFile({ suffix: ".toml" });
  await Deno.writeTextFile(file, 'type = "null"');
  assertStringIncludes(
    await message("--config", file, "--config", file),
    "--config: it is given more than once; give it once",
  );
  await Deno.remove(file);
});

/**
 * Values that JavaScript has no number for, or represents as another one; each as written in a
 * file.
 */
const ODD_VALUES: readonly [string, string][] = [
  ['type = "mem"\nsize = nan', "FILE:2:8: size: nan is not a size"],
  ['type = "mem"\nsize = -inf', "FILE:2:8: size: -inf is not a size"],
  ['type = "mem"\nsize = 2026-11-28', "FILE:2:8: size: 2026-11-28 is not a size"],
  ['type = "mem"\nsize = 07:32:00', "FILE:2:8: size: 07:32:00 is not a size"],
  ['type = "mem"\nsize = 9007199254740993', "FILE:2:8: size: 9007199254740993 is not a size"],
  ['type = "mem"\nsize = 1e400', "FILE:2:8: size: 1e400 is not a size"],
  ['type = "mem"\nsize = 1.5', "FILE:2:8: size: 1.5 is not a size"],
  ['type = "mem"\nread_only = nan', "FILE:2:13: read_only: nan is neither true nor false"],
  ['type = "null"\nqueues = +inf', "FILE:2:10: queues: +inf is not a whole number"],
  ['type = "null"\nqueues = 0x1_0000', "FILE:2:10: queues: 0x1_0000 is out of range"],
  ['type = "null"\nverbose = nan', "FILE:2:11: verbose: nan is no count"],
  ['type = "null"\nwrap = inf', "FILE:2:8: wrap: inf is no wrapper"],
  ['type = "null"\nwrap = { name = "delay", read = nan }', "read=nan is not possible"],
  ['type = "loop"\nfiles = [nan]', "FILE:2:9: files: nan is no path"],
  ["type = nan", "FILE:1:8: type: nan is not possible"],
];

for (const [text, message] of ODD_VALUES) {
  Deno.test(`expandConfig + ${text.replace("\n", ", ")} + quotes it as it is written`, async () => {
    const error = await assertRejects(() => expand(text));
    assertStringIncludes((error as Error).message, message);
  });
}

Deno.test("expandConfig + a number of JSON beyond 2^53 + quotes it as it is written", async () => {
  for (const written of ["9007199254740993", "1e400", "-9007199254740993"]) {
    const text = `{"type": "mem", "size": ${written}}`;
    const error = await assertRejects(() => expand(text, [], "x.json"));
    assertStringIncludes((error as Error).message, `size: ${written} is not a size`);
  }
});

Deno.test("expandConfig + what a parser would overflow the stack with + is a line with its place", async () => {
  const many = "[".repeat(20_000) + "]".repeat(20_000);
  const cases: [string, string, string][] = [
    ["x.toml", `type = "null"\nx = ${many}`, "FILE:2:69: it is nested deeper than 64 brackets"],
    ["x.toml", `x = ${"{a=".repeat(20_000)}`, "FILE:1:197: it is nested deeper than 64"],
    ["x.json", many, "FILE:1:65: it is nested deeper than 64 brackets"],
    ["x.json", '{"a":'.repeat(20_000), "FILE:1:321: it is nested deeper than 64 brackets"],
    ["x.toml", `type = "null"\nwrap = "cow:${",".repeat(200_000)}"`, "FILE:2:8: it has a text of"],
    ["x.json", `{"wrap": "${",".repeat(200_000)}"}`, "FILE:1:10: it has a text of more than 65536"],
    ["x.toml", `x = """${"\n".repeat(200_000)}"""`, "FILE:1:5: it has a text of more than 65536"],
    ["x.toml", "#".repeat(2 ** 20 + 1), "FILE:1:1: it has more than 1048576 characters"],
  ];
  for (const [name, text, message] of cases) {
    const error = await assertRejects(() => expand(text, [], name));
    assertStringIncludes((error as Error).message, message);
  }
});

Deno.test("expandConfig + brackets within strings and comments + are none", async () => {
  const brackets = "[{".repeat(100);
  const text = `# ${brackets}\ntype = "null" # ${brackets}
    wrap = ["error:write='${brackets}'"]`;
  const error = await assertRejects(() => expand(text));
  assertStringIncludes((error as Error).message, "FILE:3:12: wrap:");
  const strings = [
    `x = "\\"${brackets}"`,
    `x = '${brackets}'`,
    `x = """"${brackets}\n\\""${brackets}"""`,
    `x = '''${brackets}\n'${brackets}'''`,
  ];
  for (const one of strings) {
    const unknown = await assertRejects(() => expand(`type = "null"\n${one}`));
    assertStringIncludes((unknown as Error).message, "FILE:2:1: x: unknown key");
  }
});

Deno.test("expandConfig + seeded hostile files + each is lines, or one line of error", async (t) => {
  const words = [
    ...["type", "size", "files", "wrap", "device", "id", "options", "__proto__", '"\\u001b[2J"'],
    ...["=", "=", "=", ".", ",", "[", "]", "[[", "]]", "{", "}", "\n", "\n", "#", '"', "'", '"""'],
    ...[
      "nan",
      "-inf",
      "1e999",
      "-0",
      "0x",
      "2026-02-30",
      "true",
      '"mem"',
      '"loop"',
      '"1M"',
      "'\x1b'",
    ],
    ...[
      "\u202e",
      "\x9b",
      "\ud800",
      "\0",
      ":",
      "null",
      "1",
      "\\",
      "[[device]]\n",
      'type = "null"\n',
    ],
  ];
  await eachSeed(t, 1500, async (seed) => {
    const dice = new Dice(seed);
    const next = (limit: number) => dice.draw(limit);
    const text = Array.from({ length: next(25) }, () => words[next(words.length)]).join(" ");
    const name = seed % 3 === 0 ? "x.json" : "x.toml";
    // `expand` rethrows anything but a one-line UblkError.
    try {
      await expand(text, [], name);
    } catch (error) {
      if ((error as Error).constructor !== Error) {
        throw new Error(JSON.stringify(text), { cause: error });
      }
      // deno-lint-ignore no-control-regex
      assertEquals(/[\x00-\x1f\x7f-\x9f\u202e]/.test((error as Error).message), false);
    }
  });
});
