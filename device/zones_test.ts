import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { UBLK_F_ZONED } from "../uapi/features.ts";
import { wantedOf } from "./begin.ts";
import type { DeviceOptions } from "./options.ts";
import { settingsOf } from "./settings.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import type { Opened } from "./serving_thread.ts";

// Opened for good, and before a test, whose sanitizer would call it a leak.
openAllOfLibc();

const backend = { size: 1 << 20, readAt() {}, writeAt() {} };
const traits = {
  ...{ size: 1 << 20, blockSize: 512, readOnly: false, flush: false, fua: false, trim: false },
  ...{ writeZeroes: false, address: true, ring: false, preferZeroCopy: false },
  ...{ metadata: true, persistent: true, resize: false, synchronous: true },
  zones: { size: 4096, maxOpen: 0, maxActive: 0 },
} satisfies Opened["traits"];

function wanted(options: Partial<DeviceOptions>, of: Opened["traits"] = traits) {
  return wantedOf(settingsOf({ backend, ...options }), { traits: of });
}

Deno.test("wantedOf() + a backend with zones + asks for ZONED by user copy", () => {
  const zoned = wanted({});
  assertEquals([zoned.required, zoned.dataPaths], [UBLK_F_ZONED, ["user-copy"]]);
  const plain = wanted({}, { ...traits, zones: undefined });
  assertEquals([plain.required, plain.dataPaths], [0, ["get-data", "copy"]]);
});

const REFUSED: [options: Partial<DeviceOptions>, words: string][] = [
  [{ recovery: "reissue" }, "leave recovery out"],
  [{ integrity: { metadataSize: 8 } }, "leave integrity out"],
  [{ sharedMemory: { path: "/dev/hugepages/x" } }, "leave sharedMemory out"],
  [{ dataPath: "get-data" }, "zones are reported, and appended to, by user-copy"],
];

for (const [options, words] of REFUSED) {
  Deno.test(`wantedOf() + zones and ${Object.keys(options)} + is refused in one line`, () => {
    const { message } = assertThrows(() => wanted(options), UblkError);
    assertStringIncludes(message, words);
    assertEquals(message.includes("\n"), false);
  });
}
