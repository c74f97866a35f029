import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { inFolder, type VolumeFolders } from "../../tests/volumes/folders.ts";
import { Volume } from "../../volume/volume.ts";

const root = new URL("../..", import.meta.url);
const BLOCK = 4096;

async function run(...args: string[]) {
  const line = ["run", "-A", "cmd/ublk-volume.ts", ...args];
  const command = new Deno.Command(Deno.execPath(), { args: line, cwd: root });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** The commands of one store. */
function commandsOf({ store, journal }: VolumeFolders) {
  const places = (command: string) =>
    ["snapshot", "clone", "rm", "gc"].includes(command)
      ? ["--store", store, "--journal", journal]
      : ["--store", store];
  const raw = ([command, ...args]: readonly string[]) => run(command, ...args, ...places(command));
  return {
    /** Runs a command, which must succeed. @returns What it prints. */
    async does(...args: string[]): Promise<string> {
      const { code, out, err } = await raw(args);
      assertEquals([code, err], [0, ""], args.join(" "));
      return out;
    },
    /** Runs a command, which must be refused. @returns The line that it prints. */
    async refuses(...args: string[]): Promise<string> {
      const { code, out, err } = await raw(args);
      assertEquals([out, err.trim().split("\n").length], ["", 1], args.join(" "));
      assert(code === 1 || code === 2, args.join(" "));
      return err;
    },
  };
}

async function write(at: VolumeFolders, name: string, byte: number, block = 0): Promise<void> {
  await using volume = await Volume.open(name, at);
  await volume.write(new Uint8Array(2 * BLOCK).fill(byte), block * BLOCK);
}

async function firstByte({ store }: VolumeFolders, name: string): Promise<number> {
  await using volume = await Volume.open(name, { store, readOnly: true });
  const found = new Uint8Array(BLOCK);
  await volume.read(found, 0);
  return found[0];
}

Deno.test("ublk-volume + snapshots are made, listed, gone back to and removed", async () => {
  await inFolder(async (at) => {
    const { does, refuses } = commandsOf(at);
    await does("create", "db", "--size", "1M");
    await write(at, "db", 1);
    await does("snapshot", "db", "monday");
    assertStringIncludes(await refuses("snapshot", "db", "monday"), "a snapshot of that name");
    await write(at, "db", 2);
    assertMatch(
      await does("snapshots", "db"),
      /^NAME +SIZE +CREATED +STATE\nmonday +1 ?MiB +20.*Z +completed\n$/,
    );
    const [found] = JSON.parse(await does("snapshots", "db", "--json"));
    assertEquals([found.name, found.size], ["monday", 1 << 20]);
    await does("rollback", "db", "monday");
    assertEquals(await firstByte(at, "db"), 1);
    assertStringIncludes(await refuses("rollback", "db", "no"), "no snapshot of that name");
    await does("rm", "db@monday");
    assertEquals(await does("snapshots", "db", "--noheadings"), "");
    assertMatch(await does("gc", "db"), /freed\n$/);
    assertEquals(await firstByte(at, "db"), 1);
  });
});

Deno.test("ublk-volume + clones are made, told of, flattened, and outlive their source", async () => {
  await inFolder(async (at) => {
    const { does, refuses } = commandsOf(at);
    await does("create", "db", "--size", "1M");
    await write(at, "db", 1);
    await does("snapshot", "db", "monday");
    await write(at, "db", 2);
    await does("clone", "db@monday", "then");
    await does("clone", "db", "now", "--size", "2M");
    assertStringIncludes(
      await refuses("clone", "db", "small", "--size", "64K"),
      "has 1048576 bytes",
    );
    assertStringIncludes(await refuses("clone", "db", "now"), "has a volume of that name");
    await does("rm", "db@monday");
    await write(at, "then", 3, 1);
    const info = await does("info", "then");
    assertMatch(info, /^cloned from: db$/m);
    assertMatch(info, /^shared: +4 ?KiB$/m);
    assertMatch(await does("info", "db"), /^clones: +now, then$/m);
    assertEquals(JSON.parse(await does("info", "db", "--json")).clones, ["now", "then"]);
    await does("rm", "db");
    assertMatch(await does("ls", "--noheadings"), /^now .*\nthen .*\n$/);
    assertStringIncludes(
      await refuses("create", "db", "--size", "1M"),
      "clones still need its data",
    );
    assertEquals([await firstByte(at, "then"), await firstByte(at, "now")], [1, 2]);
    await does("rm", "now");
    assertMatch(await does("flatten", "then"), /^4 ?KiB copied\n$/);
    assertMatch(await does("check", "then"), /, 0 damaged$/m);
    assertMatch(await does("info", "then"), /^cloned from: -$/m);
    assertEquals(await firstByte(at, "then"), 1);
    await does("create", "db", "--size", "1M");
    assertEquals(await firstByte(at, "db"), 0);
  });
});
