import { assertEquals } from "@std/assert";
import { CrashableProcess } from "../../files/crashable.ts";
import { CrashableMachine } from "../../files/crashable_machine.ts";
import { writeWhole } from "../../files/whole.ts";
import { beginRecord, sealRecord } from "../format/record.ts";
import { readIdentity, writeIdentity } from "./identity.ts";

const JOURNAL = {
  ...{ volume: "11".repeat(16), journal: "22".repeat(16), size: 1 << 20, files: 3 },
  blockSize: 4096,
};

Deno.test("a journal's identity + is read as it was written, also by a version that knew of no copies", () => {
  const files = new CrashableProcess(new CrashableMachine(1, 1 << 20));
  files.makeFolder("/j");
  for (const identity of [JOURNAL, { ...JOURNAL, copy: "33".repeat(16), isLeft: true }]) {
    writeIdentity(files, "/j", identity);
    assertEquals(readIdentity(files, "/j"), identity);
  }
  const kind = { magic: "UBLKJRID", version: 1, words: "a journal's identity" };
  const fields = beginRecord(new Uint8Array(64), kind, JOURNAL.volume);
  fields.setUuid(32, JOURNAL.journal);
  fields.setU64(48, JOURNAL.size);
  fields.setU32(56, JOURNAL.files);
  fields.setU32(60, JOURNAL.blockSize);
  sealRecord(fields);
  using file = files.open("/j/journal-id", { write: true, truncate: true });
  writeWhole(file, fields.bytes, 0);
  assertEquals(readIdentity(files, "/j"), JOURNAL);
});
