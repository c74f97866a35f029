/**
 * What `docs/checkout.md` says: commands and library from a checkout, used in a folder of one's own.
 *
 * Each command gets as far as to the driver, which is not there: by then it has read its files.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { TEMPLATE } from "../../cmd/server/init_backend.ts";
import config from "../../deno.json" with { type: "json" };
import importMap from "../../links/import_map.json" with { type: "json" };
import { pages, snippetsOf } from "../snippets.ts";
import { ROOT, withPrivateDev } from "./_run_command.ts";

const PAGE = "docs/checkout.md";
const BLOCKS = snippetsOf(PAGE);
/** Where the page has the checkout of the user, and that of all users. */
const [OWN_CHECKOUT, OPT_CHECKOUT] = ["~/ublk/", "/opt/ublk/"];

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

/** The block of the page that has some words. */
function block(words: string): string {
  const found = BLOCKS.filter(({ text }) => text.includes(words));
  assertEquals(found.length, 1, `${PAGE}: blocks with ${words}`);
  return found[0].text;
}

/** A line of the page, word by word, with this checkout in place of the page's. */
function lineOf(words: string): string[] {
  return block(words).replaceAll(OWN_CHECKOUT, ROOT).replaceAll(OPT_CHECKOUT, ROOT).split(" ");
}

/** Runs a program in a folder, where `/dev` has no ublk; `mounts` is a line of shell before it. */
async function run(
  cwd: string,
  line: readonly string[],
  env: Record<string, string> = {},
  mounts = "",
) {
  const [program, ...args] = [...withPrivateDev(mounts), ...line];
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

/** A line of the page that begins with `deno`, as this Deno's, without a word about downloads. */
function denoLine(words: string): [string, ...string[]] {
  const [deno, verb, ...rest] = lineOf(words).filter((word) => word !== "sudo");
  assertEquals(deno, "deno");
  return [Deno.execPath(), verb, "--quiet", ...rest];
}

const TASK = denoLine("deno task").slice(0, -2);

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

/** A folder `bin` of the folder that has `deno`: under npx it is not on the PATH. */
async function linkDeno(bin: string): Promise<void> {
  await Deno.mkdir(bin, { recursive: true });
  await Deno.symlink(await Deno.realPath(Deno.execPath()), `${bin}/deno`);
}

for (const [whose, words] of [["one user", "--name ublk --import-map ~"], ["all", "sudo deno"]]) {
  Deno.test(`deno install --global + for ${whose} + the command works in any folder`, async () => {
    await using own = await ownFolder();
    const install = denoLine(words).map((word) => word === "/usr/local" ? own.path : word);
    const installed = await run(own.path, install, { DENO_INSTALL_ROOT: own.path });
    assertEquals([installed.code, installed.stderr], [0, ""]);
    await linkDeno(`${own.path}/bin`);
    const PATH = `${own.path}/bin:${Deno.env.get("PATH")}`;
    const version = await run(own.work, ["ublk", "--version"], { PATH });
    assertEquals([version.code, version.stdout], [0, `ublk ${config.version}\n`], version.stderr);
    const added = await run(own.work, ["ublk", "add", "--config", "disks.toml"], { PATH });
    assertMatch(added.stderr, NO_DRIVER);
  });
}

// It was `deno run -A cmd/ublk.ts`, which is nothing but in the checkout.
Deno.test("the alias of docs/writing-a-backend.md for a checkout + runs in any folder", async () => {
  await using own = await ownFolder();
  const [text, ...others] = snippetsOf("docs/writing-a-backend.md")
    .filter(({ runBy }) => runBy?.includes("checkout_test")).map(({ text }) => text);
  assertEquals(others, []);
  const [, line] = /^alias ublk='deno (.*)'$/.exec(text.replaceAll(OWN_CHECKOUT, ROOT))!;
  const args = ["add", "-t", "./mine.ts"];
  assertMatch(
    (await run(own.work, [Deno.execPath(), ...line.split(" "), ...args])).stderr,
    NO_DRIVER,
  );
});

// It had `~` in it: in a service without HOME that is nothing, and the home of each caller else.
Deno.test("/usr/local/bin/ublk of the page + with an empty environment + runs", async () => {
  await using own = await ownFolder();
  const bin = `${own.path}/bin`;
  // Where the page wants them, whatever there is on this machine.
  const mounts = [
    `mkdir $D/opt && mount --bind '${ROOT}' $D/opt`,
    "mount -t tmpfs none /opt && mkdir /opt/ublk && mount --move $D/opt /opt/ublk && rmdir $D/opt",
    `mount --bind '${bin}' /usr/local/bin`,
  ].join("\n");
  await Deno.mkdir(bin);
  await Deno.copyFile(await Deno.realPath(Deno.execPath()), `${bin}/deno`);
  await Deno.writeTextFile(`${bin}/ublk`, `${block("#!/bin/sh")}\n`, { mode: 0o755 });
  // The cache alone is kept, so that nothing is downloaded again.
  const cache = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
  const kept = ["NO_COLOR=1", "DENO_NO_UPDATE_CHECK=1", `DENO_DIR=${cache}`];
  const ublk = (...args: string[]) =>
    run(own.work, ["env", "-i", ...kept, "/usr/local/bin/ublk", ...args], {}, mounts);
  const version = await ublk("--version");
  assertEquals([version.code, version.stdout], [0, `ublk ${config.version}\n`], version.stderr);
  const added = await ublk("add", "--config", "disks.toml");
  assertMatch(added.stderr, NO_DRIVER);
});

/** The line of the page for a program, with another program. */
function programLine(program: string): [string, ...string[]] {
  const [deno, ...words] = denoLine("my_disk.ts");
  assertEquals(words.pop(), "my_disk.ts");
  return [deno, ...words, program];
}

Deno.test("a program of one's own + the import map of a checkout + it imports all doors", async () => {
  await using own = await ownFolder();
  const byFlag = await run(own.work, programLine("my_disk.ts"));
  assertEquals([byFlag.code, byFlag.stderr], [0, ""]);
  assertMatch(byFlag.stdout, /1048576.*function/s);
  const folder = JSON.parse(block('"importMap"'));
  assertEquals(folder, { importMap: `.${OWN_CHECKOUT.replace("~", ".")}links/import_map.json` });
  await Deno.writeTextFile(`${own.work}/deno.json`, JSON.stringify({ importMap: MAP }));
  const [deno, verb] = programLine("");
  const byFolder = await run(own.work, [deno, verb, "--check", "--allow-all", "my_disk.ts"]);
  const { stderr, ...rest } = byFolder;
  assertEquals(rest, { code: 0, stdout: byFlag.stdout });
  // As the page says.
  assertMatch(
    stderr,
    /^Warning "links" field can only be specified in the workspace root .*\n.*\n$/,
  );
});

// Only `@ublk/ublk` was mapped, and every page has `jsr:@ublk/ublk`.
Deno.test("every program of the pages + the import map of a checkout + is loaded", async () => {
  await using own = await ownFolder();
  const programs = pages().flatMap((page) => snippetsOf(page))
    .filter(({ language, text }) => language === "ts" && text.includes('"jsr:@ublk/ublk'));
  assert(programs.length > 3, `only ${programs.length} programs`);
  const readme = programs.find(({ page }) => page === "README.md");
  await Deno.writeTextFile(`${own.work}/disks.ts`, readme!.text);
  const ran = await run(own.work, programLine("disks.ts"));
  assertMatch(ran.stderr, /UblkError: open \/dev\/ublk-control: .+ driver is not here /);
  const names = programs.map((_, at) => `program_${at}.ts`);
  for (const [at, { text }] of programs.entries()) {
    // A page's files import one another.
    const alone = text.replaceAll(/^import .* from "\.\/.*$/gm, "");
    await Deno.writeTextFile(`${own.work}/${names[at]}`, alone);
  }
  await Deno.writeTextFile(`${own.work}/template.ts`, TEMPLATE);
  const [deno, , ...flags] = programLine("template.ts").filter((word) => word !== "--allow-all");
  for (const name of ["template.ts", ...names]) {
    const cached = await run(own.work, [deno, "cache", ...flags.slice(0, -1), name]);
    assertEquals([cached.code, cached.stderr], [0, ""], name);
  }
});

Deno.test(`${PAGE} + each of its blocks + is run above`, () => {
  const words = ["deno task", "--name ublk --import-map ~", "sudo deno", "#!/bin/sh", "my_disk.ts"];
  assertEquals([...words, '"importMap"'].map(block), BLOCKS.map(({ text }) => text));
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
  const doors = Object.entries(config.exports)
    .filter(([name, path]) => name !== "./worker" && !path.startsWith("./cmd/"));
  for (const [name, path] of doors) {
    for (const scheme of ["", "jsr:"]) {
      assertEquals(imports[`${scheme}@ublk/ublk${name.slice(1)}`], path.replace("./", "../"));
    }
  }
  assertEquals(Object.keys(imports).length, Object.keys(config.imports).length + 2 * doors.length);
});
