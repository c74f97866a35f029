/**
 * Bad input, as far as an ordinary kernel without ublk can show it: each case is one line that
 * names cause and remedy, an exit code, and nothing left. What needs the driver is in
 * `tests/e2e/command_test.ts`.
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { type BackendSpec, memory, serve, UblkError } from "../../mod.ts";
import { runWithout } from "../seccomp.ts";
import { EPERM } from "../../uapi/errno.ts";
import { openAllOfLibc, SYS_io_uring_setup } from "../../uring/libc.ts";
import {
  asNobody,
  assertOneLine,
  commandLine,
  type CommandName,
  runCommand,
  withPrivateDev,
} from "./_run_command.ts";

// Opened for good, and before a test, whose sanitizer would call it a leak.
openAllOfLibc();

/** Mistakes that come first, whatever user, kernel or module there is. */
const USAGE: readonly [CommandName, string, RegExp][] = [
  ["ublk-mem", "1X", /^ublk-mem: error: --size: "1X" is not a size, there is no unit "X": write /],
  ["ublk-mem", "1M 2M", /2M: unexpected argument; leave it out/],
  ["ublk-mem", "--size", /--size: it needs a value; /],
  ["ublk-mem", "--size 0", /--size: "0" is an empty size: give at least 1 byte/],
  ["ublk-mem", "--size -1G", /--size: "-1G" is negative: a size is at least 1 byte/],
  ["ublk-mem", "--size big", /--size: "big" is not a size: write a number of bytes /],
  ["ublk-mem", "--size 5Q", /--size: "5Q" is not a size, there is no unit "Q": write /],
  ["ublk-mem", "--size 1000", /size 1000 is not a multiple of the block size 512; 1024 is/],
  ["ublk-mem", "--size 513K --block-size 4K", /not a multiple of the block size 4096; 528384 is/],
  ["ublk-mem", "--size 900T", /RAM disk of 900 TiB: the machine has .+; ask for less, or allow it/],
  ["ublk-mem", "--size 1M --block-size 8K", /--block-size: 8K is not possible; use one of 512, /],
  ["ublk-mem", "--size 1M --depth 0", /--depth: 0 is out of range; use 1 to 4096/],
  ["ublk-mem", "--size 1M --depth 4097", /--depth: 4097 is out of range; use 1 to 4096/],
  ["ublk-mem", "--size 1M --queues -1", /--queues: -1 is out of range; use 0 to 4096/],
  ["ublk-mem", "--size 1M --queues 9999", /--queues: 9999 is out of range; use 0 to 4096/],
  ["ublk-mem", "--size 1M --queues two", /--queues: "two" is not a whole number; give one in /],
  ["ublk-mem", "--size 1M --max-io 64M", /--max-io: 64M is out of range; use 4096 to 33554432/],
  ["ublk-mem", "--size 1M --max-io 5000", /--max-io: 5000 is not a multiple of 4096; 8192 is/],
  ["ublk-mem", "--size 1M --id -2", /--id: -2 is out of range; use -1 to 1048575/],
  ["ublk-mem", "--size 1M --sise 2M", /--sise: unknown flag; did you mean --size\?$/m],
  [
    "ublk-mem",
    "--size 1M --colour 2M",
    /--colour: unknown flag; mem has --size, .*; see `ublk-mem --help`/,
  ],
  ["ublk-mem", "--size 1M file", /file: mem takes no files; leave it out/],
  ["ublk-mem", "--size 1M --metrics [::]:1", /--metrics: :: can be reached from other machines; /],
  ["ublk-nbd", "", /^ublk-nbd: error: --type: it is missing; use one of null, mem, /],
  [
    "ublk-nbd",
    "-t mem --listen unix:s",
    /--listen: "unix:s" has no absolute path; use unix:\/PATH, /,
  ],
  ["ublk-nbd", "-t mem --listen tcp:h:70000", /--listen: there is no port 70000; use unix:/],
  ["ublk-nbd", "-t mem --memory 1M", /serve NBD: 1048576 bytes are too few for 64 connections; /],
  ["ublk-nbd", "-t mem --tls-cert c", /--tls-cert and --tls-key: one is missing; give both or ne/],
  ["ublk-nbd", "-t mem --tls-client-ca c", /--tls-client-ca: there is no certificate; give --tls-/],
  [
    "ublk-nbd",
    "-t mem --tls-cert /c --tls-key /k",
    /^ublk-nbd: error: \/c: .+; give a readable fi/,
  ],
  ["ublk-nbd", "-t mem --tls-cert README.md --tls-key README.md", /over TLS: .+; give a certifica/],
  ["ublk-nbd", "-t zoned --listen stdio", /serve NBD: the protocol has no zones; serve it by ublk/],
  ["ublk-nbd", "-t mem --expor a", /--expor: unknown flag; did you mean --export\?$/m],
  ["ublk-nbd", "-t loop", /loop: it needs a file, not 0; give more/],
  ["ublk-null", "--overcommit", /^ublk-null: error: --overcommit: unknown flag; null has /],
  ["ublk-null", "--size 1.0001K", /"1.0001K" is not a whole number of bytes: round it/],
  ["ublk-zip", "", /^ublk-zip: error: zip: it needs a file, not 0; give more/],
  ["ublk-zip", "a.zip b c", /^ublk-zip: error: c: unexpected argument; leave it out/],
  ["ublk-zip", "a.zip b --files", /a member and files exclude each other; drop one/],
  [
    "ublk-zip",
    "/nowhere/a.zip",
    /^ublk-zip: error: \/nowhere\/a\.zip: there is no such file; check the path$/m,
  ],
  [
    "ublk-zip",
    "README.md",
    /^ublk-zip: error: \S+\/README\.md: it is not a zip archive; give a zip arch/,
  ],
  ["ublk", "nonsense", /^ublk: error: nonsense: unknown command; see `ublk --help`/],
  ["ublk", "constructor", /^ublk: error: constructor: unknown command; see `ublk --help`$/m],
  ["ublk", "kublk", /^ublk: error: ublk kublk: it needs a command; see `ublk --help`$/m],
  ["ublk", "kublk lst", /^ublk: error: lst: unknown command; did you mean `ublk list`\?$/m],
  ["ublk", "kublk add --config", /^ublk: error: --config: it needs a value; give the path of a /],
  ["ublk", "remove", /^ublk: error: remove: unknown command; did you mean `ublk del`\?$/m],
  ["ublk", "lst", /^ublk: error: lst: unknown command; did you mean `ublk list`\?$/m],
  ["ublk", "loop a.img", /^ublk: error: loop: unknown command; did you mean `ublk add loop`\?/],
  ["ublk", "--json list", /^ublk: error: --json: unknown flag before a command; put the comm/],
  ["ublk", "help lst", /^ublk: error: lst: unknown command; did you mean `ublk list`\?$/m],
  ["ublk", "info", /DEVICE: it is missing; give its number, or \/dev\/ublkbN$/m],
  ["ublk", "info /dev/ublkb3p1", /ublkb3p1: it is a partition; give the disk: \/dev\/ublkb3$/m],
  ["ublk", "info 0 --jsn", /--jsn: unknown flag; did you mean --json\?$/m],
  ["ublk", "info 1048576", /--id: 1048576 is out of range; use 0 to 1048575/],
  ["ublk", "del", /ublk del: it needs either a device or -a; give its number, or .+ -a for/],
  ["ublk", "rm", /ublk del: it needs either a device or -a; /],
  ["ublk", "del -a 1", /ublk del: it needs either a device or -a; /],
  ["ublk", "delete -a -n 1", /ublk del: it needs either a device or -a; /],
  ["ublk", "stop -n one", /one: it is no device of ublk; give its number, or \/dev\/ublkbN$/m],
  ["ublk", "stop /dev/sda", /\/dev\/sda: it is no device of ublk; give its number, or /],
  ["ublk", "list extra", /extra: it is no device of ublk; give its number, or \/dev\/ublkbN$/m],
  ["ublk", "ls -o ID,MONT", /--output: there is no column "MONT"; did you mean MOUNT\?$/m],
  ["ublk", "list -o ID,", /--output: there is no column ""; use some of ID, PATH, TARGET, /],
  ["ublk", "features extra", /extra: unexpected argument; see `ublk features --help`/],
  ["ublk", "update_size -n 0", /--size: it is missing; see `ublk update_size --help`/],
  ["ublk", "update_size 0 1G 2", /2: unexpected argument; see `ublk update_size --help`/],
  ["ublk", "update-size -n 0 -s 0", /--size: "0" is an empty size: give at least 1 byte/],
  ["ublk", "quiesce", /DEVICE: it is missing; give its number, or \/dev\/ublkbN$/m],
  ["ublk", "completions", /^ublk: error: ublk completions: it needs a shell; use bash, zsh, fish/],
  ["ublk", "completions tcsh", /tcsh: there are no completions for it; use one of bash, zsh, /],
  ["ublk", "completions fissh", /fissh: there are no completions for it; did you mean fish\?$/m],
  ["ublk", "completions bash zsh", /zsh: unexpected argument; name one shell/],
  ["ublk", "set_affinity -n 0 -q 0", /CPULIST: it is missing; see `ublk set_affinity --help`/],
  ["ublk", "set_affinity -n 0 -q 0 x", /x: it is not a list of CPUs; write one such as 0-3,8/],
  ["ublk", "add -t null --affinity 0:y", /y: it is not a list of CPUs; write one such as 0-3,8/],
  ["ublk", "add", /^ublk: error: --type: it is missing; use one of null, mem, /],
  [
    "ublk",
    "add disk.img",
    /^ublk: error: --type: it is missing; use one .+: ublk add loop disk.img/,
  ],
  ["ublk", "add lop a.img", /^ublk: error: --type: it is missing; did you mean `ublk add loop`\?/],
  ["ublk", "add -t files a.img", /--type: there is no target files; did you mean file\?$/m],
  ["ublk", "add -t null --dept 3", /--dept: unknown flag; did you mean --depth\?$/m],
  ["ublk", "add -t null -r reisue", /--recovery: reisue is not possible; did you mean reissue\?$/m],
  ["ublk", "add -t null -r", /-r: it needs a value; use one of 0, 1, queue, reissue, fail$/m],
  [
    "ublk",
    "add -t null --wrap dealy:read=1",
    /--wrap: there is no wrapper dealy; did you mean del/,
  ],
  [
    "ublk",
    "add null --wrap delay:reed=1",
    /--wrap delay: there is no option reed; did you mean read\?/,
  ],
  ["ublk", "add loop -o -f a.img", /-o: it is --read-only of rublk, or --offset of ublksrv; writ/],
  ["ublk", "add -t loop --offset 8 -f a", /--offset: it is of ublksrv, in sectors; write --wrap /],
  ["ublk", "add -t null --foo 3", /--foo: unknown flag; null has --size; see `ublk add --help`/],
  ["ublk", "add -t null -z -g", /--get-data and --zero-copy: data travels one way only; give /],
  [
    "ublk",
    "add -t null --metrics 9100",
    /--metrics: "9100" is not an address with a port; use 127/,
  ],
  [
    "ublk-null",
    "--physical-block-size 512 --block-size 4K",
    /^ublk-null: error: serve: --physical-block-size: 512 is less than a block of the disk \(4096\)/,
  ],
  ["ublk", "top --interval 0", /--interval: 0 is out of range; use 0.1 to 3600/],
  ["ublk", "add --foreground -t null -q x", /--queues: "x" is not a whole number; give one in /],
  ["ublk", "add -t ./none.ts", /^ublk: error: --type: \.\/none\.ts: there is no such file; check/],
  ["ublk", "add --module none.ts", /^ublk: error: --module: none\.ts: there is no such file; che/],
  ["ublk", "recover ublkb0p1", /ublkb0p1: it is a partition; give the disk: \/dev\/ublkb0$/m],
  ["ublk", "recover -t null", /DEVICE: it is missing; give its number, or \/dev\/ublkbN$/m],
];

for (const [name, line, expected] of USAGE) {
  Deno.test(`${name} ${line}: one line, exit 2`, async () => {
    const args = line === "" ? [] : line.split(" ");
    assertOneLine(await runCommand(name, args), 2, expected);
  });
}

/** What is no mistake, whatever user, kernel or module there is; status, and what stdout begins with. */
const TOLD: readonly [CommandName, string, number, RegExp][] = [
  // As for `git`: the commands, and no success for a script that has none.
  ["ublk", "", 2, /^ublk: serve and manage block devices\n\nUsage: /],
  ["ublk", "--help", 0, /^ublk: serve and manage block devices\n\nUsage: /],
  ["ublk", "help", 0, /^ublk: serve and manage block devices\n\nUsage: /],
  ["ublk", "help del", 0, /^ublk del: stop and delete devices/],
  ["ublk", "rm --help", 0, /^ublk del: stop and delete devices/],
  ["ublk", "help -t loop", 0, /^ublk add: [^]*\nOptions of loop:\n/],
  ["ublk", "add loop -h", 0, /^ublk add: [^]*\nOptions of loop:\n/],
  ["ublk", "add --help=all", 0, /^ublk add: [^]*\nIntegrity metadata:\n/],
  ["ublk", "-V", 0, /^ublk \d+\.\d+\.\d+\n$/],
  ["ublk", "-v", 0, /^ublk \d+\.\d+\.\d+\n$/],
  ["ublk", "version", 0, /^ublk \d+\.\d+\.\d+\n$/],
  ["ublk-mem", "-V", 0, /^ublk-mem \d+\.\d+\.\d+\n$/],
  ["ublk", "list -o help", 0, /^ID +The N of \/dev\/ublkbN\.\nPATH /],
];

for (const [name, line, status, expected] of TOLD) {
  Deno.test(`${name} ${line}: is told on stdout, exit ${status}`, async () => {
    const { code, stdout, stderr } = await runCommand(name, line === "" ? [] : line.split(" "));
    assertEquals([code, stderr], [status, ""]);
    assertMatch(stdout, expected);
  });
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

const OPERATIONS: readonly [CommandName, string][] = [
  ["ublk-mem", "--size 1M"],
  ["ublk-null", ""],
  ["ublk", "list"],
  ["ublk", "del -a"],
  ["ublk", "rm /dev/ublkb0 ublkc1"],
  ["ublk", "add -t null"],
  ["ublk", "add --foreground -t null"],
];

/** They ask servers, not the driver, and said that there are no devices. */
const LOOKS: readonly string[] = ["stats", "stats -n 5", "stats --json", "top", "top -n 5"];

for (const line of LOOKS) {
  Deno.test({
    name: `ublk ${line} without the driver says how to load it`,
    ignore: exists("/dev/ublk-control"),
    fn: async () => {
      const ran = await runCommand("ublk", line.split(" "));
      assertOneLine(ran, 1, /: error: open \/dev\/ublk-control: .+ driver is not here .+modprobe/);
    },
  });
}

const isRoot = Deno.uid() === 0;

for (const [name, line] of OPERATIONS) {
  const args = line === "" ? [] : line.split(" ");
  const program = `${name} ${line}`.trim();

  Deno.test({
    name: `${program} without the driver says how to load it`,
    ignore: exists("/dev/ublk-control"),
    fn: async () => {
      const ran = await runCommand(name, args);
      assertOneLine(ran, 1, /: error: open \/dev\/ublk-control: .+ driver is not here .+modprobe/);
    },
  });

  Deno.test({
    name: `${program} as nobody says that it takes root`,
    ignore: !isRoot,
    fn: async () => {
      const dev = withPrivateDev("touch $D/ublk-control; chmod 600 $D/ublk-control");
      const ran = await runCommand(name, args, { wrap: [...dev, ...asNobody()] });
      assertOneLine(ran, 1, /: error: open \/dev\/ublk-control: .+ may not open it .+root/);
    },
  });

  Deno.test({
    name: `${program} where seccomp forbids io_uring says so`,
    ignore: !isRoot,
    fn: async () => {
      const dev = withPrivateDev("touch $D/ublk-control");
      const [run, ...rest] = [...dev, ...commandLine(name, args)];
      // A child inherits the filter.
      const source = `
        const child = new Deno.Command(${JSON.stringify(run)}, {
          args: ${JSON.stringify(rest)}, cwd: ${JSON.stringify(Deno.cwd())},
        }).spawn();
        Deno.exit((await child.status).code);`;
      const ran = await runWithout(SYS_io_uring_setup, EPERM, source);
      assertOneLine(ran, 1, /: error: io_uring_setup: .*(seccomp|forbid).*; /);
    },
  });

  Deno.test({
    name: `${program} with something else at /dev/ublk-control says what is needed`,
    ignore: !isRoot,
    fn: async () => {
      const ran = await runCommand(name, args, { wrap: withPrivateDev("touch $D/ublk-control") });
      assertOneLine(ran, 1, /: error: GET_FEATURES: .+; .*Linux 6\.\d/);
    },
  });
}

/** Serves a specification that must be refused, and checks that nothing stays behind. */
async function refused(backend: BackendSpec, code: UblkError["code"], message: RegExp) {
  const threads = () => [...Deno.readDirSync("/proc/self/task")].length;
  const before = threads();
  const error = await assertRejects(() => serve({ backend }), UblkError);
  assertEquals(error.code, code);
  assertMatch(error.message, message);
  assert(!error.message.includes("\n"), "one line");
  for (let tries = 0; threads() > before + 1 && tries < 1000; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // V8 and tokio may have started a helper thread of their own meanwhile, once.
  assert(threads() <= before + 1, `${threads()} threads, ${before} before`);
}

const module = (source: string) => `data:application/javascript,${encodeURIComponent(source)}`;

Deno.test("serve with a backend module that does not exist names it", async () => {
  const url = new URL("./no_such_backend.ts", import.meta.url).href;
  await refused({ module: url }, "BACKEND_MODULE", /no_such_backend\.ts.*; give the absolute URL/);
});

Deno.test("serve with a backend module that does not parse says where", async () => {
  const spec = { module: module("export function open( {") };
  await refused(spec, "BACKEND_MODULE", /^load backend data:.+; give the absolute URL/);
});

Deno.test("serve with a backend module that throws says what", async () => {
  await refused({ module: module('throw new Error("oops")') }, "BACKEND_MODULE", /: oops; /);
});

Deno.test("serve with a backend module without the export names it", async () => {
  const spec = { module: module("export const x = 1;") };
  await refused(spec, "BACKEND_SHAPE", /it exports no function `open`; export function open/);
  await refused({ ...spec, export: "x" }, "BACKEND_SHAPE", /no usable export `x`; export function/);
});

Deno.test("serve with a backend that is none says what it lacks", async () => {
  const spec = { module: module("export function open() { return { size: 512 }; }") };
  await refused(spec, "BACKEND_SHAPE", /`readAt` is not a function; see the Backend interface/);
});

Deno.test("serve with a backend whose open throws says what", async () => {
  const spec = { module: module('export function open() { throw new Error("no disk"); }') };
  await refused(spec, "BACKEND_OPEN", /: no disk; check its options/);
});

Deno.test("serve refuses numbers out of range before it looks for the driver", async () => {
  const backend = memory("1MiB");
  for (const options of [{ depth: 0 }, { queues: -1 }, { id: 2 ** 20 }, { maxIoBytes: 5000 }]) {
    const error = await assertRejects(() => serve({ backend, ...options }), UblkError);
    assertEquals(error.code, "INVALID_ARGUMENT");
    assertMatch(error.message, /^serve: \w+: .*; (use \S+ to|8192 is)/);
  }
});
