import { assertEquals, assertThrows } from "@std/assert";
import { loadBackend } from "./load.ts";
import { nullDisk, open } from "./null.ts";

Deno.test("nullDisk reads zeroes, also into a buffer that held a write, and keeps nothing", async () => {
  const disk = open(nullDisk("250GiB", { blockSize: 4096, readOnly: true }).options);
  const { size, blockSize, readOnly, synchronous } = disk;
  assertEquals([size, blockSize, readOnly, synchronous], [250 * 2 ** 30, 4096, true, true]);
  const buffer = new Uint8Array(4096).fill(1);
  await disk.writeAt(buffer, 0, { fua: false });
  await disk.readAt(buffer, 0);
  assertEquals(buffer, new Uint8Array(4096));
});

Deno.test("nullDisk can be opened in each queue's thread", async () => {
  const loaded = await loadBackend(structuredClone(nullDisk("1GiB")));
  assertEquals([loaded.sharing, (await loaded.open(0, await loaded.share())).size], [
    ...["per-queue", 2 ** 30],
  ]);
});

Deno.test("nullDisk refuses a bad geometry where it is asked for", () => {
  assertThrows(() => nullDisk(0), RangeError);
});
