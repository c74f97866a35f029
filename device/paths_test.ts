import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { DATA_PATHS } from "../uapi/data_path.ts";
import { UblkError } from "../uapi/error.ts";
import {
  UBLK_F_BATCH_IO,
  UBLK_F_INTEGRITY,
  UBLK_F_UNPRIVILEGED_DEV,
  UBLK_F_ZONED,
} from "../uapi/features.ts";
import { dataPathsOf, type PathQuestion } from "./paths.ts";

const MEMORY = { address: true, ring: false, preferZeroCopy: false };
const BYTES = { address: false, ring: false, preferZeroCopy: false };
const FILE = { address: false, ring: true, preferZeroCopy: false };
const DIRECT = { address: false, ring: true, preferZeroCopy: true };

function ask(changes: Partial<PathQuestion>): string[] {
  return dataPathsOf({
    traits: BYTES,
    backend: "file:///b.ts",
    local: false,
    required: 0,
    sharedQueues: false,
    ...changes,
  });
}

Deno.test("dataPathsOf() + what a backend declares + the best comes first", () => {
  assertEquals(ask({ traits: MEMORY }), ["get-data", "copy"]);
  assertEquals(ask({ traits: DIRECT }), ["auto-zero-copy", "copy"]);
  assertEquals(ask({ traits: FILE }), ["copy"]);
  assertEquals(ask({ traits: BYTES }), ["copy"]);
});

Deno.test("dataPathsOf() + what excludes a path + passes it over without a word", () => {
  assertEquals(ask({ traits: MEMORY, required: UBLK_F_BATCH_IO }), ["copy"]);
  assertEquals(ask({ traits: DIRECT, required: UBLK_F_BATCH_IO }), ["auto-zero-copy", "copy"]);
  assertEquals(ask({ traits: DIRECT, sharedQueues: true }), ["copy"]);
  assertEquals(ask({ traits: DIRECT, required: UBLK_F_UNPRIVILEGED_DEV }), ["copy"]);
  assertEquals(ask({ traits: MEMORY, required: UBLK_F_UNPRIVILEGED_DEV }), ["get-data", "copy"]);
  for (const traits of [MEMORY, BYTES, FILE, DIRECT]) {
    assertEquals(ask({ traits, required: UBLK_F_INTEGRITY }), ["user-copy"]);
  }
});

Deno.test("dataPathsOf() + zones + have one path, whatever else the backend can do", () => {
  const zones = { size: 4096, maxOpen: 0, maxActive: 0 };
  for (const kind of [MEMORY, BYTES, FILE, DIRECT]) {
    const traits = { ...kind, zones };
    assertEquals(ask({ traits, required: UBLK_F_ZONED }), ["user-copy"]);
    assertEquals(ask({ traits, required: UBLK_F_ZONED, forced: "user-copy" }), ["user-copy"]);
    for (const forced of DATA_PATHS.filter((path) => path !== "user-copy")) {
      const error = assertThrows(() => ask({ traits, required: UBLK_F_ZONED, forced }), UblkError);
      assertStringIncludes(error.message, `no data path "${forced}": zones are reported`);
      assertStringIncludes(error.message, "choose among user-copy, or leave dataPath out");
    }
  }
});

Deno.test("dataPathsOf() + a forced path + is that alone", () => {
  for (const forced of DATA_PATHS) assertEquals(ask({ traits: FILE, forced }), [forced]);
  for (const forced of ["copy", "get-data", "user-copy"] as const) {
    assertEquals(ask({ traits: BYTES, forced }), [forced]);
    assertEquals(ask({ traits: BYTES, forced, local: true }), [forced]);
  }
});

Deno.test("dataPathsOf() + zero copy for a backend that computes + says why not, and what will do", () => {
  for (const forced of ["zero-copy", "auto-zero-copy", "auto-zero-copy-fallback"] as const) {
    const error = assertThrows(() => ask({ traits: MEMORY, forced }), UblkError);
    assertEquals(error.code, "INVALID_ARGUMENT");
    assertStringIncludes(error.message, "the server never sees the bytes");
    assertStringIncludes(error.message, "file:///b.ts");
    assertStringIncludes(error.message, "copy, get-data, user-copy");
    assertThrows(() => ask({ forced, local: true }), UblkError, "given as an object");
  }
  assertThrows(
    () => ask({ traits: FILE, forced: "auto-zero-copy", sharedQueues: true }),
    UblkError,
    "no more threads than queues",
  );
});
