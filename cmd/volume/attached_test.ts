import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { defaultStore } from "../../volume/folders.ts";
import { type CurrentRecord, RECORD_VERSION } from "../devices/records.ts";
import { serverOf, writerOf } from "./attached.ts";

// It stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();

/** The record of a server of `db` in a store. */
function server(id: number, values: Readonly<Record<string, unknown>>): CurrentRecord {
  return {
    ...{ id, program: "ublk", target: "volume", pid: 1, startTicks: 1, log: null, socket: null },
    version: RECORD_VERSION,
    request: {
      ...{ target: "volume", values: { name: "db", ...values }, files: [], wraps: [], device: {} },
      process: { mlock: false, ioFlusher: false, oomScore: undefined, cpus: undefined },
    },
  };
}

const [A, B] = [server(0, { store: "/a" }), server(1, { store: "/b" })];
const READER = server(2, { store: "/b", "read-only": true });
const DEFAULT = server(3, {});
const BUCKET = server(4, {
  store: "s3://bucket/x",
  "s3-endpoint": "http://h:1",
  bandwidth: 1 << 20,
});

Deno.test("serverOf + volumes of one name in two stores + is the one of the store", () => {
  const servers = [A, B, BUCKET, READER];
  assertEquals(serverOf("stats db", servers, "/a/")?.id, 0);
  assertEquals(serverOf("stats db", servers, "file:///b")?.id, 1);
  assertEquals(serverOf("stats db", servers, "s3://bucket/x?endpoint=http://h:1")?.id, 4);
  assertEquals(serverOf("stats db", servers, "/c"), undefined);
  const { code, message } = assertThrows(() => serverOf("stats db", servers, undefined), UblkError);
  assertEquals([code, message], [
    "INVALID_ARGUMENT",
    "stats db: volumes of that name in /a and in /b are attached here; say which one, with --store",
  ]);
});

Deno.test("serverOf + a name without a store + is the only one here", () => {
  assertEquals(serverOf("stats db", [], undefined), undefined);
  assertEquals(serverOf("stats db", [B, READER], undefined)?.id, 1);
  assertEquals(serverOf("stats db", [READER], undefined)?.id, 2);
});

Deno.test("writerOf + another store than that of the server + is no server", () => {
  assertEquals(writerOf("resize db", [A, READER], "/b"), undefined);
  assertEquals(writerOf("resize db", [A, B], "/b")?.id, 1);
  assertEquals(writerOf("resize db", [READER], undefined), undefined);
  assertEquals(writerOf("resize db", [A, DEFAULT], undefined)?.id, 3);
  assertEquals(writerOf("resize db", [A, DEFAULT], defaultStore())?.id, 3);
  const { code, message } = assertThrows(() => writerOf("resize db", [A], undefined), UblkError);
  assertEquals([code, message], [
    "INVALID_ARGUMENT",
    "resize db: the volume of that name that is attached here is in /a; say which one, with --store",
  ]);
});
