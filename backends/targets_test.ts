import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { loadBackend } from "../disk/load.ts";
import type { Target, TargetValues } from "../disk/target.ts";
import { TARGETS } from "./targets.ts";
import { openAllOfLibc } from "../uring/libc.ts";

// Opened before any test, because the sanitizer would report a leak.
openAllOfLibc();

function target(name: string): Target {
  return TARGETS.find((target) => target.name === name)!;
}

function optionsOf(name: string, values: TargetValues, ...files: string[]) {
  return target(name).spec(values, files).options as Record<string, unknown>;
}

Deno.test("TARGETS have names, options and counts of files that a command line can have", () => {
  const names = TARGETS.flatMap(({ name, aliases }) => [name, ...aliases ?? []]);
  assertEquals(new Set(names).size, names.length, "no name is twice");
  for (const { name, summary, files, options } of TARGETS) {
    assertMatch(name, /^[a-z_]+$/);
    assert(summary.length > 0 && files.min <= files.max);
    for (const option of options) {
      assertMatch(option.name, /^[a-z][a-z0-9]*(-[a-z]+)*$/);
      assertMatch(option.help, /^[A-Z1].+\.$/, `${name} ${option.name}`);
      assert(!["block-size", "read-only", "metadata-size"].includes(option.name));
    }
    assertEquals(new Set(options.map((option) => option.name)).size, options.length);
  }
});

Deno.test("TARGETS make specifications that load and cross to a Worker, from files or a name alone", async () => {
  for (const { name, files, spec } of TARGETS) {
    const paths = Array.from({ length: files.min }, (_, index) => `/tmp/${name}.${index}`);
    const values = name === "volume" ? { name: "db" } : {};
    const loaded = await loadBackend(structuredClone(spec(values, paths)));
    // One thread owns the write pointers of zones, and a volume's journal; members are inflated only
    // once.
    const isSingle = ["zoned", "zip", "volume"].includes(name);
    assertEquals(loaded.sharing, isSingle ? "single" : "per-queue");
  }
});

Deno.test("TARGETS take kublk's options", () => {
  assertEquals(optionsOf("null", {}).size, 250 * 2 ** 30);
  assertEquals(optionsOf("stripe", { "chunk-size": 4096 }, "/a", "/b").chunkSize, 4096);
  const faults = optionsOf("fault_inject", { "delay-us": 2e6, "die-during-fetch": 1 });
  assertEquals([faults.delayUs, faults.dieDuringFetch], [2e6, true]);
  const off = optionsOf("fault_inject", { "die-during-fetch": 0 });
  assertEquals(off.dieDuringFetch, false);
  const loop = optionsOf("loop", { "metadata-size": 64 }, "/data", "/meta");
  assertEquals([loop.path, loop.metadataPath, loop.metadataSize], ["/data", "/meta", 64]);
});

Deno.test("TARGETS pass on what every device has", () => {
  const common = { "block-size": 4096, "read-only": true };
  for (const { name, files } of TARGETS) {
    const paths = Array.from({ length: files.min }, () => "/a");
    const values = name === "volume" ? { ...common, name: "db" } : common;
    const { blockSize, readOnly } = optionsOf(name, values, ...paths);
    // An archive is always read-only.
    assertEquals([blockSize, readOnly], [4096, name === "zip" ? undefined : true], name);
  }
});

Deno.test("TARGETS refuse what does not go together", () => {
  assertThrows(() => optionsOf("loop", {}, "/data", "/meta"), UblkError, "give both");
  assertThrows(() => optionsOf("loop", { size: 512 }, "/data"), UblkError, "create");
  assertThrows(() => optionsOf("mem", { size: 1024, "max-size": 512 }), RangeError, "give more");
  const zones = { size: 1 << 20, "zone-size": 1 << 18 };
  assertThrows(() => optionsOf("zoned", { ...zones, "max-open": 5 }), RangeError, "give less");
});
