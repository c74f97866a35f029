/** The import map of a checkout, by which programs of other folders use it. */

import { assert, assertEquals } from "@std/assert";
import { Scratch } from "./scratch.ts";
import { sources } from "./sources.ts";
import { makeZip } from "./zip_writer.ts";

const ROOT = new URL("..", import.meta.url);
const MAP = new URL("links/import_map.json", ROOT);

/** Folders that no program of another folder runs. */
const NOT_FOR_OTHERS = /^(bench|demo|docs|tests|vm)\/|_test\.ts$/;

/** Imports, also those by `import()`, and those of types, which are resolved as well. */
const IMPORT = /(?:^import|^\} from|^(?:import|export) .*from|\bimport\()\s*"([^"]+)"/gm;

/** The address that an import map gives a bare specifier: it knows nothing of packages. */
function resolved(specifier: string, imports: Record<string, string>): string | undefined {
  if (specifier in imports) return imports[specifier];
  const folders = Object.keys(imports).filter((key) => key.endsWith("/"));
  const folder = folders.find((key) => specifier.startsWith(key));
  return folder && imports[folder] + specifier.slice(folder.length);
}

Deno.test("links/import_map.json resolves all that the package imports", () => {
  const imports: Record<string, string> = JSON.parse(Deno.readTextFileSync(MAP)).imports;
  const bare = new Set<string>();
  for (const path of sources(ROOT.pathname, [".ts"])) {
    if (NOT_FOR_OTHERS.test(path)) continue;
    for (const [, specifier] of Deno.readTextFileSync(new URL(path, ROOT)).matchAll(IMPORT)) {
      // Relative, or an address: `node:`, `npm:`.
      if (/^(\.|[a-z]+:)/.test(specifier)) continue;
      bare.add(specifier);
      // A module within a package was once imported, and the map had the package alone.
      assert(resolved(specifier, imports) !== undefined, `${path} imports ${specifier}`);
    }
  }
  assert(bare.has("@zip.js/zip.js/lib/zip-core-reader.js"), [...bare].join());
});

Deno.test("links/import_map.json is all that a program needs to open an archive", async () => {
  using scratch = new Scratch();
  Deno.writeFileSync(`${scratch.path}/a.zip`, await makeZip([{ name: "a" }, { name: "b" }]));
  Deno.writeTextFileSync(
    `${scratch.path}/program.ts`,
    `import { Archive } from "${new URL("backends/zip/archive.ts", ROOT)}";
    console.log((await Archive.open("a.zip")).members.count);`,
  );
  // With `deno.json` it would be resolved by that.
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", "--no-config", "--import-map", MAP.pathname, "program.ts"],
    cwd: scratch.path,
    stdin: "null",
  }).output();
  assertEquals([stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)), ["2\n", ""]);
});
