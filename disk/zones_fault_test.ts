import { assertEquals, assertStringIncludes } from "@std/assert";
import { open, zoned } from "../backends/zoned.ts";
import { zonesFault } from "./zones_fault.ts";

const disk = open(zoned(1 << 20, { zoneSize: 1 << 16 }).options);
const zones = disk.zones!;
disk.close!();

const FAULTS: [changes: Record<string, unknown>, words: string][] = [
  [{ zones: 5 }, "`zones` is not an object"],
  [{ zones: null }, "`zones` is not an object"],
  [{ zones: { ...zones, append: undefined } }, "`zones.append` is not a function"],
  [{ zones: { ...zones, size: 3 << 16 } }, "not a power of two"],
  [{ zones: { ...zones, size: 2 ** 41 } }, "not a power of two"],
  [{ size: 3 << 15 }, "not a multiple of its zones' 65536 bytes"],
  [{ zones: { ...zones, maxOpen: 17 } }, "at most 17 open zones are not possible with 16"],
  [{ zones: { ...zones, maxActive: 0.5 } }, "at most 0.5 active zones"],
  [{ zones: { ...zones, maxOpen: 4, maxActive: 3 } }, "4 open zones are more than the 3 active"],
  [{ resize() {} }, "do not go together with `resize`"],
];

for (const [changes, words] of FAULTS) {
  Deno.test(`zonesFault() + ${words} + is said`, () => {
    assertStringIncludes(zonesFault({ ...disk, ...changes }) ?? "", words);
  });
}

Deno.test("zonesFault() + zones that can be, or none + finds nothing", () => {
  assertEquals(zonesFault(disk), undefined);
  assertEquals(zonesFault({ ...disk, zones: { ...zones, maxOpen: 3, maxActive: 4 } }), undefined);
  assertEquals(zonesFault({ ...disk, zones: undefined, resize() {} }), undefined);
});
