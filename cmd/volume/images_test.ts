import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { inFolder } from "../../tests/volumes/folders.ts";
import { UblkError } from "../../uapi/error.ts";
import { createSnapshot } from "../../volume/snapshots.ts";
import { Volume } from "../../volume/volume.ts";
import { convertImage } from "./images.ts";

const root = new URL("../..", import.meta.url);

async function run(program: string, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, cwd: root }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** Runs a command of `ublk-volume`, which must succeed. */
async function ublkVolume(...args: string[]): Promise<string> {
  const { code, out, err } = await run(Deno.execPath(), "run", "-A", "cmd/ublk-volume.ts", ...args);
  assertEquals([code, err], [0, ""], args.join(" "));
  return out;
}

Deno.test("ublk-volume + qcow2 comes and goes, as qemu-img sees it; changes are exported alone", async () => {
  await inFolder(async ({ folder, store, journal }) => {
    const size = 4 << 20;
    await Volume.create("v", { store, size });
    {
      const options = { store, journal, journalSize: "16M" };
      await using volume = await Volume.open("v", options);
      await volume.write(new Uint8Array(300_000 - 300_000 % 4096).fill(7), 1 << 20);
    }
    const [qcow, raw] = [`${folder}/v.qcow2`, `${folder}/v.raw`];
    await ublkVolume("export", "v", qcow, "--format", "qcow2", "--store", store);
    await ublkVolume("export", "v", raw, "--store", store);
    assertEquals((await run("qemu-img", "check", qcow)).code, 0);
    const same = await run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", qcow, raw);
    assertEquals(same.code, 0, same.out);
    assert((await Deno.stat(qcow)).size < 2 << 20);
    // It goes into another volume, and out again.
    await Volume.create("w", { store, size });
    const places = ["--store", store, "--journal", journal];
    await ublkVolume("import", qcow, "w", "--format", "qcow2", ...places);
    assertMatch(await ublkVolume("import", raw, "w", "--onto", ...places), /^0 of|^0 B of/);
    await ublkVolume("copy", "w", "--to", `${folder}/other`, "--as", "x", "--store", store);
    const other = `${folder}/other`;
    await ublkVolume("export", "x", `${folder}/x.raw`, "--store", other);
    assertEquals((await run("cmp", raw, `${folder}/x.raw`)).code, 0);
    assertMatch(await ublkVolume("scrub", "x", "--store", other), /, 0 damaged$/m);
    // Only what has changed since a snapshot.
    await createSnapshot(store, "v", "a");
    {
      await using volume = await Volume.open("v", { store, journal, journalSize: "16M" });
      await volume.write(new Uint8Array(8192).fill(8), 8192);
      await volume.trim(1 << 20, 4096);
    }
    const changes = await ublkVolume("diff", "v@a", "v", "--store", store);
    assertEquals(changes.trim().split("\n").map((line) => JSON.parse(line)), [
      { offset: 8192, length: 8192, hole: false },
      { offset: 1 << 20, length: 4096, hole: true },
    ]);
    assertMatch(await ublkVolume("export", "v", raw, "--since", "a", "--store", store), /^8 ?[Ki]/);
    await ublkVolume("export", "v", `${folder}/x.raw`, "--store", store);
    assertEquals((await run("cmp", raw, `${folder}/x.raw`)).code, 0);
    // The same by a stream: the other volume holds the snapshot.
    const stream = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "cmd/ublk-volume.ts", "diff", "v@a", "v", "--stream", "--store", store],
      cwd: root,
    }).output();
    assertEquals(stream.code, 0);
    await Deno.writeFile(`${folder}/changes`, stream.stdout);
    const imported = ["import", `${folder}/changes`, "x", "--format", "diff", "--journal", journal];
    assertMatch(await ublkVolume(...imported, "--store", other), /^8 KiB of 12 KiB imported/);
    await ublkVolume("export", "x", `${folder}/x.raw`, "--store", other);
    assertEquals((await run("cmp", raw, `${folder}/x.raw`)).code, 0);
    await Deno.remove(`${folder}/changes`);
    const both = ["export", "v", raw, "--since", "a", "--format", "qcow2", "--store", store];
    assertEquals((await run(Deno.execPath(), "run", "-A", "cmd/ublk-volume.ts", ...both)).code, 2);
    const left = [];
    for await (const { name } of Deno.readDir(folder)) left.push(name);
    assertEquals(left.sort(), ["journal", "other", "store", "v.qcow2", "v.raw", "x.raw"]);
    await Deno.writeFile(`${folder}/bad`, new Uint8Array(4096).fill(3));
    const to = `${folder}/out`;
    const error = await assertRejects(
      () => convertImage({ from: `${folder}/bad`, format: "qcow2", to, as: "raw" }),
      UblkError,
    );
    assertEquals(error.code, "INVALID_ARGUMENT");
    assert(!error.message.includes("\n"));
  });
});
