/**
 * The README's program, run as it stands there.
 *
 * @module
 */

import { assertEquals, assertExists } from "@std/assert";
import { exists, pause, run } from "./_misbehaving.ts";

const ROOT = new URL("../../", import.meta.url);

/** The first TypeScript block of the README, with the published name in place of this checkout. */
function readmeProgram(): string {
  const readme = Deno.readTextFileSync(new URL("README.md", ROOT));
  const block = /```ts\n([\s\S]*?)```/.exec(readme)?.[1];
  assertExists(block, "the README has a TypeScript block");
  return block.replace("jsr:@ublk/ublk", new URL("mod.ts", ROOT).href);
}

Deno.test("README.md + its program serves two disks until `ublk del`", async () => {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(file, readmeProgram());
  const config = new URL("deno.json", ROOT).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `--config=${config}`, file],
    stdout: "piped",
  }).spawn();
  const stdout = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  try {
    assertEquals((await stdout.read()).value, "/dev/ublkb0\n");
    while (!await exists("/dev/ublkb1")) await pause(50);
    for (const path of ["/dev/ublkb0", "/dev/ublkb1"]) {
      const made = await run("mkfs.ext4", "-q", path);
      assertEquals(made.code, 0, made.stderr);
      const checked = await run("fsck.ext4", "-fn", path);
      assertEquals(checked.code, 0, checked.stdout);
    }
    const deleted = await run(
      Deno.execPath(),
      "run",
      "-A",
      "--no-check",
      new URL("cmd/ublk.ts", ROOT).pathname,
      "del",
      "-a",
    );
    assertEquals(deleted.code, 0, deleted.stderr);
    assertEquals((await child.status).code, 0);
  } finally {
    await stdout.cancel();
    await child.status.catch(() => {});
    await Deno.remove(file);
  }
});

for (const file of ["mod.ts", "device/serve.ts"]) {
  Deno.test(`${file} + its example makes a disk, and takes it away`, async () => {
    const source = Deno.readTextFileSync(new URL(file, ROOT));
    const lines = /```ts\n([\s\S]*?) \* ```/.exec(source)![1].split("\n");
    const program = lines.map((line) => line.replace(/^ \* ?/, "")).join("\n")
      .replace("@ublk/ublk", new URL("mod.ts", ROOT).href);
    const path = await Deno.makeTempFile({ suffix: ".ts" });
    try {
      await Deno.writeTextFile(path, program);
      const config = `--config=${new URL("deno.json", ROOT).pathname}`;
      const ran = await run(Deno.execPath(), "run", "-A", "--no-check", config, path);
      assertEquals([ran.code, ran.stdout], [0, "/dev/ublkb0\n"], ran.stderr);
      assertEquals(await exists("/dev/ublkc0"), false);
    } finally {
      await Deno.remove(path);
    }
  });
}
