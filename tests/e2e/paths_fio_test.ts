/**
 * fio writes and verifies, on each data path with one and with four queues. On the older kernel there
 * are four only: with one, its driver does nothing that it does not do in `paths_test.ts`. (The two of
 * a RAM disk by the kernel's copies are in `data_test.ts`.)
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type BackendSpec, type DeviceOptions, file, memory, serve } from "../../mod.ts";
import type { DataPathName } from "../../uapi/data_path.ts";
import { FIO, sh, temporaryFolder } from "./_disk.ts";

const SIZE = 16 << 20;
const ZERO_COPY = Number(Deno.osRelease().split(".")[0]) >= 7;

type Make = (folder: string) => BackendSpec;
const onFile: Make = (folder) => file(`${folder}/disk`, { create: true, size: SIZE });
const onFileDirect: Make = (folder) =>
  file(`${folder}/disk`, { create: true, size: SIZE, direct: true });
const PER_IO = { perIoDaemons: true, threads: 3 };
const CASES: [string, path: DataPathName, make: Make, more?: Partial<DeviceOptions>][] = [
  ["mem", "user-copy", () => memory(SIZE)],
  ["loop", "copy", onFile],
  ["loop", "get-data", onFile],
  ["loop", "user-copy", onFile],
  ["loop --direct", "copy", onFileDirect],
];
// What an older kernel says to these is in `paths_test.ts`.
if (ZERO_COPY) {
  CASES.push(
    ["loop", "zero-copy", onFile],
    ["loop", "auto-zero-copy", onFile],
    ["loop", "auto-zero-copy-fallback", onFile],
    ["loop --direct", "auto-zero-copy", onFileDirect],
    ["loop --batch", "copy", onFile, { batch: true }],
    ["mem --per-io-daemons", "get-data", () => memory(SIZE), PER_IO],
  );
}

for (const [target, dataPath, make, more] of CASES) {
  for (const queues of ZERO_COPY ? [1, 4] : [4]) {
    Deno.test(`${target} + ${dataPath}, ${queues} queues + fio verifies crc32c`, async () => {
      await using folder = await temporaryFolder();
      const backend = make(folder.path);
      await using device = await serve({
        backend,
        queues,
        dataPath,
        maxIoBytes: 256 << 10,
        ...more,
      });
      await sh(
        `${FIO} --filename=$disk --rw=randwrite --bsrange=512-256K --blockalign=512 --iodepth=8 \
          --numjobs=4 --offset_increment=4M --size=4M --verify=crc32c --verify_fatal=1`,
        { disk: device.path },
      );
      const { total, queues: each } = device.stats();
      assertEquals([total.errors, each.length], [0, queues]);
      assert(total.bytesWritten >= SIZE);
    });
  }
}
