import { assertEquals, assertRejects } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import type { DeviceRecord } from "../devices/records.ts";
import { parseRecover } from "./recover_line.ts";

const RECORD: DeviceRecord = {
  id: 0,
  program: "ublk",
  target: "loop",
  argv: ["-t", "loop", "-q", "3", "-r", "1", "disk.img"],
  cwd: "/there",
  pid: 1,
  startTicks: 1,
  log: null,
  socket: null,
};

const parse = (line: string, record?: DeviceRecord) =>
  parseRecover(line.split(" "), () => Promise.resolve(record), "/here");

Deno.test("parseRecover without --type serves as the record says", async () => {
  const line = await parse("-n 0 --quiet", RECORD);
  assertEquals(line.id, 0);
  assertEquals([line.target.name, line.options.queues, line.values.quiet], ["loop", 3, true]);
  assertEquals((line.backend.options as { path: string }).path, "/there/disk.img");
  assertEquals([line.argv, line.cwd, line.explicit], [RECORD.argv, "/there", false]);
});

Deno.test("parseRecover serves metrics where the record says, or where it is told to", async () => {
  const record = { ...RECORD, argv: [...RECORD.argv, "--metrics", "127.0.0.1:9100"] };
  assertEquals((await parse("-n 0", record)).metrics, "127.0.0.1:9100");
  assertEquals((await parse("-n 0 --metrics unix:/m", record)).metrics, "unix:/m");
  assertEquals((await parse("-n 0", RECORD)).metrics, undefined);
});

Deno.test("parseRecover logs as much as the record says, or as it is told to", async () => {
  const record = { ...RECORD, argv: [...RECORD.argv, "-v"] };
  assertEquals((await parse("-n 0", record)).options.logLevel, 10);
  assertEquals((await parse("-vvn 0", record)).options.logLevel, 5);
  assertEquals((await parse("-n0 --quiet", record)).options.logLevel, 30);
  assertEquals((await parse("-uvvt loop -n 0 x.img")).options.logLevel, 5);
});

Deno.test("parseRecover with --type needs no record", async () => {
  const line = await parse("-n 4 -t null -q 2 -r 1 -b");
  assertEquals([line.id, line.target.name, line.cwd], [4, "null", "/here"]);
  assertEquals([line.options.queues, line.options.batch, line.explicit], [2, true, true]);
});

const SEE = "see `ublk recover --help`";

/** Each line, the record there is, and all of the message. */
const MISTAKES: readonly [string, DeviceRecord | undefined, string, string][] = [
  ["-t null", undefined, "INVALID_ARGUMENT", `--id: it is missing; ${SEE}`],
  ["--quiet", RECORD, "INVALID_ARGUMENT", `--id: it is missing; ${SEE}`],
  [
    "-n 0 -t loop --config f.toml disk.img",
    RECORD,
    "INVALID_ARGUMENT",
    "--config: it is for `ublk add`; give the flags themselves, or leave it out",
  ],
  [
    "-n 0 -q 4",
    RECORD,
    "INVALID_ARGUMENT",
    "-q: unknown flag; " +
    "without --type all is as it was; to change it, give --type and all flags",
  ],
  [
    "-n 0 file",
    RECORD,
    "INVALID_ARGUMENT",
    `file: unexpected argument without --type; ${SEE}`,
  ],
  [
    "-n 0",
    undefined,
    "CONTROL_FAILED",
    "recover (device 0): there is no record of its server; name the target and its flags, with -t",
  ],
  [
    "-n 0",
    { ...RECORD, program: "ublk-mem" },
    "CONTROL_FAILED",
    "recover (device 0): ublk-mem served it; name the target and its flags, with -t",
  ],
  [
    "-n 0",
    { ...RECORD, argv: ["-t", "mem", "--size", "1M"] },
    "CONTROL_FAILED",
    "recover (device 0): what mem held is gone with its server; to go on without it, add -t mem",
  ],
];

for (const [line, record, code, message] of MISTAKES) {
  const known = record === undefined ? "no record" : `${record.program} ${record.argv.join(" ")}`;
  Deno.test(`parseRecover refuses: ublk recover ${line} (${known})`, async () => {
    const error = await assertRejects(() => parse(line, record), UblkError);
    assertEquals([error.code, error.message], [code, message]);
  });
}
