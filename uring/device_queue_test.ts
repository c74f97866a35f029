import { assertEquals } from "@std/assert";
import { Scratch } from "../tests/scratch.ts";
import { hasCheapDurability } from "./device_queue.ts";
import { openAllOfLibc } from "./libc.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

Deno.test("hasCheapDurability + a disk with FUA or without a cache + true, for its partitions too", () => {
  using scratch = new Scratch();
  const disk = `${scratch.path}/disk`;
  Deno.mkdirSync(`${disk}/queue`, { recursive: true });
  Deno.mkdirSync(`${disk}/disk1`);
  Deno.writeTextFileSync(`${disk}/disk1/partition`, "1\n");
  Deno.symlinkSync("disk", `${scratch.path}/8:0`);
  Deno.symlinkSync("disk/disk1", `${scratch.path}/8:1`);
  const judged = (cache: string, fua: string) => {
    Deno.writeTextFileSync(`${disk}/queue/write_cache`, `${cache}\n`);
    Deno.writeTextFileSync(`${disk}/queue/fua`, `${fua}\n`);
    return ["8:0", "8:1"].map((device) => hasCheapDurability(device, scratch.path));
  };
  assertEquals(judged("write back", "0"), [false, false]);
  assertEquals(judged("write back", "1"), [true, true]);
  assertEquals(judged("write through", "0"), [true, true]);
  assertEquals(hasCheapDurability("0:26", scratch.path), false);
});
