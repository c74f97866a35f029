/**
 * `/run/ublk` full or read-only, as far as no device is needed for it: nothing half-written stays, and
 * what is stale goes.
 */

import { assertEquals, assertMatch } from "@std/assert";
import { ROOT, withPrivateDev } from "./_run_command.ts";

/** Runs a program where `/run/ublk` is mounted as `mount` says; returns what it prints, as JSON. */
async function inside(mount: string, source: string): Promise<unknown> {
  const [program, ...args] = [
    ...withPrivateDev(`mount -t tmpfs none /run && mkdir /run/ublk && ${mount}`),
    ...[
      Deno.execPath(),
      "eval",
      `import * as records from "${ROOT}cmd/devices/records.ts"; ${source}`,
    ],
  ];
  const { stdout, stderr } = await new Deno.Command(program, {
    args,
    cwd: ROOT,
    stdin: "null",
    signal: AbortSignal.timeout(60_000),
  }).output();
  const text = new TextDecoder().decode(stdout);
  assertMatch(text, /^[[{"]/, new TextDecoder().decode(stderr));
  return JSON.parse(text);
}

const RECORD = `{ id: 0, program: "ublk", target: "null", version: 2,
  request: { target: "x".repeat(5000), values: {}, files: [], wraps: [], device: {}, process: {} },
  pid: Deno.pid, startTicks: 1, log: null, socket: null }`;
const NAMES = `[...Deno.readDirSync("/run/ublk")].map(({ name }) => name).sort()`;

/** Where a record cannot be written, and what is there before and after. */
const REFUSING: readonly [name: string, mount: string, message: RegExp, left: string[]][] = [
  [
    "without room",
    "mount -t tmpfs -o size=4k none /run/ublk",
    /^No space left on device \(os error 28\)/,
    [],
  ],
  [
    "without inodes",
    "mount -t tmpfs -o nr_inodes=2 none /run/ublk && touch /run/ublk/1.log",
    /^No space left on device \(os error 28\)/,
    ["1.log"],
  ],
  [
    "that is read-only",
    "touch /run/ublk/1.log && mount --bind -o ro /run/ublk /run/ublk",
    /^Read-only file system \(os error 30\)/,
    ["1.log"],
  ],
];

for (const [name, mount, message, left] of REFUSING) {
  Deno.test({
    name: `writeRecord in a folder ${name} + throws, and leaves nothing half-written`,
    ignore: Deno.uid() !== 0,
    fn: async () => {
      const [thrown, isFileError, names] = await inside(
        mount,
        `let thrown; try { records.writeRecord(${RECORD}); } catch (error) { thrown = error; }
         console.log(JSON.stringify([thrown.message, records.isFileError(thrown), ${NAMES}]));`,
      ) as [string, boolean, string[]];
      assertMatch(thrown, message);
      assertEquals([isFileError, names], [true, left]);
    },
  });
}

// A service with ProcSubset=pid: its server failed and left its device, and no command read a record.
Deno.test({
  name: "a record + without /proc/sys + is written and read as everywhere",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    const [elsewhere, here, other] = await inside(
      "mount -t tmpfs none /proc/sys",
      `
      const write = (id, rest) => Deno.writeTextFileSync("/run/ublk/" + id + ".json",
        JSON.stringify({ ...${RECORD}, id, ...rest }));
      write(1, { boot: "the boot that nobody can tell here" });
      records.writeRecord({ ...${RECORD}, target: "mem" });
      const ids = records.readRecords().map(({ id }) => id);
      const { boot = null } = records.readRecord(0);
      console.log(JSON.stringify([ids, boot, records.recordOf(1, Deno.pid + 1) === undefined]));`,
    ) as [number[], string | null, boolean];
    assertEquals([elsewhere, here, other], [[0, 1], null, true]);
  },
});

/** Bytes of the log of a server before and of the new one's, in pages of 4096; what is kept of the former. */
const FULL: readonly [name: string, before: number, own: number, kept: number][] = [
  ["a long log before", 36864, 16, 36864],
  ["a short log before", 16, 4096, 16],
  ["logs that do not fit together", 4096, 4096, 2048],
];

// The new server's log was emptied first, and then the other's text did not fit.
for (const [name, before, own, kept] of FULL) {
  Deno.test({
    name: `continueLog in a full folder + ${name} + keeps the new server's lines`,
    ignore: Deno.uid() !== 0,
    fn: async () => {
      const [text, names, isSameFile] = await inside(
        "mount -t tmpfs -o size=64k none /run/ublk",
        `const { continueLog } = await import("${ROOT}cmd/server/log_cap.ts");
         const path = (name) => "/run/ublk/" + name;
         const log = Deno.openSync(path("start-1.log"), { append: true, create: true });
         const write = (text) => log.writeSync(new TextEncoder().encode(text));
         write("new line of 16B\\n".repeat(${own / 16}));
         Deno.writeTextFileSync(path("0.log"), "old line of 16B\\n".repeat(${before / 16}));
         try { Deno.writeFileSync(path("filler"), new Uint8Array(1 << 20)); } catch { /* Full. */ }
         continueLog(path("start-1.log"), path("0.log"));
         const text = Deno.readTextFileSync(path("0.log"));
         Deno.removeSync(path("filler"));
         write("later");
         const isSameFile = Deno.readTextFileSync(path("0.log")) === text + "later";
         console.log(JSON.stringify([text, ${NAMES}, isSameFile]));`,
      ) as [string, string[], boolean];
      const [former, latter] = text.split(/^--- above: .* ---\n/m);
      assertEquals(latter, "new line of 16B\n".repeat(own / 16));
      assertEquals(former, "old line of 16B\n".repeat(former.length / 16));
      assertEquals(former.length >= kept - 16, true, `${former.length} bytes are kept`);
      assertEquals([names, isSameFile], [["0.log"], true]);
    },
  });
}

Deno.test({
  name: "sweepRunFolder + files of every kind + removes what is of no use to anybody",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    const names = await inside(
      "touch $D/ublkc7",
      `
      const write = (name, text = "") => Deno.writeTextFileSync("/run/ublk/" + name, text);
      records.writeRecord({ ...${RECORD}, id: 3 });
      write("1.json.999999", "{");            // Its writer died.
      write("1.json." + Deno.pid, "{");       // Its writer is at it.
      write("2.json", "half a rec");          // No device, no record.
      write("3.sock"); write("3.log");        // Of a record.
      write("4.sock");                        // Of nobody.
      write("5.log", "the last words");       // All there is to learn from.
      write("7.json", "half"); write("7.sock"); // Its device is there.
      write("other"); write("8.json.x");
      records.sweepRunFolder();
      console.log(JSON.stringify(${NAMES}.map((name) => name.replace(String(Deno.pid), "PID"))));`,
    );
    assertEquals(names, [
      ...["1.json.PID", "3.json", "3.log", "3.sock", "5.log", "7.json", "7.sock", "8.json.x"],
      "other",
    ]);
  },
});
