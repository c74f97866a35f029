/**
 * The source files of this project.
 *
 * @module
 */

const NOT_OURS = ["dist", "node_modules"];

/** The paths below `root`, which ends in a slash, of files with one of these endings, sorted. */
export function sources(root: string, endings: readonly string[], folder = ""): string[] {
  const files: string[] = [];
  for (const { name, isFile, isDirectory } of Deno.readDirSync(root + folder)) {
    if (name.startsWith(".") || NOT_OURS.includes(name)) continue;
    if (isFile && endings.some((ending) => name.endsWith(ending))) files.push(folder + name);
    if (isDirectory) files.push(...sources(root, endings, `${folder}${name}/`));
  }
  return files.sort();
}
