import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Bed, MIB } from "../tests/ebs/bed.ts";
import { UblkError } from "../uapi/error.ts";
import { EbsError } from "./error.ts";
import { NodeExporter } from "./node_exporter.ts";
import { NodeKey } from "./node_key.ts";
import { filesOf, OpenFiles } from "./open_files.ts";

const WISH = { access: "unix", journalBytes: undefined, connections: 64 } as const;

Deno.test("filesOf + kinds of access and sizes + the figures of docs/ublk-ebs.md", () => {
  assertEquals(filesOf(WISH), 129 + 16 + 256 + 64);
  assertEquals(filesOf({ ...WISH, connections: 1 }), filesOf(WISH) - 111);
  assertEquals(filesOf({ ...WISH, journalBytes: 2 ** 33 }), filesOf(WISH) + 112);
  assertEquals(filesOf({ ...WISH, access: "block" }), 32 + 16 + 256 + 64);
});

Deno.test("OpenFiles + mounts that come and go + as many at a time as there is room for", () => {
  const files = new OpenFiles(256 + 20);
  files.check(20);
  assertThrows(() => files.check(21), UblkError, "may open 276 files, and needs 277");
  const give = files.take(10);
  files.take(10);
  assertThrows(() => files.take(10), EbsError, "too few for one more mount");
  give();
  give();
  files.take(10);
  assertThrows(() => files.take(1), EbsError);
});

// Regression: ten mounts had room for 3,200 clients, whatever the process could open.
Deno.test("a node + more mounts than it has descriptors for + is refused, until one is unmounted", async () => {
  await using bed = await Bed.make();
  const key = new NodeKey("one", bed.store, undefined);
  const sockets = `${bed.folder}/one/.ebs/sockets`;
  const disk = {
    ...{ store: `${bed.folder}/store`, journal: `${bed.folder}/one` },
    ...{ journalSize: "16M", leaseSeconds: 0 },
  };
  const limit = 256 + filesOf({ ...WISH, journalBytes: 16 * MIB });
  const exporter = new NodeExporter(
    { disk, key, sockets, host: "127.0.0.1", report: () => {} },
    new OpenFiles(limit),
  );
  exporter.check();
  const node = bed.node("one", { exporter });
  for (const id of ["a", "b"]) await node.create({ id, bytes: 64 * MIB });
  const mount = (volume: string) => node.mount({ volume, access: "unix", readOnly: false });
  await mount("a");
  const { code } = await assertRejects(() => mount("b"), EbsError, "raise its `ulimit -n`");
  assertEquals(code, "unavailable");
  await node.unmount("a");
  assertEquals((await mount("b")).volume, "b");
});
