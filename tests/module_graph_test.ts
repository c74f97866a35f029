/**
 * Checks the package's module graph, as Deno sees it: npm packages are loaded only when a command needs
 * them.
 */

import { assert, assertEquals } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import { type Info, infoOfDoor } from "./import_graph.ts";

const ROOT = new URL("..", import.meta.url);

/** The only modules that load npm packages, by `import()`, and the packages. */
const LAZY: Record<string, readonly string[]> = {
  "backends/zip/directory.ts": ["@zip.js/zip.js"],
  "cmd/line/config_file.ts": ["jsonc-parser", "toml-eslint-parser"],
  "ebs/claims/nats_key_value.ts": ["@nats-io/jetstream", "@nats-io/kv", "@nats-io/transport-node"],
  "ebs/nats/connect.ts": ["@nats-io/transport-node"],
  "ebs/nats/server.ts": ["@nats-io/transport-node"],
  "store/s3/client.ts": ["aws4fetch"],
  "store/s3/credentials.ts": ["@aws-sdk/credential-provider-node"],
};

/** Modules that import an npm package statically, because their users have asked for it. */
const ASKED_FOR: Record<string, readonly string[]> = {
  "metrics/exposition.ts": ["prom-client"],
  "ebs/schema.ts": ["valibot"],
};
/** What they ask for. The commands load none of it before they are told to. */
const ASKING: readonly string[] = ["./metrics.ts", "./cmd/ublk-ebs.ts"];

/** The entry points of the package: its exports and its Workers. */
const DOORS = [...Object.values(config.exports), ...config.compile.include];

/** One use of an npm package. */
interface Use {
  /** The module's path in the project's folder. */
  readonly module: string;
  readonly package: string;
  /** Whether it is loaded by `import()`, on demand. */
  readonly lazy: boolean;
}

/** The modules reached by code; type imports would reach more. */
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

Deno.test("a Tab loads neither devices nor servers: completions of commands, flags, values", async () => {
  for (const door of ["cmd/ublk.ts", "cmd/completion/complete.ts", "cmd/line/help.ts"]) {
    const loaded = loadedAtOnce((await infoOfDoor(door)).modules, new URL(door, ROOT).href);
    assert(loaded.size > 5, `${door} is a module of this project`);
    const heavy = [...loaded].map((one) => one.slice(ROOT.href.length))
      .filter((path) => /^(backends|device|queue|cmd\/(devices|server|watch))\//.test(path));
    // Its texts, without a queue.
    assertEquals(heavy.filter((path) => path !== "queue/messages.ts"), [], door);
  }
});

/** All uses of npm in the modules that a door leads to, by whatever way. */
async function usesOf(door: string): Promise<Use[]> {
  const modules = (await infoOfDoor(door)).modules;
  // Beside the project itself are packages of npm, and std where jsr.io can be reached.
  const byCode = reachedByCode(modules, new URL(door, ROOT).href);
  const projectModules = modules.filter(({ specifier }) =>
    specifier.startsWith(ROOT.href) && byCode.has(specifier)
  );
  assert(projectModules.length > 0, `${door} is a module of this project`);
  return projectModules.flatMap(({ specifier, error, dependencies = [] }) => {
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

Deno.test("only few modules load npm packages, and only on demand", async () => {
  const found: Record<string, readonly string[]> = {};
  const doors = DOORS.filter((door) => !ASKING.includes(door));
  for (const use of (await Promise.all(doors.map(usesOf))).flat()) {
    assert(use.lazy, `${use.module} imports ${use.package} statically`);
    found[use.module] = [...new Set([...found[use.module] ?? [], use.package])].sort();
  }
  const asked = (await Promise.all(ASKING.map(usesOf))).flat();
  for (const { module, package: name, lazy } of asked) {
    if (lazy) found[module] = [...new Set([...found[module] ?? [], name])].sort();
    else assert(ASKED_FOR[module]?.includes(name), `${module} imports ${name} statically`);
  }
  assertEquals(found, LAZY);
});

Deno.test("mod.ts runs without npm, which only archives need", async () => {
  const modules = (await usesOf("./mod.ts")).map(({ module }) => module);
  assertEquals([...new Set(modules)], ["backends/zip/directory.ts"]);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-npm", "--no-prompt", "./mod.ts"],
    cwd: ROOT,
    stdin: "null",
  }).output();
  assert(success, new TextDecoder().decode(stderr));
});
