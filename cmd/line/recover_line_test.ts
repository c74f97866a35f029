import { assertEquals, assertObjectMatch, assertRejects } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import {
  type CurrentRecord,
  type DeviceRecord,
  type OldRecord,
  RECORD_VERSION,
} from "../devices/records.ts";
import { parseAdd } from "./add_line.ts";
import { parseRecover } from "./recover_line.ts";

// Opened once, so that no test appears to leak it.
openAllOfLibc();

const SERVER = {
  id: 0,
  program: "ublk",
  target: "loop",
  pid: 1,
  startTicks: 1,
  log: null,
  socket: null,
};

/** A record as 0.1.0 wrote it. */
const OLD: OldRecord = {
  ...SERVER,
  argv: ["-t", "loop", "-q", "3", "-r", "1", "disk.img"],
  cwd: "/there",
};

const parse = (line: string, record?: DeviceRecord) =>
  parseRecover(line.split(" "), () => Promise.resolve(record), "/here");

/** Writes the record of a disk that a command line adds, and reads it back. */
async function recordOf(line: string, program = "ublk"): Promise<CurrentRecord> {
  const { request, target } = await parseAdd("ublk add", line.split(" "), "/there");
  const record = { ...SERVER, version: RECORD_VERSION, program, target: target.name, request };
  return JSON.parse(JSON.stringify(record));
}

const RECORD = await recordOf("-t loop -q 3 -r 1 disk.img");

/** Command lines that survive the round trip through a record. */
const RECORDED: readonly string[] = [
  "-t loop -q 3 -r 1 disk.img",
  "-t stripe --chunk-size 16K --direct --shared a b",
  "-t null --size 1M --threads 3 -b --affinity 0:1 --deadline 5s --cpus 0-1 --mlock",
  "-t fault_inject --error-range 1M-2M --seed 7 --no-fixed-file",
  "-t loop --wrap cow:over.img --wrap delay:read=10ms base.img --block-size 4K --read-only",
  "-t loop --metadata-size 8 --checksum ip data meta",
  '-t data:text/javascript,export{o%20as%20open};function%20o(){} --options {"a":1} b.img',
];

for (const line of RECORDED) {
  Deno.test(`parseRecover + the record of ublk add ${line} + is the same disk again`, async () => {
    const added = await parseAdd("ublk add", line.split(" "), "/there");
    const again = await parse("-n 0", await recordOf(line));
    const plain = (value: unknown) => JSON.parse(JSON.stringify(value));
    for (const part of ["backend", "options", "request"] as const) {
      assertEquals(plain(again[part]), plain(added[part]), part);
    }
    assertEquals(again.target.name, added.target.name);
  });
}

Deno.test("parseRecover + a volume that was taken without its journal + is served with its journal", async () => {
  const args = "-t volume db --store /s --journal /j --without-journal --force";
  const added = await parseAdd("ublk add", args.split(" "), "/there");
  const taking = { withoutJournal: true, force: true };
  assertObjectMatch(added.backend.options as Record<string, unknown>, taking);
  const record = await recordOf(args);
  const names = ["without-journal", "force"];
  assertEquals(names.map((name) => record.request.values[name]), [undefined, undefined]);
  // Earlier versions kept them in the record.
  const values = { ...record.request.values, "without-journal": true, force: true };
  const old = { ...record, request: { ...record.request, values } };
  for (const one of [record, old]) {
    const line = await parse("-n 0", one);
    const options = line.backend.options as Record<string, unknown>;
    assertObjectMatch(options, { name: "db", withoutJournal: false, force: false });
    assertEquals(names.map((name) => line.request.values[name]), [undefined, undefined]);
  }
  const named = await parse(`-n 0 ${args}`);
  assertObjectMatch(named.backend.options as Record<string, unknown>, taking);
});

Deno.test("parseRecover without --type serves as the record says", async () => {
  for (const record of [RECORD, OLD]) {
    const line = await parse("-n 0 --quiet", record);
    assertEquals(line.id, 0);
    assertEquals([line.target.name, line.options.queues, line.values.quiet], ["loop", 3, true]);
    assertEquals((line.backend.options as { path: string }).path, "/there/disk.img");
    assertEquals([line.request.files, line.explicit], [["/there/disk.img"], false]);
  }
});

Deno.test("parseRecover + a record of 0.1.0 + has what was the default then", async () => {
  const old = async (line: string) => await parse("-n 0", { ...OLD, argv: line.split(" ") });
  const { options, backend } = await old("-t loop --threads 2 disk.img");
  assertEquals([options.queues, options.maxIoBytes], [2, 1 << 20]);
  assertEquals((backend.options as { shared: boolean }).shared, true);
  const exclusive = await old("-t loop --exclusive disk.img");
  assertEquals(exclusive.options.queues, 2);
  assertEquals((exclusive.backend.options as { shared?: boolean }).shared ?? false, false);
});

Deno.test("parseRecover + the record of another program + serves what it has served", async () => {
  const line = await parse("-n 0", await recordOf("-t loop disk.img", "ublk-file"));
  assertEquals((line.backend.options as { path: string }).path, "/there/disk.img");
});

Deno.test("parseRecover serves metrics where the record says, or where it is told to", async () => {
  const record = await recordOf("-t loop --metrics 127.0.0.1:9100 disk.img");
  assertEquals((await parse("-n 0", record)).metrics, "127.0.0.1:9100");
  assertEquals((await parse("-n 0 --metrics unix:/m", record)).metrics, "unix:/m");
  assertEquals((await parse("-n 0", RECORD)).metrics, undefined);
});

Deno.test("parseRecover logs as much as the record says, or as it is told to", async () => {
  const record = await recordOf("-t loop -v disk.img");
  assertEquals((await parse("-n 0", record)).options.logLevel, 10);
  assertEquals((await parse("-vvn 0", record)).options.logLevel, 5);
  assertEquals((await parse("-n0 --quiet", record)).options.logLevel, 30);
  assertEquals((await parse("-uvvt loop -n 0 x.img")).options.logLevel, 5);
});

Deno.test("parseRecover with --type needs no record", async () => {
  const line = await parse("-n 4 -t null -q 2 -r 1 -b");
  assertEquals([line.id, line.target.name, line.request.target], [4, "null", "null"]);
  assertEquals([line.options.queues, line.options.batch, line.explicit], [2, true, true]);
});

const SEE = "see `ublk recover --help`";

/** Command lines, the existing record, and the complete message for each. */
const MISTAKES: readonly [string, DeviceRecord | undefined, string, string][] = [
  [
    "-t null",
    undefined,
    "INVALID_ARGUMENT",
    "DEVICE: it is missing; give its number, or /dev/ublkbN",
  ],
  ["--quiet", RECORD, "INVALID_ARGUMENT", "DEVICE: it is missing; give its number, or /dev/ublkbN"],
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
    { ...OLD, program: "ublk-mem" },
    "CONTROL_FAILED",
    "recover (device 0): ublk-mem served it; name the target and its flags, with -t",
  ],
  [
    "-n 0",
    await recordOf("-t mem --size 1M"),
    "CONTROL_FAILED",
    "recover (device 0): what mem held is gone with its server; to go on without it, add -t mem",
  ],
];

for (const [line, record, code, message] of MISTAKES) {
  const known = record === undefined ? "no record" : `${record.program} ${record.target}`;
  Deno.test(`parseRecover refuses: ublk recover ${line} (${known})`, async () => {
    const error = await assertRejects(() => parse(line, record), UblkError);
    assertEquals([error.code, error.message], [code, message]);
  });
}
