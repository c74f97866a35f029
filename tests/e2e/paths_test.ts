/**
 * The same seeded requests through every target on every data path, compared with a model: all
 * give the same bytes. Where this kernel lacks a path or an arrival, that is said in one line; and
 * what is impossible anywhere is refused.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { serve, UblkError } from "../../mod.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../../uapi/ublk_io.ts";
import { ALL_OPS } from "../disk_model.ts";
import { ARRIVALS, type Cell, cells, impossible, kernelOf, number, testName } from "./_cells.ts";
import { temporaryFolder } from "./_disk.ts";
import { ModelClient } from "./_model_process.ts";
import { TARGETS } from "./_targets.ts";

const MIB = 1 << 20;
const SIZE = 8 * MIB;
const MAX_IO_BYTES = 128 << 10;
const KERNEL = number(Deno.osRelease());

/** One for all disks. */
let client: ModelClient;
Deno.test.beforeAll(() => {
  client = new ModelClient();
});
Deno.test.afterAll(() => client.close());

/** Serves the cell, in a folder of its own. */
async function open({ target, path, arrival }: Cell, folder: string) {
  return await serve({
    ...ARRIVALS[arrival],
    backend: await target.make(folder, SIZE),
    dataPath: path,
    queues: 2,
    depth: 16,
    maxIoBytes: MAX_IO_BYTES,
  });
}

/** What there is in any kernel, and what of that is not in this one. */
const POSSIBLE = [...cells(TARGETS).entries()].filter(([, cell]) => impossible(cell) === "");
const TOO_NEW = POSSIBLE.map(([, cell]) => cell).filter((cell) => KERNEL < number(kernelOf(cell)));

for (const [index, cell] of POSSIBLE) {
  if (TOO_NEW.includes(cell)) continue;
  Deno.test(testName(cell), async () => {
    await using folder = await temporaryFolder();
    await using device = await open(cell, folder.path);
    const info = device.info();
    assertEquals([info.dataPath, info.queues], [cell.path, 2]);
    const answer = await client.run({
      path: device.path,
      size: SIZE,
      blockSize: info.blockSize,
      maxIoBytes: MAX_IO_BYTES,
      seed: 1 + index,
      rounds: 12,
      // A disk that keeps nothing reads as zeroes, as does a model that nobody writes to.
      ops: cell.target.keeps ? ALL_OPS : [UBLK_IO_OP_READ, UBLK_IO_OP_FLUSH],
    });
    assertEquals(answer, "ok");
    if (!cell.target.keeps) {
      const written = await client.run({
        ...{ path: device.path, size: SIZE, blockSize: info.blockSize, seed: 1, rounds: 2 },
        ...{ maxIoBytes: MAX_IO_BYTES, ops: [UBLK_IO_OP_WRITE] },
      });
      assertEquals(written, "ok");
    }
    const { total } = device.stats();
    assertEquals(total.errors, 0);
    assert(total.reads > 0 && total.writes > 0);
  });
}

// What is refused is a path with an arrival, whatever the target: the kernel lacks a flag.
const REFUSALS = Map.groupBy(TOO_NEW, ({ path, arrival }) => `${path}, ${arrival}`);
for (const [name, [cell]] of REFUSALS) {
  Deno.test(`${name} + an older kernel + one line that names the kernel it needs`, async () => {
    await using folder = await temporaryFolder();
    const since = kernelOf(cell);
    const error = await assertRejects(() => open(cell, folder.path), UblkError);
    assertEquals([error.code, error.message.includes("\n")], ["KERNEL_TOO_OLD", false]);
    assertMatch(error.message, new RegExp(`Linux ${since.replace(".", "\\.")}`));
  });
}

const REFUSED = cells(TARGETS).filter(({ target, arrival, path }) =>
  impossible({ target, arrival, path }) !== "" && arrival === "command per request"
);
Deno.test("serve() + a path that cannot be + one line that says why, and nothing is left", async () => {
  await using folder = await temporaryFolder();
  for (const cell of REFUSED) {
    const error = await assertRejects(() => open(cell, folder.path), UblkError);
    assertEquals(error.code, "INVALID_ARGUMENT", `${testName(cell)}: ${error.message}`);
    assertMatch(error.message, /never sees the bytes/);
  }
});
