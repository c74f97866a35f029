/**
 * Extracts the programs of `docs/writing-a-backend.md` and other pages to files, so that tests run
 * exactly what the page shows.
 *
 * @module
 */

const ROOT = new URL("../", import.meta.url);
const PAGE = "docs/writing-a-backend.md";

/** The page's programs by file name, with imports from this checkout. */
export function tutorialPrograms(name = PAGE): Map<string, string> {
  const page = Deno.readTextFileSync(new URL(name, ROOT));
  const programs = new Map<string, string>();
  for (const [, name, text] of page.matchAll(/^```ts\n\/\/ (\S+)\n([\s\S]*?)^```$/gm)) {
    programs.set(name, withCheckout(text));
  }
  return programs;
}

/** A program, with imports from this checkout instead of the published package. */
export function withCheckout(program: string): string {
  return program
    .replaceAll("jsr:@ublk/ublk/testing", new URL("testing.ts", ROOT).href)
    .replaceAll("jsr:@ublk/ublk", new URL("mod.ts", ROOT).href);
}

/** Creates a folder with the programs. Its path ends in a slash. */
export async function tutorialFolder(page = PAGE): Promise<string> {
  const folder = `${await Deno.makeTempDir({ prefix: "ublk-tutorial-" })}/`;
  for (const [name, text] of tutorialPrograms(page)) await Deno.writeTextFile(folder + name, text);
  return folder;
}
