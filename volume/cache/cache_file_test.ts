import { assert, assertEquals } from "@std/assert";
import { CrashableProcess } from "../../files/crashable.ts";
import { CrashableMachine } from "../../files/crashable_machine.ts";
import type { File } from "../../files/port.ts";
import { type CacheFileParts, openCacheFile } from "./cache_file.ts";
import { VolumeCounters } from "../counters.ts";
import { dataLine, tableLine } from "./lines.ts";

const LINE = 4096;
const KEYS = [dataLine(1, 0), dataLine(4, 3), tableLine(4, 0), dataLine(5, 0)];

function rig(bytes?: number) {
  const machine = new CrashableMachine(1, bytes);
  const files = new CrashableProcess(machine);
  const reports: string[] = [];
  const parts: CacheFileParts = {
    ...{ files, path: "/caches/v/cache", size: 100_000, line: LINE, writes: 2, copy: undefined },
    ...{ volume: "11".repeat(16), epoch: 7, manifest: { number: 9, nextChunk: 6 } },
    fdOf: (_file: File) => 3,
    allocate: (bytes) => ({ bytes: new Uint8Array(bytes), address: 0 }),
    counters: new VolumeCounters(),
    report: (words) => void reports.push(words),
  };
  return { files, parts, reports };
}

Deno.test("a cache's file + keeps what is of the volume's past, and nothing else", () => {
  const { files, parts, reports } = rig();
  const found = (change: Partial<CacheFileParts>): number[] => {
    openCacheFile(parts)![Symbol.dispose]();
    const keys = Float64Array.from([
      ...KEYS.map((key) => key + 1),
      NaN,
      -5,
      0.5,
      1.5,
      Infinity,
      1e300,
    ]);
    using file = files.open(parts.path, { write: true });
    file.writeAt(new Uint8Array(keys.buffer), 4096);
    file.close();
    using cache = openCacheFile({ ...parts, ...change })!;
    return KEYS.filter((key) => cache.find(key) >= 0);
  };
  assertEquals(found({}), KEYS);
  assertEquals(found({ epoch: 8, manifest: { number: 10, nextChunk: 7 } }), KEYS);
  // A store that was brought back from a copy.
  assertEquals(found({ epoch: 6 }), []);
  assertEquals(found({ manifest: { number: 8, nextChunk: 6 } }), []);
  assertEquals(found({ manifest: { number: 9, nextChunk: 5 } }), KEYS.slice(0, 3));
  assertEquals(found({ volume: "22".repeat(16) }), []);
  assertEquals(found({ copy: "33".repeat(16) }), []);
  assertEquals(found({ size: 200_000 }), []);
  assertEquals(found({ line: 512 }), []);
  assertEquals(reports, []);
});

Deno.test("a cache's file + takes all its room at once, and none if there is too little", () => {
  const { files, parts, reports } = rig(1 << 20);
  openCacheFile(parts)![Symbol.dispose]();
  const { bytes, allocatedBytes } = files.status(parts.path)!;
  assert(bytes <= parts.size && bytes > parts.size - 2 * LINE, `${bytes} bytes`);
  assertEquals(allocatedBytes, bytes);
  assertEquals(openCacheFile({ ...parts, size: 2 << 20 }), undefined);
  assertEquals(files.status(parts.path)!.allocatedBytes, 0);
  assertEquals(reports.length, 1);
  assert(
    /^the volume goes on without its cache .*: .*; make room, or/.test(reports[0]),
    reports[0],
  );
});
