import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { ADD_FLAGS } from "./add_line.ts";
import { asksFor, type Flag, parseFlags, parseLine, spreadLetters } from "./flags.ts";

const FLAGS = [
  { name: "size", kind: "size", required: true, help: "" },
  { name: "max-io", kind: "size", min: 4096, max: 1 << 20, multipleOf: 4096, help: "" },
  { name: "block-size", kind: "size", choices: [512, 4096], help: "" },
  { name: "id", short: "n", kind: "integer", min: 0, max: 9, help: "" },
  { name: "read-only", short: "r", kind: "switch", help: "" },
  { name: "verbose", short: "v", kind: "count", help: "" },
] as const satisfies readonly Flag[];

const parse = (...args: string[]) => parseFlags("tool", FLAGS, args);

Deno.test("parseFlags reads every kind of flag", () => {
  const values = parse("--size", "64M", "--max-io=8K", "-n", "3", "-r", "-vv", "--verbose");
  assertEquals(values, {
    size: 64 << 20,
    "max-io": 8192,
    "block-size": undefined,
    id: 3,
    "read-only": true,
    verbose: 3,
  });
});

Deno.test("parseFlags leaves out what was not given", () => {
  const values = parse("--size=1");
  assertEquals(values.size, 1);
  assertEquals(values.id, undefined);
  assertEquals(values["read-only"], false);
  assertEquals(values.verbose, 0);
});

// Arguments, and the complete message for each.
const MISTAKES: readonly [string, string][] = [
  ["", "--size: it is missing; see `tool --help`"],
  ["--size", "--size: it needs a value; see `tool --help`"],
  ["--size=", "--size: it needs a value; see `tool --help`"],
  ["--size --read-only", "--size: it needs a value; see `tool --help`"],
  ["--size -v", "--size: it needs a value; see `tool --help`"],
  ["--size 0", '--size: "0" is an empty size: give at least 1 byte'],
  ["--size -5", '--size: "-5" is negative: a size is at least 1 byte'],
  ["--size 1 --size 2", "--size: it is given more than once; give it once"],
  ["--size 1 --max-io 1K", "--max-io: 1K is out of range; use 4096 to 1048576"],
  ["--size 1 --max-io 5000", "--max-io: 5000 is not a multiple of 4096; 8192 is"],
  ["--size 1 --block-size 2K", "--block-size: 2K is not possible; use one of 512, 4096"],
  ["--size 1 --id x", '--id: "x" is not a whole number; give one in digits'],
  ["--size 1 --id 1.5", '--id: "1.5" is not a whole number; give one in digits'],
  ["--size 1 -n -1", "--id: -1 is out of range; use 0 to 9"],
  ["--size 1 --id 10", "--id: 10 is out of range; use 0 to 9"],
  ["--size 1 --read-only=no", "--read-only: it takes no value; see `tool --help`"],
  ["--size 1 --no-read-only", "--no-read-only: unknown flag; see `tool --help`"],
  ["--size 1 --colour=red", "--colour: unknown flag; see `tool --help`"],
  ["--size 1 -x", "-x: unknown flag; see `tool --help`"],
  ["--size 1 -vx", "-vx: unknown flag; see `tool --help`"],
  ["--size 1 junk", "junk: unexpected argument; see `tool --help`"],
  ["--size 1 -- junk", "junk: unexpected argument; see `tool --help`"],
];

for (const [line, message] of MISTAKES) {
  Deno.test(`parseFlags names cause and remedy of: tool ${line}`, () => {
    const args = line === "" ? [] : line.split(" ");
    const error = assertThrows(() => parse(...args), UblkError);
    assertEquals(error.message, message);
    assertEquals(error.code, "INVALID_ARGUMENT");
  });
}

const GETOPT = [
  { name: "auto-copy", aliases: ["auto-zc"], kind: "switch", help: "" },
  { name: "queues", short: "q", kind: "integer", help: "" },
  { name: "get-data", short: "g", kind: "switch", takesBit: true, help: "" },
  { name: "user-copy", short: "u", kind: "switch", help: "" },
  { name: "rate", kind: "number", min: 0, max: 1, help: "" },
  { name: "path", kind: "text", help: "" },
] as const satisfies readonly Flag[];

Deno.test("parseLine reads what getopt reads, and words anywhere", () => {
  const remedies = { seeHelp: "", unknown: "" };
  const read = (line: string) => parseLine(GETOPT, line.split(" "), remedies);
  const { values, words } = read("007 --auto_zc -q4 0x10 -gu --rate .5 --path=-x -- --last");
  assertEquals(words, ["007", "0x10", "--last"]);
  assertEquals(values, {
    "auto-copy": true,
    queues: 4,
    "get-data": true,
    "user-copy": true,
    rate: 0.5,
    path: "-x",
  });
  assertEquals(read("--get_data 0 1").values["get-data"], false);
  // The short form takes no value.
  assertEquals(read("-g 0").words, ["0"]);
});

Deno.test("asksFor prefers the help to any mistake", () => {
  assertEquals(asksFor(["--junk", "-h"]), "help");
  assertEquals(asksFor(["--version", "--help"]), "help");
  assertEquals(asksFor(["--version"]), "version");
  assertEquals(asksFor(["--size", "1"]), undefined);
});

Deno.test("spreadLetters + clusters of letters + takes apart what is known", () => {
  const cases: [string, string][] = [
    ["-uvvt loop", "-u -v -v -t loop"],
    ["-vvn 0", "-v -v -n 0"],
    ["-n0 -q2 -vv", "-n0 -q2 -v -v"],
    ["-uvvtloop", "-u -v -v -tloop"],
    ["-n=0 --id 3 - file", "-n=0 --id 3 - file"],
    ["-u%v -ux", "-u%v -ux"],
    ["-u -- -vv", "-u -- -vv"],
  ];
  for (const [line, spread] of cases) {
    assertEquals(spreadLetters(ADD_FLAGS, line.split(" ")).join(" "), spread);
  }
});
