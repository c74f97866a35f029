import { assert, assertEquals, assertRejects } from "@std/assert";
import { CrashableProcess } from "../../files/crashable.ts";
import type { Contents } from "../../files/crashable_contents.ts";
import { CrashableMachine } from "../../files/crashable_machine.ts";
import { readUpTo } from "../../files/whole.ts";
import { DirectoryStore } from "../../store/directory.ts";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { decodeSegmentHeader } from "../format/journal.ts";
import { segmentPaths } from "./files.ts";
import { SEGMENT_HEADER_BYTES } from "../format/journal_layout.ts";
import { Fields, sealRecord, setVersion } from "../format/record.ts";
import { Volume } from "../volume.ts";

// They stay open for the life of the process, which is no leak of the test that opens them first.
openAllOfLibc();

const BLOCK = 512;
const FOLDER = "/journal/v";
const SIZES = { batchData: 16 << 10, batches: 3, openChunks: 4 };

/** A machine with a killed volume, whose journal has the last of some writes to one place. */
async function made(writes = 1, blocks = 1): Promise<CrashableMachine> {
  const machine = new CrashableMachine(1);
  const files = new CrashableProcess(machine);
  const store = await DirectoryStore.open("/store", { files, create: true });
  await Volume.create("v", { store, size: 64 * BLOCK, blockSize: BLOCK });
  const options = {
    store,
    files,
    sizes: SIZES,
    journal: "/journal",
    journalSize: writes > 1 ? "1M" : "256K",
  };
  const volume = await Volume.open("v", { ...options, patienceMs: 50 });
  for (let left = writes - 1; left >= 0; left--) {
    await volume.write(new Uint8Array(blocks * BLOCK).fill(7 + left), BLOCK);
    await volume.flush();
  }
  machine.kill();
  await volume.close().catch(() => {});
  return machine;
}

/** Gives the record at the start of a file another version, with a right sum or as it was. */
function rewrite(machine: CrashableMachine, name: string, version: number, isSealed: boolean) {
  const contents = machine.names.find(`${FOLDER}/${name}`) as Contents;
  const length = Math.min(contents.bytes, 4096);
  const bytes = new Uint8Array(length);
  contents.read(bytes, 0);
  const before = bytes.slice();
  const fields = new Fields(bytes);
  setVersion(fields, version);
  if (isSealed) sealRecord(fields);
  contents.write(bytes, 0);
  return () => contents.write(before, 0);
}

// Regression: the version of a segment that the store has had for long was judged too, and the remedy, to
// attach without the journal, met the same error and deleted what was sound.
Deno.test("Volume.open + a flipped version in a segment that is not needed + goes on", async () => {
  const machine = await made(50, 32);
  const files = new CrashableProcess(machine);
  const paths = segmentPaths(files, FOLDER);
  const header = new Uint8Array(SEGMENT_HEADER_BYTES);
  const segments = paths.map((path) => {
    using file = files.open(path);
    return readUpTo(file, header, 0) < header.length || header.every((byte) => byte === 0)
      ? -1
      : decodeSegmentHeader(header).segment;
  });
  const last = Math.max(...segments);
  let flipped = 0;
  for (const [nth, segment] of segments.entries()) {
    const isNear = [0, 1, 2].some((after) => (last + after) % paths.length === nth);
    if (segment < 0 || isNear || segment >= last - 1) continue;
    const restore = rewrite(machine, paths[nth].split("/").at(-1)!, 9, false);
    await using store = await DirectoryStore.open("/store", {
      files: new CrashableProcess(machine),
    });
    await using volume = await Volume.open("v", {
      ...{ store, files: new CrashableProcess(machine), sizes: SIZES, journal: "/journal" },
      readOnly: true,
    });
    const found = new Uint8Array(BLOCK);
    await volume.read(found, BLOCK);
    assertEquals(found[0], 7);
    restore();
    flipped++;
  }
  assert(flipped > 0, `segments ${segments}`);
});

for (const name of ["journal-0000", "journal-id"]) {
  for (const isSealed of [true, false]) {
    const how = isSealed ? "its sum is right" : "its sum is elsewhere";
    Deno.test(`Volume.open + ${name} of a newer format, ${how} + is refused by name, and kept`, async () => {
      const machine = await made();
      const restore = rewrite(machine, name, 9, isSealed);
      for (const readOnly of [false, true]) {
        const files = new CrashableProcess(machine);
        await using store = await DirectoryStore.open("/store", { files });
        const options = { store, files, sizes: SIZES, journal: "/journal", readOnly };
        const error = await assertRejects(() => Volume.open("v", options), UblkError, name);
        assertEquals(
          [error.code, /of format 9.*knows up to 1/.test(error.reason!)],
          ["VOLUME_DAMAGED", true],
        );
        assertEquals(/use a newer version of ublk/.test(error.hint!), true);
      }
      restore();
      const files = new CrashableProcess(machine);
      await using store = await DirectoryStore.open("/store", { files });
      await using volume = await Volume.open("v", {
        ...{ store, files, sizes: SIZES, journal: "/journal" },
      });
      const found = new Uint8Array(BLOCK);
      await volume.read(found, BLOCK);
      assertEquals(found[0], 7);
    });
  }
}
