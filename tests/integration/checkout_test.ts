/**
 * What `docs/checkout.md` says: commands and library from a checkout, used in a folder of one's own.
 *
 * Each command gets as far as to the driver, which is not there: by then it has read its files.
 */

import { assertEquals, assertMatch } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import importMap from "../../links/import_map.json" with { type: "json" };
import { ROOT, withPrivateDev } from "./_run_command.ts";

const MAP = `${ROOT}links/import_map.json`;
const NO_DRIVER = /^ublk[a-z-]*: error: open \/dev\/ublk-control: .+ driver is not here .+\n$/;

/** A folder of one's own with some files, and another one. */
async function ownFolder() {
  const path = await Deno.makeTempDir();
  await Deno.mkdir(`${path}/work`);
  const files = {
    "disk.img": new Uint8Array(1 << 20),
    "disks.toml": 'type = "loop"\nfiles = ["disk.img"]\n',
    "mine.ts": "export const open = () => ({ size: 4096, readAt() {}, writeAt() {} });\n",
    "my_disk.ts": `import { memory } from "@ublk/ublk";
      import { mockBackend } from "@ublk/ublk/testing";
      import { serveMetrics } from "@ublk/ublk/metrics";
      await using _ = await serveMetrics("127.0.0.1:0", () => []);
      console.log(memory("1M").options, typeof mockBackend);`,
  };
  for (const [name, content] of Object.entries(files)) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(`${path}/work/${name}`, bytes);
  }
  return {
    path,
    work: `${path}/work`,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** Runs a program in a folder, where `/dev` has no ublk. */
async function run(cwd: string, line: readonly string[], env: Record<string, string> = {}) {
  const [program, ...args] = [...withPrivateDev(""), ...line];
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args,
    cwd,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env },
    stdin: "null",
    signal: AbortSignal.timeout(120_000),
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  // What a cache lacks is none of our affair.
  const said = text(stderr).replaceAll(/^(Download|Check) .*\n/gm, "");
  return { code, stdout: text(stdout), stderr: said };
}

const TASK = [Deno.execPath(), "task", "--quiet", "--config", `${ROOT}deno.json`];

const RELATIVE: [string, ...string[]][] = [
  ["ublk-file", "disk.img"],
  ["ublk", "add", "-t", "loop", "disk.img"],
  ["ublk", "add", "--foreground", "-t", "loop", "--wrap", "cow:new.cow", "disk.img"],
  ["ublk", "add", "--config", "disks.toml"],
  ["ublk", "add", "-t", "./mine.ts"],
];

for (const line of RELATIVE) {
  Deno.test(`deno task ${line.join(" ")} + typed elsewhere + paths are relative to that folder`, async () => {
    await using own = await ownFolder();
    // As a terminal has it that an npm script opened in another folder.
    const ran = await run(own.work, [...TASK, ...line], { INIT_CWD: "/" });
    assertMatch(ran.stderr, NO_DRIVER);
    assertEquals(ran.code, 1);
  });
}

Deno.test("cmd/ublk-file.ts + run by itself + no INIT_CWD misleads it", async () => {
  await using own = await ownFolder();
  const program = [Deno.execPath(), "run", "--quiet", "-A", `${ROOT}cmd/ublk-file.ts`];
  const ran = await run(own.work, [...program, "disk.img"], { INIT_CWD: "/" });
  assertMatch(ran.stderr, NO_DRIVER);
});

Deno.test("deno install --global + from a checkout + the command works in any folder", async () => {
  await using own = await ownFolder();
  const words = ["install", "--quiet", "--global", "--allow-all", "--name", "ublk"];
  const install = [...words, "--root", own.path, "--import-map", MAP, `${ROOT}cmd/ublk.ts`];
  const installed = await run(own.path, [Deno.execPath(), ...install]);
  assertEquals([installed.code, installed.stderr], [0, ""]);
  // It calls for `deno`, which under npx is not on the PATH.
  await Deno.symlink(await Deno.realPath(Deno.execPath()), `${own.path}/bin/deno`);
  const PATH = `${own.path}/bin:${Deno.env.get("PATH")}`;
  const version = await run(own.work, ["ublk", "--version"], { PATH });
  assertEquals([version.code, version.stdout], [0, `ublk ${config.version}\n`], version.stderr);
  const added = await run(own.work, ["ublk", "add", "--config", "disks.toml"], { PATH });
  assertMatch(added.stderr, NO_DRIVER);
});

Deno.test("a program of one's own + the import map of a checkout + it imports all doors", async () => {
  await using own = await ownFolder();
  const deno = (...args: string[]) => run(own.work, [Deno.execPath(), ...args, "my_disk.ts"]);
  const byFlag = await deno("run", "--quiet", "--check", "--allow-all", "--import-map", MAP);
  assertEquals([byFlag.code, byFlag.stderr], [0, ""]);
  assertMatch(byFlag.stdout, /1048576.*function/s);
  await Deno.writeTextFile(`${own.work}/deno.json`, JSON.stringify({ importMap: MAP }));
  assertEquals(await deno("run", "--quiet", "--check", "--allow-all"), byFlag);
});

Deno.test("links/import_map.json has what deno.json has", () => {
  const imports: Record<string, string> = importMap.imports;
  const linked = config.links.map((path) => path.replace("./links/std-", "@std/"));
  for (const [name, place] of Object.entries(config.imports)) {
    const link = `./${name.replace("@std/", "std-")}/mod.ts`;
    // A module within a package: in an import map that is a place of its own.
    const within = place.replace(/^npm:(.*)$/, "npm:/$1/");
    if (imports[name] === undefined) assertEquals(imports[`${name}/`], within);
    else assertEquals(imports[name], linked.includes(name) ? link : place);
  }
  const doors = Object.entries(config.exports).filter(([name]) => !/ublk|worker/.test(name));
  for (const [name, path] of doors) {
    assertEquals(imports[`@ublk/ublk${name.slice(1)}`], path.replace("./", "../"));
  }
  assertEquals(Object.keys(imports).length, Object.keys(config.imports).length + doors.length);
});
