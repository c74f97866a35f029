import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { moduleUrl, openSource } from "../tests/backend_modules.ts";
import { makeZip } from "../tests/zip_writer.ts";
import { run, Scratch } from "../tests/scratch.ts";
import { OpenedDisk } from "./opened.ts";
import { UblkError } from "../uapi/error.ts";
import { fileStatus } from "../uring/file.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { claims } from "./claims.ts";
import { overlap, placesOf } from "./file_places.ts";
import { file } from "../backends/loop.ts";
import type { BackendSpec } from "./spec.ts";
import { stripe } from "../backends/stripe.ts";
import { zip } from "../backends/zip.ts";
import { cow } from "../backends/wrappers/cow.ts";
import { log } from "../backends/wrappers/log.ts";
import { readonly } from "../backends/wrappers/readonly.ts";
import { stats } from "../backends/wrappers/stats.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const MIB = 1 << 20;
const REFUSAL = "this disk uses it already";

/** A loop device over a file, until disposed. */
class Loop implements Disposable {
  readonly path: string;

  constructor(...args: string[]) {
    this.path = run("losetup", "--find", "--show", ...args);
  }

  [Symbol.dispose]() {
    run("losetup", "--detach", this.path);
  }
}

/** Makes other names for a file, by kind of name. */
function otherNames(scratch: Scratch, path: string): Record<string, string> {
  const at = (name: string) => `${scratch.path}/${name}`;
  Deno.linkSync(path, at("hard"));
  Deno.symlinkSync(path, at("symbolic"));
  Deno.symlinkSync(at("symbolic"), at("far"));
  return {
    "the same path": path,
    "another way of writing it": `${scratch.path}/./${path.slice(scratch.path.length + 1)}`,
    "a hard link": at("hard"),
    "a symbolic link": at("symbolic"),
    "a link to a link": at("far"),
  };
}

Deno.test("a disk that opens several files has none of them twice, under any name", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", MIB);
  // `cow` would turn an empty file into an overlay, and `stats` would write its table to it.
  const empty = scratch.file("empty", 0);
  const emptied = `${scratch.path}/emptied`;
  Deno.linkSync(empty, emptied);
  const shared = { shared: true };
  for (const [name, other] of Object.entries(otherNames(scratch, path))) {
    const stacks: Record<string, BackendSpec> = {
      "stripe": stripe([path, other], shared),
      "stripe that is only read": stripe([path, other], { readOnly: true }),
      "stripe with another between": stripe([path, scratch.file("b", MIB), other], shared),
      "metadata": file(path, { ...shared, metadataPath: other, metadataSize: 8 }),
      "metadata that is only read": file(path, {
        readOnly: true,
        metadataPath: other,
        metadataSize: 8,
      }),
      "cow": cow(file(path, { readOnly: true }), { file: other }),
      // Both would write to the disk as if it were a text file.
      "stats": stats(file(path, shared), { file: other }),
      "log": log(file(path, shared), { file: other }),
      "stats over cow": stats(cow(file(path, { readOnly: true }), { file: empty }), {
        file: emptied,
      }),
      "cow over log": cow(log(file(path, { readOnly: true }), { file: empty }), { file: emptied }),
      "two overlays": cow(readonly(cow(file(path, { readOnly: true }), { file: empty })), {
        file: emptied,
      }),
    };
    for (const [kind, spec] of Object.entries(stacks)) {
      await assertRejects(() => OpenedDisk.open(spec), UblkError, REFUSAL, `${kind}, ${name}`);
      assertEquals(Deno.statSync(path).size, MIB, `${kind}, ${name}: nothing was cut`);
      assertEquals(Deno.statSync(empty).size, 0, `${kind}, ${name}: nothing was made`);
    }
  }
});

Deno.test("a disk has no file twice that is yet to be made", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/new`;
  const spec = stats(file(path, { create: true, size: MIB, shared: true }), {
    file: `${scratch.path}/./new`,
  });
  await assertRejects(() => OpenedDisk.open(spec), UblkError, REFUSAL);
});

/** A disk whose module wraps two disks. */
function pair(one: BackendSpec, other: BackendSpec): BackendSpec {
  return { module: moduleUrl(`export const open = ${openSource(512)};`), inner: [one, other] };
}

Deno.test("parts of a disk that only read a file, or allow each other to have it, may both have it", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", MIB);
  const archive = scratch.file("archive.zip", 0);
  Deno.writeFileSync(archive, await makeZip([{ name: "disk.img", data: new Uint8Array(4096) }]));
  for (const other of Object.values(otherNames(scratch, path))) {
    const read = (path: string) => file(path, { readOnly: true });
    const shared = (path: string) => file(path, { shared: true });
    const alone = (path: string) => file(path);
    for (const one of [read, shared]) {
      for (const two of [read, shared]) {
        await using _stack = await OpenedDisk.open(pair(one(path), two(other)));
      }
      // A file that a part reads may have no other use.
      for (const spec of [pair(one(path), alone(other)), pair(alone(path), one(other))]) {
        await assertRejects(() => OpenedDisk.open(spec), UblkError, REFUSAL);
      }
      await assertRejects(
        () => OpenedDisk.open(cow(one(path), { file: other })),
        UblkError,
        REFUSAL,
      );
      await assertRejects(
        () => OpenedDisk.open(stats(one(path), { file: other })),
        UblkError,
        REFUSAL,
      );
    }
  }
  await using _stack = await OpenedDisk.open(pair(zip(archive), zip(archive)));
});

Deno.test("lines of text from several sides may go to one file, or to what keeps nothing", async () => {
  using scratch = new Scratch();
  const [path, text] = [scratch.file("disk", MIB), `${scratch.path}/text`];
  for (const to of [text, "/dev/null"]) {
    await using _stack = await OpenedDisk.open(log(log(file(path), { file: to }), { file: to }));
  }
});

Deno.test("a disk has no file beside a loop device that is a part of it", () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", 4 * MIB);
  using front = new Loop("--sizelimit", `${MIB}`, path);
  using back = new Loop("--offset", `${2 * MIB}`, path);
  using over = new Loop(front.path);
  for (
    const pair of [[path, front.path], [back.path, path], [over.path, path], [
      over.path,
      front.path,
    ]]
  ) {
    const claim = claims();
    claim(pair[0]);
    assertThrows(() => claim(pair[1]), UblkError, `${REFUSAL}, as ${pair[0]}`);
  }
  const claim = claims();
  claim(over.path);
  claim(back.path);
  // A second node of a device is the same device.
  const node = `${scratch.path}/node`;
  run("mknod", node, "b", ...run("stat", "-c", "%Hr %Lr", back.path).split(" "));
  assertThrows(() => claim(node), UblkError, REFUSAL);
});

// Another user's loop device, over a file in that user's private folder, made every file of this
// user unusable.
Deno.test("a loop device over a file that cannot be looked at keeps nobody from other files", async () => {
  using scratch = new Scratch();
  const [path, image] = [scratch.file("disk", MIB), scratch.file("image", MIB)];
  using loop = new Loop(image);
  Deno.removeSync(image);
  // Even root cannot follow a link that points to itself.
  const named = Deno.readTextFileSync(`/sys/block/${loop.path.slice(5)}/loop/backing_file`).trim();
  Deno.symlinkSync(named, named);
  assertThrows(() => fileStatus(named), UblkError, "ELOOP");
  for (const other of [path, loop.path]) {
    await using _stack = await OpenedDisk.open(
      stats(file(other), { file: `${scratch.path}/table` }),
    );
  }
});

Deno.test("a file that the kernel's loop has is closed where it is refused", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", MIB);
  {
    using _loop = new Loop(path);
    await assertRejects(() => OpenedDisk.open(file(path)), UblkError, "in use by /dev/loop");
  }
  const open = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
    return fileStatus(`/proc/self/fd/${name}`)?.identity;
  });
  assertEquals(open.includes(fileStatus(path)!.identity), false);
});

Deno.test("a partition is a part of its disk, and of no other partition", () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", 4 * MIB);
  using loop = new Loop("--partscan", path);
  run("addpart", loop.path, "1", "0", "2048");
  run("addpart", loop.path, "2", "2048", "2048");
  try {
    const [disk, one, two] = [loop.path, `${loop.path}p1`, `${loop.path}p2`].map(placesOf);
    assertEquals([overlap(disk, one), overlap(two, disk), overlap(one, two)], [true, true, false]);
    assertEquals(overlap(placesOf(path), two), true);
  } finally {
    run("delpart", loop.path, "1");
    run("delpart", loop.path, "2");
  }
});
