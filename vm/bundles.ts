/**
 * The commands, the Workers and the backends, each in one file, for guests.
 *
 * An emulated CPU loads a program of 90 modules, or of 330, several times as slowly as one file with
 * the same code: most of the time of a short command, or of a Worker's start. So the tests in a guest
 * run most commands and Workers from bundles of the very same sources (`tests/bundles.ts`). The
 * README's and the tutorial's programs run from the sources.
 *
 * @module
 */
import { dirname, relative } from "node:path/posix";
import { output, say, VmError } from "./host.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** Where a guest has them, in the project's folder: there Deno finds `deno.json` for them too. */
export const BUNDLES_IN_GUEST = `${ROOT}.bundles`;

/** The modules that something starts or loads by its address, relative to the project's folder. */
function entries(): string[] {
  const { exports } = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  const commands = Object.values<string>(exports).filter((path) => path.startsWith("./cmd/"));
  const backends = ["backends", "backends/wrappers"].flatMap((folder) =>
    [...Deno.readDirSync(ROOT + folder)]
      .map(({ name }) => `${folder}/${name}`)
      .filter((path) => path.endsWith(".ts") && !path.endsWith("_test.ts"))
      .filter((path) => Deno.readTextFileSync(ROOT + path).includes("import.meta.url"))
  );
  return [
    ...commands.map((path) => path.slice(2)),
    "queue/worker.ts",
    "device/watchdog_worker.ts",
    "volume/drain/worker.ts",
    "volume/cache/worker.ts",
    ...backends,
  ];
}

/**
 * Makes them in a folder that has the same structure as the project's. Deno's bundler is experimental,
 * and itself downloaded: without it there are none, and the tests run the sources.
 */
export async function makeBundles(folder: string): Promise<void> {
  try {
    await make(folder);
  } catch (error) {
    if (!(error instanceof VmError)) throw error;
    say(`the tests run from sources, which takes longer: ${error.message}`);
  }
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
