/**
 * The first thing to run on a kernel: one disk, one write and read back, a clean exit.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { memory, serve } from "../../mod.ts";
import { sh, ublkNodes } from "./_disk.ts";

Deno.test("serve() + one write is read back, and nothing stays behind", async () => {
  const nodes = ublkNodes();
  const device = await serve({ backend: memory("16MiB") });
  await sh(
    `
    data=$(mktemp); trap 'rm "$data"' EXIT
    head -c 1M /dev/urandom > "$data"
    dd if="$data" of=$disk bs=256K seek=3 oflag=direct status=none
    dd if=$disk bs=256K skip=3 count=4 iflag=direct status=none | cmp - "$data"
    `,
    { disk: device.path },
  );
  assertEquals(device.stats().total.bytesWritten, 1 << 20);
  await device.stop();
  assertEquals(await device.closed, { reason: "deleted" });
  assertEquals(ublkNodes(), nodes);
});
