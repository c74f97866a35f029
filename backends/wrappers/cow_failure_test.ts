/**
 * Failures of an overlay's file, each with the bug that a seed of `cow_crash_test.ts` found.
 *
 * @module
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CrashableProcess } from "../../files/crashable.ts";
import { CrashableMachine } from "../../files/crashable_machine.ts";
import type { FileOperationName } from "../../files/file_faults.ts";
import type { Files } from "../../files/port.ts";
import { realFiles } from "../../files/real.ts";
import { readWhole, writeWhole } from "../../files/whole.ts";
import { EIO, ENOSPC } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import { OverlayFile } from "./overlay_file.ts";
import { writeUnfinished } from "./overlay_header.ts";

const BLOCK = 4096;
const SIZE = 8 * BLOCK;
const CURRENT_AT = 8192;
const COMMITTED_AT = 4096;
const PATH = "/over";
const SEEDS = 40;

/** Starts a server of an overlay, on a given machine or on a new machine with that seed. */
async function start(machine: number | CrashableMachine, recovering = false) {
  const on = typeof machine === "number" ? new CrashableMachine(machine) : machine;
  const files = new CrashableProcess(on);
  const overlay = await OverlayFile.open(PATH, SIZE, BLOCK, recovering, files);
  return { machine: on, files, overlay };
}

const block = (value: number) => new Uint8Array(BLOCK).fill(value);

/** Writes a block as `cow` does. */
function put(overlay: OverlayFile, value: number, index: number): void {
  overlay.write(block(value), index * BLOCK);
  overlay.mark(index, index + 1);
}

/** The first byte of a block; undefined if the block is in the base. */
function read(overlay: OverlayFile, index: number): number | undefined {
  if (!overlay.has(index)) return undefined;
  const bytes = block(0xff);
  overlay.read(bytes, index * BLOCK);
  assert(bytes.every((byte) => byte === bytes[0]), "a block is torn");
  return bytes[0];
}

/** Makes operations of that kind fail, only at the offset if one is given. */
function fail(machine: CrashableMachine, kind: FileOperationName, errno: number, at?: number) {
  machine.faults = ({ name, offset }) =>
    name === kind && (at === undefined || at === offset) ? { errno } : undefined;
}

Deno.test("cow never says again that it has flushed once a flush has failed", async () => {
  const { machine, overlay } = await start(1);
  put(overlay, 1, 0);
  fail(machine, "sync", EIO);
  assertThrows(() => overlay.flush(), UblkError, "fdatasync: EIO");
  machine.faults = undefined;
  assertThrows(() => overlay.flush(), UblkError, "an earlier flush has failed");
  assertThrows(() => overlay.close(), UblkError, "an earlier flush has failed");
  assertThrows(() => overlay.write(block(1), 0), UblkError, "pwrite: EBADF", "it is closed");
});

Deno.test("cow + a flush that finds no room for a part of what it notes + the rest is committed", async () => {
  const machine = new CrashableMachine(1);
  const files = new CrashableProcess(machine);
  // Each bitmap has two pages.
  const size = 256 << 20;
  const overlay = await OverlayFile.open(PATH, size, BLOCK, false, files);
  const far = 50_000;
  for (const index of [0, far]) put(overlay, 5, index);
  fail(machine, "write", ENOSPC, COMMITTED_AT);
  assertThrows(() => overlay.flush(), UblkError, "ENOSPC");
  const committed = () => {
    using file = files.open(PATH);
    const bytes = new Uint8Array(8192);
    readWhole(file, bytes, COMMITTED_AT);
    return [bytes[0], bytes[far / 8]];
  };
  assertEquals(committed(), [0, 1]);
  machine.faults = undefined;
  overlay.flush();
  assertEquals(committed(), [1, 1]);
});

// The bits in memory were once set before those in the file. A write that failed at the file could be
// read as if it had succeeded, until the server was killed. Seed 3800.
Deno.test("cow + a block that cannot be noted + it is the base's, as it is for the next server", async () => {
  const { machine, overlay } = await start(1);
  fail(machine, "write", ENOSPC, CURRENT_AT);
  assertThrows(() => put(overlay, 5, 0), UblkError, "ENOSPC");
  assertEquals(read(overlay, 0), undefined);
  assertThrows(() => put(overlay, 6, 0), UblkError, "ENOSPC", "what is not noted is not answered");
  machine.faults = undefined;
  put(overlay, 7, 0);
  machine.kill();
  assertEquals(read((await start(machine)).overlay, 0), 7);
});

// The page cache shows data that a failed sync has lost. The next server of the same boot once read
// that data, and its own flush found nothing to write. Seed 514.
Deno.test("cow + a failed flush + what the next server reads its flush makes durable", async () => {
  for (let seed = 0; seed < SEEDS; seed++) {
    const { machine, overlay } = await start(seed);
    put(overlay, 1, 0);
    overlay.flush();
    overlay.write(block(2), 0);
    fail(machine, "sync", EIO);
    assertThrows(() => overlay.flush(), UblkError, "EIO");
    machine.faults = undefined;
    machine.kill();
    const next = (await start(machine)).overlay;
    const seen = new Uint8Array(BLOCK);
    next.read(seen, 0);
    next.flush();
    machine.cutPower();
    const last = new Uint8Array(BLOCK);
    (await start(machine)).overlay.read(last, 0);
    assertEquals(last, seen, `seed ${seed}`);
  }
});

// The kernel may keep what it is asked to drop. Then the page cache shows bits that the disk lacks.
Deno.test("cow + a failed commit + the next server's flush commits what it read, dropped or not", async () => {
  let had = 0;
  for (let seed = 0; seed < SEEDS; seed++) {
    const { machine, overlay } = await start(seed);
    put(overlay, 1, 0);
    let syncs = 0;
    machine.faults = ({ name }) => name === "sync" && ++syncs === 2 ? { errno: EIO } : undefined;
    assertThrows(() => overlay.flush(), UblkError, "EIO");
    machine.faults = undefined;
    const files = new CrashableProcess(machine);
    const keeping: Files = {
      ...realFiles,
      status: (path) => files.status(path),
      boot: () => files.boot(),
      open: (path, options) => Object.assign(files.open(path, options), { dropCache() {} }),
    };
    // Not a kill, after which the page cache may be dropped.
    assertThrows(() => overlay.close(), UblkError, "an earlier flush has failed");
    const next = await OverlayFile.open(PATH, SIZE, BLOCK, true, keeping);
    const seen = read(next, 0);
    if (seen !== undefined) had++;
    next.flush();
    machine.cutPower();
    assertEquals(read((await start(machine)).overlay, 0), seen, `seed ${seed}`);
  }
  assert(had > 0);
});

// The folder was once synced last. A server that was killed before that left a complete overlay. The
// next server resumed it, and its name never became durable, whatever was flushed. Seed 11.
Deno.test("cow + a server killed at the end of the making + what the next flushes has a name", async () => {
  for (let operation = 8; operation < 20; operation++) {
    for (let seed = 0; seed < 8; seed++) {
      const machine = new CrashableMachine(seed);
      machine.endsAt = operation;
      await start(machine).catch(() => {});
      machine.kill();
      const { overlay } = await start(machine);
      put(overlay, 1, 0);
      overlay.flush();
      machine.cutPower();
      assertEquals(read((await start(machine)).overlay, 0), 1);
    }
  }
});

// A loss of power during the making once left a file with a length and no header, or with a part of
// its first page. It was refused ("is no overlay") until somebody removed it. Seed 2.
Deno.test("cow + a loss of power while it is made + the next server makes it anew", async () => {
  for (let operation = 1; operation < 20; operation++) {
    for (let seed = 0; seed < SEEDS; seed++) {
      const machine = new CrashableMachine(seed);
      machine.endsAt = operation;
      await start(machine).catch(() => {});
      machine.cutPower();
      const { overlay } = await start(machine);
      assertEquals(read(overlay, 0), undefined);
    }
  }
});

for (
  const [what, bytes, isBegun] of [
    ["a part of its first page", new TextEncoder().encode('{"ublk":"unf'), true],
    ["a page of zeroes", new Uint8Array(4096), true],
    ["a little of something else", new TextEncoder().encode("notes"), false],
    ["two pages of zeroes", new Uint8Array(8192), false],
  ] as const
) {
  Deno.test(`cow + a file that has ${what} + is ${isBegun ? "begun anew" : "refused"}`, async () => {
    const machine = new CrashableMachine(1);
    const files = new CrashableProcess(machine);
    {
      using file = files.open(PATH, { write: true, create: "new" });
      writeWhole(file, bytes, 0);
    }
    if (!isBegun) {
      await assertRejects(() => start(machine), UblkError, "/over is no overlay");
      using file = files.open(PATH);
      const now = new Uint8Array(file.size());
      readWhole(file, now, 0);
      assertEquals(now, bytes);
      return;
    }
    await assertRejects(() => start(machine, true), UblkError, "is unfinished");
    assertEquals(read((await start(machine)).overlay, 0), undefined);
  });
}

// Such an overlay was once mistaken for another file, and the hint said to give another one.
Deno.test("cow + an overlay whose header cannot be read + that is what it says", async () => {
  const { machine } = await start(1);
  machine.kill();
  fail(machine, "read", EIO);
  await assertRejects(() => start(machine), UblkError, "pread: EIO");
  machine.faults = undefined;
  await start(machine, true);
});

Deno.test("cow + an overlay that is open already + is refused", async () => {
  const { machine } = await start(1);
  const words = "/over: it is in use by another disk or program (flock)";
  await assertRejects(() => start(machine), UblkError, words);
  machine.kill();
  await start(machine);
});

Deno.test("cow + an overlay of an earlier version that could not note a block + has what it committed", async () => {
  const { machine, files, overlay } = await start(1);
  put(overlay, 1, 0);
  overlay.flush();
  {
    using file = files.open(PATH, { write: true });
    writeWhole(file, new Uint8Array(1), CURRENT_AT);
  }
  machine.kill();
  const next = (await start(machine)).overlay;
  assertEquals(read(next, 0), 1);
  put(next, 2, 1);
  assertEquals([read(next, 0), read(next, 1)], [1, 2]);
});

Deno.test("cow + an overlay that was begun for a larger disk + is made for this one", async () => {
  const machine = new CrashableMachine(1);
  const files = new CrashableProcess(machine);
  {
    using file = files.open(PATH, { write: true, create: "new" });
    writeUnfinished(file);
    file.truncate(64 << 20);
    writeWhole(file, block(0xff), CURRENT_AT);
  }
  machine.kill();
  const { overlay } = await start(machine);
  assertEquals(read(overlay, 0), undefined);
  assertEquals(new CrashableProcess(machine).status(PATH)?.bytes, (1 << 20) + SIZE);
  machine.kill();
  assertEquals(read((await start(machine)).overlay, 0), undefined);
});
