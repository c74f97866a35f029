/**
 * The bundles that a guest has of the commands, the Workers, the backends and the tests' own servers
 * (`vm/bundles.ts`): emulated, they start in half of the time. Without them, as on the host, the tests run the sources.
 *
 * @module
 */

import type { BackendSpec } from "../disk/spec.ts";

/** By way of this module's own address, which is the source's in a bundle too. */
const ROOT = new URL("..", new URL("./bundles.ts", import.meta.url)).href;
const FOLDER = Deno.env.get("UBLK_VM_BUNDLES");

/** The bundle of a module of this project, if there is one. */
export function bundleOf(path: string): string | undefined {
  if (FOLDER === undefined) return undefined;
  const bundle = `${FOLDER}/${path.replace(/\.ts$/, ".js")}`;
  try {
    Deno.statSync(bundle);
    return bundle;
  } catch {
    return undefined;
  }
}

/** The path of a program that a suite starts: of its bundle if there is one, else of the source. */
export function programPath(path: string): string {
  return bundleOf(path) ?? new URL(path, ROOT).pathname;
}

/** The address of a module's bundle if there is one, else of the module. */
function addressOf(module: string): string {
  if (!module.startsWith(ROOT)) return module;
  const bundle = bundleOf(module.slice(ROOT.length));
  return bundle === undefined ? module : `file://${bundle}`;
}

function bundled(spec: BackendSpec): BackendSpec {
  return { ...spec, module: addressOf(spec.module), inner: spec.inner?.map(bundled) };
}

/** Has `serve()` in this process start its Workers from bundles, with backends from bundles. */
export function bundleWorkers(): void {
  if (FOLDER === undefined) return;
  const { Worker } = globalThis;
  globalThis.Worker = class extends Worker {
    constructor(url: string | URL, options?: WorkerOptions) {
      super(addressOf(`${url}`), options);
    }

    override postMessage(message: unknown, options?: StructuredSerializeOptions | Transferable[]) {
      const { spec } = (message ?? {}) as { spec?: BackendSpec };
      const sent = spec === undefined ? message : { ...message as object, spec: bundled(spec) };
      super.postMessage(sent, options as StructuredSerializeOptions);
    }
  };
}
