/**
 * Two machines and one Ceph, with an encrypted volume and a clone. The short list has a volume that is
 * not encrypted.
 *
 * @module
 */

import { openAllOfLibc } from "../../uring/libc.ts";
import { Ceph } from "../../vm/ceph.ts";
import { twoMachines } from "./_machines.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

Deno.test("an encrypted volume of two machines in Ceph, and its clone", async (t) => {
  await using ceph = await Ceph.start();
  await twoMachines(t, ceph, true);
});
