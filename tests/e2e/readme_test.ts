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

/** The README's program, as a leader of its process group, with both disks there. */
async function startReadme() {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(file, readmeProgram());
  const config = new URL("deno.json", ROOT).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `--config=${config}`, file],
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  const stdout = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  assertEquals((await stdout.read()).value, "/dev/ublkb0\n");
  while (!await exists("/dev/ublkb1")) await pause(50);
  return {
    pid: child.pid,
    /** How it ended: the signal, or the status, and what it complained about. */
    async ended(): Promise<[string | null, number, string]> {
      const { signal, code } = await child.status;
      return [signal, code, await new Response(child.stderr).text()];
    },
    async [Symbol.asyncDispose]() {
      await stdout.cancel();
      await Deno.remove(file);
    },
  };
}

Deno.test("README.md + its program serves two disks until `ublk del`", async () => {
  await using program = await startReadme();
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
  assertEquals(await program.ended(), [null, 0, ""]);
});

// `await using` does not run at a signal: the devices were left without a server.
for (const signal of ["INT", "HUP"]) {
  Deno.test(`README.md + SIG${signal}, as from the terminal + its disks are gone before it ends`, async () => {
    await using program = await startReadme();
    assertEquals((await run("kill", `-${signal}`, "--", `-${program.pid}`)).code, 0);
    const [how, , stderr] = await program.ended();
    assertEquals([how, stderr], [`SIG${signal}`, ""]);
    for (const node of ["ublkc0", "ublkc1"]) assertEquals(await exists(`/dev/${node}`), false);
  });
}

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
