/**
 * What the package is made of, as Deno itself sees it: nothing of npm is loaded unless a command
 * needs it.
 */

import { assert, assertEquals } from "@std/assert";
import config from "../deno.json" with { type: "json" };

const ROOT = new URL("..", import.meta.url);

/** The only modules that load packages of npm, by `import()`, and which. */
const LAZY: Record<string, readonly string[]> = {
  "backends/zip/directory.ts": ["@zip.js/zip.js"],
  "cmd/line/config_file.ts": ["jsonc-parser", "toml-eslint-parser"],
};

/** A door that is all about a package: who goes in has asked for it. */
const ASKED_FOR: Record<string, readonly string[]> = { "metrics/exposition.ts": ["prom-client"] };
const ASKING = "./metrics.ts";

/** What the package begins with: what it exports, and its Workers. */
const DOORS = [...Object.values(config.exports), ...config.compile.include];

/** One use of a package of npm. */
interface Use {
  /** Relative to the project's folder. */
  readonly module: string;
  readonly package: string;
  /** By `import()`, when it is wanted. */
  readonly lazy: boolean;
}

/** The fields of `deno info --json` that count here. */
interface Info {
  readonly modules: readonly {
    readonly specifier: string;
    readonly error?: string;
    readonly dependencies?: readonly {
      readonly isDynamic?: boolean;
      readonly code?: { readonly specifier?: string; readonly error?: string };
    }[];
  }[];
}

/** The modules that run, or may: types alone lead to more. */
function reachedByCode(modules: Info["modules"], door: string): Set<string> {
  const reached = new Set([door]);
  for (const specifier of reached) {
    const { dependencies = [] } = modules.find((one) => one.specifier === specifier) ?? {};
    for (const { code } of dependencies) if (code?.specifier) reached.add(code.specifier);
  }
  return reached;
}

/** What is reached before anything is imported on demand. */
function loadedAtOnce(modules: Info["modules"], door: string): Set<string> {
  const reached = new Set([door]);
  for (const specifier of reached) {
    const { dependencies = [] } = modules.find((one) => one.specifier === specifier) ?? {};
    for (const { code, isDynamic } of dependencies) {
      if (code?.specifier && !isDynamic) reached.add(code.specifier);
    }
  }
  return reached;
}

/** All that a door leads to, as Deno tells it. */
async function modulesOf(door: string): Promise<Info["modules"]> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", door],
    cwd: ROOT,
    stdin: "null",
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return (JSON.parse(new TextDecoder().decode(stdout)) as Info).modules;
}

Deno.test("a Tab loads neither devices nor servers: completions of commands, flags, values", async () => {
  for (const door of ["cmd/ublk.ts", "cmd/line/complete.ts", "cmd/line/help.ts"]) {
    const loaded = loadedAtOnce(await modulesOf(door), new URL(door, ROOT).href);
    assert(loaded.size > 5, `${door} is a module of this project`);
    const heavy = [...loaded].map((one) => one.slice(ROOT.href.length))
      .filter((path) => /^(backends|device|queue|cmd\/(devices|server|watch))\//.test(path));
    // Its texts, without a queue.
    assertEquals(heavy.filter((path) => path !== "queue/messages.ts"), [], door);
  }
});

/** All uses of npm in the modules that a door leads to, by whatever way. */
async function usesOf(door: string): Promise<Use[]> {
  const modules = await modulesOf(door);
  // Beside the project itself are packages of npm, and std where jsr.io can be reached.
  const byCode = reachedByCode(modules, new URL(door, ROOT).href);
  const own = modules.filter(({ specifier }) =>
    specifier.startsWith(ROOT.href) && byCode.has(specifier)
  );
  assert(own.length > 0, `${door} is a module of this project`);
  return own.flatMap(({ specifier, error, dependencies = [] }) => {
    const module = specifier.slice(ROOT.href.length);
    assertEquals(error, undefined, module);
    // The stand-ins for std are not published: see docs/decisions/0004.
    if (module.startsWith("links/")) return [];
    return dependencies.flatMap(({ isDynamic = false, code }) => {
      assertEquals(code?.error, undefined, module);
      const name = /^npm:\/?((?:@[^/]+\/)?[^@/]+)/.exec(code?.specifier ?? "")?.[1];
      return name === undefined ? [] : [{ module, package: name, lazy: isDynamic }];
    });
  });
}

Deno.test("no module loads a package of npm before it is needed, and few do at all", async () => {
  const found: Record<string, readonly string[]> = {};
  const doors = DOORS.filter((door) => door !== ASKING);
  for (const use of (await Promise.all(doors.map(usesOf))).flat()) {
    assert(use.lazy, `${use.module} imports ${use.package} statically`);
    found[use.module] = [...new Set([...found[use.module] ?? [], use.package])].sort();
  }
  assertEquals(found, LAZY);
  for (const { module, package: name } of await usesOf(ASKING)) {
    assert(
      [...LAZY[module] ?? [], ...ASKED_FOR[module] ?? []].includes(name),
      `${module}: ${name}`,
    );
  }
});

Deno.test("mod.ts runs where there is no npm: for archives alone it would be needed", async () => {
  const modules = (await usesOf("./mod.ts")).map(({ module }) => module);
  assertEquals([...new Set(modules)], ["backends/zip/directory.ts"]);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-npm", "--no-prompt", "./mod.ts"],
    cwd: ROOT,
    stdin: "null",
  }).output();
  assert(success, new TextDecoder().decode(stderr));
});

/** Folders that are entered by one file only, and that file. */
const ROOMS = { "backends/zip/": "backends/zip.ts" };

/** The project's modules, but for tests. */
function* modulesIn(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    if (name.startsWith(".") || name === "node_modules") continue;
    if (isDirectory) yield* modulesIn(`${folder}${name}/`);
    else if (name.endsWith(".ts") && !name.endsWith("_test.ts")) yield `${folder}${name}`;
  }
}

Deno.test("a room with a door is entered by its door", () => {
  const entered = new Set<string>();
  for (const module of modulesIn("./")) {
    const path = module.slice(2);
    const text = Deno.readTextFileSync(new URL(module, ROOT));
    for (const [, to] of text.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)) {
      const target = new URL(to, new URL(module, ROOT)).href.slice(ROOT.href.length);
      for (const [room, door] of Object.entries(ROOMS)) {
        if (!target.startsWith(room) || path.startsWith(room)) continue;
        assertEquals(path, door, `${path} imports ${target}`);
        entered.add(room);
      }
    }
  }
  assertEquals([...entered], Object.keys(ROOMS));
});
