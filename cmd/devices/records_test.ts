import { assert, assertEquals, assertThrows } from "@std/assert";
import { openAllOfLibc, readSmallFile } from "../../uring/libc.ts";
import {
  type CurrentRecord,
  isAlive,
  makeRunFolder,
  parseStartTicks,
  readRecord,
  RECORD_VERSION,
  recordOf,
  recordPath,
  removeRecord,
  startTicksOf,
  sweepRunFolder,
  writeRecord,
} from "./records.ts";
import { runFolder } from "./run_folder.ts";

// Opened once, so that no test appears to leak it.
openAllOfLibc();

Deno.test("parseStartTicks takes field 22, whatever the program is called", () => {
  const rest = "1 1 1 0 -1 4194304 1 0 0 0 1 2 0 0 20 0 1 0 987654 2500000 100";
  assertEquals(parseStartTicks(`4711 (deno) S ${rest}`), 987654);
  assertEquals(parseStartTicks(`4711 (a) b (c) R ${rest}`), 987654);
});

Deno.test("parseStartTicks takes a zombie for dead", () => {
  const rest = "1 1 1 0 -1 4194304 1 0 0 0 1 2 0 0 20 0 1 0 987654 0 0";
  assertEquals(parseStartTicks(`4711 (deno) Z ${rest}`), undefined);
});

Deno.test("startTicksOf knows this process, and none of number -1", () => {
  assert(startTicksOf(Deno.pid)! > 0);
  assertEquals(startTicksOf(-1), undefined);
});

/** A number that no device has, nor another suite or run on this machine. */
const ID = 1_000_000 + Deno.pid % 10_000;

const SERVER = {
  id: ID,
  program: "ublk",
  target: "null",
  pid: Deno.pid,
  startTicks: startTicksOf(Deno.pid)!,
  log: null,
  socket: null,
};

const record: CurrentRecord = {
  ...SERVER,
  version: RECORD_VERSION,
  request: {
    target: "null",
    values: { size: 4096 },
    files: [],
    wraps: [{ name: "readonly", options: {} }],
    device: { queues: 2 },
    process: { mlock: false, ioFlusher: false, oomScore: 0, cpus: [1] },
  },
};

Deno.test("isAlive is not taken in by a pid that is somebody else's now", () => {
  assert(isAlive(record));
  assert(!isAlive({ ...record, startTicks: record.startTicks - 1 }));
});

Deno.test("recordOf takes no record of an earlier device for that of the one there is", () => {
  const boot = readSmallFile("/proc/sys/kernel/random/boot_id").trim();
  const written = { ...record, boot };
  writeRecord(record);
  try {
    assertEquals(recordOf(record.id, Deno.pid), written);
    assertEquals(recordOf(record.id, Deno.pid + 1), undefined);
    // The kernel knows of no server for a stopped device.
    assertEquals(recordOf(record.id, -1), written);
    // In a container the folder may survive a reboot, and pids may be the same again.
    writeRecord({ ...record, boot: "another" });
    assertEquals(recordOf(record.id, Deno.pid), undefined);
    writeRecord(record);
  } finally {
    removeRecord(record.id);
  }
  assertEquals(recordOf(record.id, Deno.pid), undefined);
});

Deno.test("writeRecord leaves no half of a record, and sweepRunFolder none of a killed server", () => {
  const path = recordPath(record.id);
  const left = () =>
    [...Deno.readDirSync(runFolder())].map(({ name }) => name).filter((name) =>
      name.startsWith(`${record.id}.json.`)
    );
  makeRunFolder();
  // Nothing can be renamed to this path.
  Deno.mkdirSync(path);
  try {
    assertThrows(() => writeRecord(record));
    assertEquals(left(), []);
    // No process has this pid.
    Deno.writeTextFileSync(`${path}.4194305`, "{");
    Deno.writeTextFileSync(`${path}.${Deno.pid}`, "{");
    sweepRunFolder();
    assertEquals(left(), [`${record.id}.json.${Deno.pid}`]);
  } finally {
    Deno.removeSync(path);
    for (const name of left()) Deno.removeSync(`${runFolder()}/${name}`);
  }
});

Deno.test("readRecord + a record of 0.1.0, whose argv is all it has + is one", () => {
  const old = { ...SERVER, argv: ["-t", "null"], cwd: "/" };
  makeRunFolder();
  try {
    Deno.writeTextFileSync(recordPath(SERVER.id), JSON.stringify(old));
    assertEquals(readRecord(SERVER.id), old);
    for (
      const other of [
        SERVER,
        { ...old, argv: undefined },
        { ...record, version: RECORD_VERSION + 1 },
        { ...record, request: undefined },
        { ...record, request: { ...record.request, files: null } },
        { ...record, request: { ...record.request, device: 1 } },
      ]
    ) {
      Deno.writeTextFileSync(recordPath(SERVER.id), JSON.stringify(other));
      assertEquals(readRecord(SERVER.id), undefined, JSON.stringify(other));
    }
  } finally {
    removeRecord(SERVER.id);
  }
});
