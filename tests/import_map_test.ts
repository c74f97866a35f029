/** The import map through which programs in other folders use a checkout. */

import { assert, assertEquals } from "@std/assert";
import { Scratch } from "./scratch.ts";
import { sources } from "./sources.ts";
import { makeZip } from "./zip_writer.ts";

const ROOT = new URL("..", import.meta.url);
const MAP = new URL("links/import_map.json", ROOT);

/** Files that programs in other folders do not use. */
const NOT_FOR_OTHERS = /^(bench|demo|docs|tests|vm)\/|_test\.ts$/;

/** Imports, including `import()` and type imports, which are resolved too. */
const IMPORT = /(?:^import|^\} from|^(?:import|export) .*from|\bimport\()\s*"([^"]+)"/gm;

/** The address to which an import map resolves a bare specifier, without knowledge of packages. */
function resolved(specifier: string, imports: Record<string, string>): string | undefined {
  if (specifier in imports) return imports[specifier];
  const folders = Object.keys(imports).filter((key) => key.endsWith("/"));
  const folder = folders.find((key) => specifier.startsWith(key));
  return folder && imports[folder] + specifier.slice(folder.length);
}

Deno.test("links/import_map.json resolves every import of the package", () => {
  const imports: Record<string, string> = JSON.parse(Deno.readTextFileSync(MAP)).imports;
  const bare = new Set<string>();
  for (const path of sources(ROOT.pathname, [".ts"])) {
    if (NOT_FOR_OTHERS.test(path)) continue;
    for (const [, specifier] of Deno.readTextFileSync(new URL(path, ROOT)).matchAll(IMPORT)) {
      // A relative path, or a URL: `node:`, `npm:`.
      if (/^(\.|[a-z]+:)/.test(specifier)) continue;
      bare.add(specifier);
      // Once a module of a package was imported, but the map had only the package.
      assert(resolved(specifier, imports) !== undefined, `${path} imports ${specifier}`);
    }
  }
  assert(bare.has("@zip.js/zip.js/lib/zip-core-reader.js"), [...bare].join());
});

Deno.test("links/import_map.json suffices for a program to open an archive", async () => {
  using scratch = new Scratch();
  Deno.writeFileSync(`${scratch.path}/a.zip`, await makeZip([{ name: "a" }, { name: "b" }]));
  Deno.writeTextFileSync(
    `${scratch.path}/program.ts`,
    `import { Archive } from "${new URL("backends/zip/archive.ts", ROOT)}";
    console.log((await Archive.open("a.zip")).members.count);`,
  );
  // Ignore `deno.json`, which would resolve the specifiers.
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", "--no-config", "--import-map", MAP.pathname, "program.ts"],
    cwd: scratch.path,
    stdin: "null",
  }).output();
  assertEquals([stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)), ["2\n", ""]);
});
