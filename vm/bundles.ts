/**
 * The commands, the Workers, the backends and the tests' own servers, each in one file, for guests.
 *
 * An emulated CPU loads a program of 90 modules, or of 330, several times as slowly as one file with
 * the same code: most of the time of a short command, or of a Worker's start. So the tests in a guest
 * run most commands, Workers and servers of their own from bundles of the very same sources
 * (`tests/bundles.ts`). The README's and the tutorial's programs run from the sources.
 *
 * @module
 */
import { dirname, relative } from "node:path/posix";
import { cacheDir, exists, lock, output, say, VmError } from "./host.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** Where a guest has them, in the project's folder: there Deno finds `deno.json` for them too. */
export const BUNDLES_IN_GUEST = `${ROOT}.bundles`;

/** The modules that something starts or loads by its address, relative to the project's folder. */
function entries(): string[] {
  const { exports } = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  const commands = Object.values<string>(exports).filter((path) => path.startsWith("./cmd/"));
  const backends = ["backends", "backends/wrappers", "tests/backends"].flatMap((folder) =>
    modulesIn(folder)
      .filter((path) => Deno.readTextFileSync(ROOT + path).includes("import.meta.url"))
  );
  const programs = modulesIn("tests/e2e").filter((path) => PROGRAM.test(path));
  return [
    ...commands.map((path) => path.slice(2)),
    "queue/worker.ts",
    "device/watchdog_worker.ts",
    "volume/drain/worker.ts",
    "volume/cache/worker.ts",
    ...backends,
    ...programs,
  ];
}

/** Servers and clients that the suites start as processes, and a module that one has Workers load. */
const PROGRAM = /\/_(\w+_server|\w+_client|rounds|delete_device|zoned_module)\.ts$/;

function modulesIn(folder: string): string[] {
  return [...Deno.readDirSync(ROOT + folder)]
    .map(({ name }) => `${folder}/${name}`)
    .filter((path) => path.endsWith(".ts") && !path.endsWith("_test.ts"))
    .sort();
}

/** How long bundles of sources that nobody asks for stay in the cache. */
const KEPT_MS = 24 * 3600_000;

/**
 * Makes them, once for all guests that have the same sources, and returns their folder. It has the
 * same structure as the project's. Deno's bundler is experimental, and itself downloaded: without it
 * there are none, and the tests run the sources.
 */
export async function ensureBundles(signal?: AbortSignal): Promise<string | undefined> {
  try {
    using _lock = await lock("bundles", "another run is making bundles; waiting for it", signal);
    const all = `${cacheDir()}/bundles`;
    const made = `${all}/${await sourcesKey(ROOT)}`;
    if (!(await exists(made))) {
      await removeOld(all);
      // Debris of a killed run. The lock is held, so nobody is using it.
      await Deno.remove(`${made}.tmp`, { recursive: true }).catch(() => {});
      await make(`${made}.tmp`);
      await Deno.rename(`${made}.tmp`, made);
    }
    await Deno.utime(made, new Date(), new Date());
    return made;
  } catch (error) {
    if (!(error instanceof VmError)) throw error;
    say(`the tests run from sources, which takes longer: ${error.message}`);
    return undefined;
  }
}

/** Copies them, if there are any, into a folder. */
export async function putBundles(folder: string, signal?: AbortSignal): Promise<void> {
  const made = await ensureBundles(signal);
  if (made !== undefined) await output("cp", ["--recursive", `${made}/.`, folder]);
}

async function removeOld(all: string): Promise<void> {
  await Deno.mkdir(all, { recursive: true });
  for await (const { name } of Deno.readDir(all)) {
    const { mtime } = await Deno.stat(`${all}/${name}`);
    if (Date.now() - mtime!.getTime() < KEPT_MS) continue;
    await Deno.remove(`${all}/${name}`, { recursive: true });
  }
}

/** What may be in a bundle: programs, and what they import besides. */
const SOURCE = /\.([cm]?[jt]s|json|lock)$/;
/** Folders of a checkout that are none of its sources. */
const NO_SOURCES = /^(\..*|node_modules|dist|coverage)$/;

/** A name for the sources in a folder, as they are, and for the Deno that bundles them. */
export async function sourcesKey(folder: string): Promise<string> {
  const parts = [Deno.version.deno];
  const read = async (at: string): Promise<void> => {
    const entries = await Array.fromAsync(Deno.readDir(folder + at));
    for (const { name, isDirectory, isFile } of entries.sort((a, b) => a.name < b.name ? -1 : 1)) {
      if (isDirectory && !NO_SOURCES.test(name)) await read(`${at}${name}/`);
      if (isFile && SOURCE.test(name)) {
        parts.push(at + name, await Deno.readTextFile(folder + at + name));
      }
    }
  };
  await read("");
  const bytes = new TextEncoder().encode(parts.join("\0"));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex().slice(0, 32);
}

async function make(folder: string): Promise<void> {
  const sources = entries();
  const plain = `${folder}.plain`;
  try {
    await bundle(plain, sources);
    const modules = sources.map((source) => source.replace(/\.ts$/, ".js"));
    for (const [index, path] of modules.entries()) {
      const text = await Deno.readTextFile(`${plain}/${path}`);
      await Deno.writeTextFile(`${plain}/${path}`, readdressed(text, sources[index], sources));
    }
    await bundle(folder, modules.map((path) => `${plain}/${path}`), "--minify");
  } finally {
    await Deno.remove(plain, { recursive: true }).catch(() => {});
  }
}

/** A megabyte that is loaded only to look for a profile of AWS, which no guest has. */
const LEFT_OUT = "@aws-sdk/credential-provider-node";

function bundle(folder: string, files: readonly string[], ...options: string[]): Promise<string> {
  const args = ["bundle", "--quiet", "--platform", "deno", "--external", LEFT_OUT, ...options];
  args.push("--outdir", folder);
  return output(Deno.execPath(), [...args, ...files], {
    cwd: ROOT,
    failure: "no bundles",
  });
}

/**
 * In a bundle all modules have the bundle's address. What they name relative to their own, they are
 * to name relative to it: a bundle's address if there is one, else the source's.
 *
 * @param text A bundle in which the bundler has put a comment with its path before each module.
 */
export function readdressed(text: string, entry: string, entries: readonly string[]): string {
  const address = (path: string) => {
    const target = entries.includes(path)
      ? relative(dirname(entry), path).replace(/\.ts$/, ".js")
      : relative(`.bundles/${dirname(entry)}`, path);
    return `new URL("${/^\./.test(target) ? target : `./${target}`}", import.meta.url)`;
  };
  let module = entry;
  return text.split("\n").map((line) => {
    module = /^\/\/ ([\w./-]+\.ts)$/.exec(line)?.[1] ?? module;
    return line
      .replace(
        /new URL\("([^"]+\.ts)", import\.meta\.url\)/,
        (_, path) => address(new URL(path, `file:///${module}`).pathname.slice(1)),
      )
      .replace(/: import\.meta\.url\b/, `: ${address(module)}.href`);
  }).join("\n");
}
