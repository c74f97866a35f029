/**
 * What the guest has in its own memory instead of through the 9p share: this project, and Deno's
 * cache.
 *
 * Deno looks for many files that are not there: a package.json in each folder above each module, for
 * one. Neither 9p nor the overlay over it remembers that, so that each look is a round trip to the
 * host: in an emulated guest they were half of the time in which a command or a Worker starts.
 *
 * @module
 */
import { exists, output } from "./host.ts";
import { shellQuote } from "./initramfs.ts";

const ROOT = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** A cache that others have filled with more than this is left on the host, in MiB. */
const MOST_MIB = 200;

/**
 * What no guest asks for, below either folder. npm packages have a `dist` that it does ask for, and
 * types, as many files as all else, which it does not: nothing is type-checked there.
 */
const LEFT_OUT = [
  ".git",
  `${ROOT.slice(1)}/dist`,
  "dl",
  "check_cache_v*",
  "fast_check_cache_v*",
  "*_incremental_*",
  ...["ts", "mts", "cts"].map((extension) => `npm/*.d.${extension}`),
  "npm/*.map",
].map((name) => `--exclude=${name}`);

/**
 * Packs the folders for `guest/stage2.sh`, and returns those that were.
 *
 * @param root A folder whose contents come on top, as the guest's root has them.
 */
export async function packCopies(
  archive: string,
  denoDir: string,
  root?: string,
): Promise<string[]> {
  const folders: string[] = [];
  for (const folder of [ROOT, denoDir]) {
    if (!(await exists(folder))) continue;
    const size = await output("du", ["--summarize", "--block-size=1M", ...LEFT_OUT, folder]);
    if (parseInt(size) <= MOST_MIB) folders.push(await Deno.realPath(folder));
  }
  const names = folders.map((folder) => folder.slice(1));
  // Another Deno may be writing to its cache meanwhile, which then is as after a crash: usable.
  const options = [
    ...["--create", "--warning=no-file-changed", "--ignore-failed-read", ...LEFT_OUT],
    // An archive of nothing is one too.
    "--files-from=/dev/null",
  ];
  const onTop = root === undefined ? [] : [`--directory=${root}`, "."];
  const words = [...options, `--file=${archive}`, "--directory=/", ...names, ...onTop]
    .map(shellQuote).join(" ");
  // tar ends with 1 where a file changed while it was read.
  await output("sh", ["-c", `tar ${words} || [ $? = 1 ]`], { failure: "cannot pack the project" });
  return folders;
}
