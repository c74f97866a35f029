/**
 * Loads the modules of a specification and opens its backends, in the thread that will serve them.
 *
 * @module
 */

import { isUblkError, thrownText, UblkError } from "../uapi/error.ts";
import { type RingFiles, ringFiles } from "../uring/ring_files.ts";
import type { Backend, BackendModule, OpenContext, ShareContext, Sharing } from "./backend.ts";
import { type Claim, claims } from "./claims.ts";
import { eachInTurn } from "./each_of.ts";
import { checkBackend, shapeError } from "./shape.ts";
import type { BackendSpec } from "./spec.ts";

/** A specification whose modules are loaded. */
export interface LoadedBackend {
  /** `"per-queue"` only if every module in the stack declares it. */
  readonly sharing: Sharing;
  /**
   * Makes the shared state of the whole stack. All its parts claim files in one record.
   *
   * @param claim The record of the enclosing stack, if this is a part of one.
   */
  share(claim?: Claim): Promise<unknown>;
  /**
   * Opens the whole stack, innermost first. All its parts use one ring for their files.
   *
   * @param ring The ring of the enclosing stack, if this is a part of one.
   */
  open(queue: number, shared: unknown, ring?: RingFiles): Promise<Backend>;
  /**
   * Closes the backends that {@linkcode open} opened, outermost first, and finally the stack's
   * ring.
   */
  close(): Promise<void>;
  /** Releases the value of {@linkcode share}. */
  unshare(shared: unknown): Promise<void>;
}

/** An existing device, as far as its backend must know it. Plain data. */
export interface RecoveredDevice {
  /** Size of its logical block in bytes. */
  readonly blockSize: number;
}

/** The values of `share`, for a backend and those inside it. */
interface SharedTree {
  readonly own: unknown;
  readonly inner: readonly SharedTree[];
}

/**
 * Loads the modules of a specification.
 *
 * @param recovered The device being recovered, passed to `share` and `open`; undefined for a new
 *   one.
 * @param deadlineMs The time that requests have in milliseconds, passed to `open`.
 * @throws {UblkError} `BACKEND_MODULE` if a module cannot be loaded, `BACKEND_SHAPE` if its exports
 *   are wrong.
 */
export async function loadBackend(
  spec: BackendSpec,
  recovered?: RecoveredDevice,
  deadlineMs?: number,
): Promise<LoadedBackend> {
  const told = { recovering: recovered !== undefined, deviceBlockSize: recovered?.blockSize };
  const inner: LoadedBackend[] = [];
  for (const child of spec.inner ?? []) inner.push(await loadBackend(child, recovered, deadlineMs));
  const module = pick(await importModule(spec.module), spec);
  let opened: Backend | undefined;
  /** The stack's ring, if this is its outermost backend. */
  let ownRing: ReturnType<typeof ringFiles> | undefined;
  const everyone = [module.sharing ?? "single", ...inner.map((child) => child.sharing)];
  return {
    sharing: everyone.every((sharing) => sharing === "per-queue") ? "per-queue" : "single",
    async share(claim = claims()): Promise<SharedTree> {
      const shared: unknown[] = [];
      try {
        for (const child of inner) shared.push(await child.share(claim));
        const context: ShareContext = { ...told, claim };
        const own = await attempt(spec, "share", () => module.share?.(spec.options, context));
        return { own, inner: shared as SharedTree[] };
      } catch (error) {
        // Nobody else knows of these. Without this their files stayed open, and locked.
        for (let index = shared.length - 1; index >= 0; index--) {
          await inner[index].unshare(shared[index]).catch(() => {});
        }
        throw error;
      }
    },
    async open(queue: number, shared: unknown, outer?: RingFiles): Promise<Backend> {
      const tree = shared as SharedTree;
      const ring = outer ?? (ownRing = ringFiles());
      const backends: Backend[] = [];
      for (const [index, child] of inner.entries()) {
        backends.push(await child.open(queue, tree.inner[index], ring));
      }
      const own = { queue, shared: tree.own, inner: backends, ring };
      const context: OpenContext = { ...own, ...told, deadlineMs };
      const backend = await attempt(spec, "open", () => module.open(spec.options, context));
      // Assign before the check, so that a backend of the wrong shape is closed too.
      opened = backend;
      return checkBackend(backend, spec.module);
    },
    async close(): Promise<void> {
      const [outermost, ring] = [opened, ownRing];
      opened = ownRing = undefined;
      await eachInTurn([
        () => outermost?.close?.(),
        ...inner.map((child) => () => child.close()),
        () => ring?.[Symbol.asyncDispose](),
      ]);
    },
    async unshare(shared: unknown): Promise<void> {
      const tree = shared as SharedTree;
      await eachInTurn([
        () => module.unshare?.(tree.own),
        ...inner.map((child, index) => () => child.unshare(tree.inner[index])),
      ]);
    },
  };
}

/**
 * Imports the module of a backend.
 *
 * @throws {UblkError} `BACKEND_MODULE`.
 */
export async function importModule(url: string): Promise<Record<string, unknown>> {
  try {
    return await import(url);
  } catch (cause) {
    throw new UblkError("BACKEND_MODULE", {
      operation: `load backend ${url}`,
      reason: reasonOf(cause),
      hint: "give the absolute URL of a module that `deno check` accepts",
      cause,
    });
  }
}

function pick(exports: Record<string, unknown>, spec: BackendSpec): BackendModule {
  const name = spec.export;
  const found = name !== undefined
    ? exports[name]
    : typeof exports.open === "function"
    ? exports
    : exports.default;
  if (typeof found === "function") {
    return { open: found as BackendModule["open"], sharing: checkSharing(exports.sharing, spec) };
  }
  if (typeof found === "object" && found !== null && "open" in found) {
    const module = found as BackendModule;
    checkSharing(module.sharing, spec);
    if (typeof module.open === "function") return module;
  }
  throw shapeError(
    spec.module,
    name === undefined ? "it exports no function `open`" : `it has no usable export \`${name}\``,
    "export function open(options, context) that returns a Backend",
  );
}

function checkSharing(sharing: unknown, spec: BackendSpec): Sharing | undefined {
  if (sharing === undefined || sharing === "single" || sharing === "per-queue") return sharing;
  throw shapeError(
    spec.module,
    `its \`sharing\` is ${JSON.stringify(sharing)}`,
    'say "single" or "per-queue"',
  );
}

async function attempt<T>(spec: BackendSpec, what: string, run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (isUblkError(cause)) throw cause;
    throw new UblkError("BACKEND_OPEN", {
      operation: `${what} backend ${spec.module}`,
      reason: reasonOf(cause),
      hint: "check its options",
      cause,
    });
  }
}

function reasonOf(cause: unknown): string {
  const words = messageOf(cause) ?? thrownText(cause);
  return words.split("\n").find((line) => line.trim() !== "") ?? "";
}

/** The message of an error; undefined for other values, and if its getter throws. */
function messageOf(cause: unknown): string | undefined {
  try {
    return cause instanceof Error ? `${cause.message}` : undefined;
  } catch {
    return undefined;
  }
}
