/**
 * Which module of this project imports which, as Deno itself sees it.
 *
 * @module
 */

import { sources } from "./sources.ts";

/** The project's folder, as a URL. */
const ROOT = new URL("..", import.meta.url);
/** See docs/decisions/0004. They are no rooms of this house. */
const STAND_INS = new URL("links/", ROOT).href;

/**
 * How a module imports another: `code` before it runs, `lazy` by `import()`, `type` not at all once
 * the types are gone.
 */
export type ImportKind = "code" | "lazy" | "type";

/** One import. Both paths are relative to the project's folder. */
export interface Import {
  readonly from: string;
  readonly to: string;
  readonly kind: ImportKind;
}

/** The fields of `deno info --json` that count here. */
export interface Info {
  readonly modules: readonly {
    readonly specifier: string;
    readonly error?: string;
    readonly dependencies?: readonly {
      readonly isDynamic?: boolean;
      readonly code?: { readonly specifier?: string; readonly error?: string };
      readonly type?: { readonly specifier?: string };
    }[];
  }[];
}

/** All imports between modules of this project, in the order of their paths. */
export async function importGraph(): Promise<Import[]> {
  const all = sources(ROOT.pathname, [".ts"]).filter((path) => !path.startsWith("links/"));
  const imports: Import[] = [];
  for (const { specifier, error, dependencies = [] } of (await infoOf(all)).modules) {
    if (!specifier.startsWith(ROOT.href) || specifier.startsWith(STAND_INS)) continue;
    const from = specifier.slice(ROOT.href.length);
    if (error !== undefined) throw new Error(`${from}: ${error}`);
    for (const { isDynamic = false, code, type } of dependencies) {
      if (code?.error !== undefined) throw new Error(`${from}: ${code.error}`);
      const target = code?.specifier ?? type?.specifier;
      // Beside the project itself are packages of npm, and std, or what stands in for it.
      if (
        !target?.startsWith(ROOT.href) || target.startsWith(STAND_INS) || !target.endsWith(".ts")
      ) continue;
      const kind = code === undefined ? "type" : isDynamic ? "lazy" : "code";
      imports.push({ from, to: target.slice(ROOT.href.length), kind });
    }
  }
  return imports.sort((a, b) => a.from < b.from ? -1 : a.from > b.from ? 1 : a.to < b.to ? -1 : 1);
}

/** What Deno knows of some modules: one run over a module that imports them all. */
async function infoOf(paths: readonly string[]): Promise<Info> {
  const door = await Deno.makeTempFile({ prefix: "ublk-imports-", suffix: ".ts" });
  try {
    const lines = paths.map((path) => `import ${JSON.stringify(new URL(path, ROOT).href)};\n`);
    await Deno.writeTextFile(door, lines.join(""));
    return await infoOfDoor(door);
  } finally {
    await Deno.remove(door);
  }
}

/** What Deno knows of a module, and of all that it leads to. */
export async function infoOfDoor(door: string): Promise<Info> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--config", "deno.json", door],
    cwd: ROOT,
    stdin: "null",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

/**
 * The groups of modules that import each other in a circle: every module of a group leads to every
 * other one. In the order of their paths.
 */
export function cycles(imports: readonly Import[]): string[][] {
  const next = new Map<string, string[]>();
  for (const { from, to } of imports) {
    const targets = next.get(from);
    if (targets === undefined) next.set(from, [to]);
    else targets.push(to);
  }
  // Tarjan's algorithm: `low` is the earliest module on the stack that one leads back to.
  const order = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const onStack = new Set<string>();
  const found: string[][] = [];
  const visit = (module: string): void => {
    order.set(module, order.size);
    low.set(module, order.get(module)!);
    stack.push(module);
    onStack.add(module);
    for (const to of next.get(module) ?? []) {
      if (!order.has(to)) {
        visit(to);
        low.set(module, Math.min(low.get(module)!, low.get(to)!));
      } else if (onStack.has(to)) {
        low.set(module, Math.min(low.get(module)!, order.get(to)!));
      }
    }
    if (low.get(module) !== order.get(module)) return;
    const group = stack.splice(stack.lastIndexOf(module));
    for (const one of group) onStack.delete(one);
    if (group.length > 1 || next.get(module)?.includes(module)) found.push(group.sort());
  };
  for (const module of [...next.keys()].sort()) if (!order.has(module)) visit(module);
  return found.sort((a, b) => a[0]! < b[0]! ? -1 : 1);
}
