import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { inFolder } from "../../tests/volumes/folders.ts";
import { Volume } from "../../volume/volume.ts";

const COMMAND = new URL("../ublk-volume.ts", import.meta.url).pathname;

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20));
}

Deno.test("ublk-volume copy + interrupted + one line says so, and the same command goes on", async () => {
  await inFolder(async ({ folder, store, journal, journalSize }) => {
    await Volume.create("v", { store, size: "1M" });
    {
      await using volume = await Volume.open("v", { store, journal, journalSize });
      await volume.write(crypto.getRandomValues(new Uint8Array(64 << 10)), 0);
    }
    const to = `${folder}/copy`;
    const copy = (...more: string[]) =>
      new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--quiet", COMMAND, "copy", "v", "--store", store, "--to", to, ...more],
        ...{ stdin: "null", stdout: "piped", stderr: "piped" },
      });
    // It takes 16 s.
    const child = copy("--bandwidth", "4096").spawn();
    await until(() => [...folderNames(`${to}/v`)].includes("head"));
    child.kill("SIGINT");
    const { code, stderr } = await child.output();
    assertEquals(code, 130);
    assertEquals(
      new TextDecoder().decode(stderr),
      `ublk-volume: interrupted: ${to} has no volume v yet; the same command goes on\n`,
    );
    const again = await copy().output();
    assertStringIncludes(new TextDecoder().decode(again.stdout), "copied");
  });
});

/** Commands that leave the work to `qemu-img`, with a raw image beside the file. */
const CONVERTED: Readonly<Record<string, readonly string[]>> = {
  import: ["image.qcow2", "v"],
  export: ["v", "image.qcow2"],
};

for (const [command, operands] of Object.entries(CONVERTED)) {
  Deno.test(`ublk-volume ${command} + interrupted while qemu-img works + no raw image is left`, async () => {
    await inFolder(async ({ folder, store, journal }) => {
      await Volume.create("v", { store, size: "1M" });
      const bin = `${folder}/bin`;
      Deno.mkdirSync(bin);
      const fake = `#!/bin/sh\necho $$ > ${folder}/pid\nfor last; do :; done\n` +
        `: > "$last"\nmv ${folder}/pid ${folder}/started\nexec sleep 60\n`;
      Deno.writeTextFileSync(`${bin}/qemu-img`, fake, { mode: 0o755 });
      Deno.writeTextFileSync(`${folder}/image.qcow2`, "");
      const child = new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "-A", "--quiet", COMMAND, command],
          ...operands.map((word) => word === "v" ? word : `${folder}/${word}`),
          ...["--format", "qcow2", "--store", store, "--journal", journal],
        ],
        env: { PATH: `${bin}:${Deno.env.get("PATH")}` },
        ...{ stdin: "null", stdout: "piped", stderr: "piped" },
      }).spawn();
      await until(() => [...folderNames(folder)].includes("started"));
      const rawImages = () => [...folderNames(folder)].filter((name) => name.endsWith(".raw"));
      assertEquals(rawImages(), [`image.qcow2.${child.pid}.raw`]);
      child.kill("SIGTERM");
      const { code, stderr } = await child.output();
      assertEquals(code, 143);
      assertMatch(new TextDecoder().decode(stderr), /^ublk-volume: interrupted: .*\n$/);
      assertEquals(rawImages(), []);
      const pid = Deno.readTextFileSync(`${folder}/started`).trim();
      assert(![...folderNames("/proc")].includes(pid), "qemu-img has ended too");
    });
  });
}

function* folderNames(path: string): Generator<string> {
  try {
    for (const { name } of Deno.readDirSync(path)) yield name;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
