/**
 * Streams of changes, judged by Ceph's own block devices: `rbd` reads ours, and we read its.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { MemoryStore } from "../../store/memory.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { Ceph } from "../../vm/ceph.ts";
import { diffStream, importDiff } from "../../volume/care/diff_stream.ts";
import { createSnapshot } from "../../volume/snapshots.ts";
import { exportImage } from "../../volume/transfer.ts";
import { Volume } from "../../volume/volume.ts";
import { Scratch } from "../scratch.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const SIZE = 8 << 20;

Deno.test("diffStream, importDiff + rbd reads and writes the same", async () => {
  await using ceph = await Ceph.start();
  using scratch = new Scratch();
  const rbd = (...args: string[]) => ceph.run("rbd", ...args);
  await ceph.run("ceph", "osd", "pool", "create", "rbd", "4");
  await rbd("create", "image", "--size", `${SIZE >> 20}`);
  await rbd("snap", "create", "image@empty");
  const store = new MemoryStore();
  const options = { store, journal: scratch.path, journalSize: "16M" };
  for (const name of ["v", "w"]) await Volume.create(name, { store, size: SIZE });
  await using volume = await Volume.open("v", options);
  await using copy = await Volume.open("w", options);
  const [diff, out, ours] = ["diff", "out", "ours"].map((name) => `${ceph.folder}/${name}`);
  let from = "empty";
  await createSnapshot(store, "v", from, { journal: scratch.path, wait: true });
  for (const round of [1, 2]) {
    await volume.write(new Uint8Array(2 << 20).fill(round), round << 20);
    await volume.trim((round << 20) + 8192, 65536);
    const to = `s${round}`;
    await createSnapshot(store, "v", to, { journal: scratch.path, wait: true });
    Deno.writeFileSync(diff, new Uint8Array());
    for await (const bytes of diffStream(store, `v@${from}`, `v@${to}`)) {
      Deno.writeFileSync(diff, bytes, { append: true });
    }
    await rbd("import-diff", "/mnt/diff", "image", "--no-progress");
    await rbd("export", `image@${to}`, "/mnt/out", "--no-progress");
    await exportImage(volume, ours);
    assertEquals(Deno.readFileSync(out), Deno.readFileSync(ours), `rbd has ${to}`);
    // And back, as rbd tells it.
    await rbd("export-diff", "--from-snap", from, `image@${to}`, "/mnt/back", "--no-progress");
    await importDiff(`${ceph.folder}/back`, copy);
    await exportImage(copy, out);
    assertEquals(Deno.readFileSync(out), Deno.readFileSync(ours), `the copy has ${to}`);
    await Deno.remove(`${ceph.folder}/back`);
    await Deno.remove(out);
    from = to;
  }
});
