/**
 * Valid and invalid backend modules as data: URLs, for tests of loading.
 *
 * @module
 */

import type { BackendSpec } from "../disk/spec.ts";

/** The URL of a module with that source. It can import nothing relative. */
export function moduleUrl(source: string): string {
  return `data:application/javascript,${encodeURIComponent(source)}`;
}

/** The source of an `open` that returns a disk of `size` bytes, with the members of `extra` added. */
export function openSource(size: number, extra = ""): string {
  return `(options, context) => ({
    size: ${size}, options, context, readAt() {}, writeAt() {}, ${extra}
  })`;
}

/**
 * A module that notes in {@linkcode withOrder}'s list each call that it gets.
 *
 * @param then What it does after that, in source text.
 */
export function telling(
  name: string,
  then: Partial<Record<"share" | "unshare" | "open" | "close", string>> = {},
): BackendSpec {
  const { share = "", unshare = "", open = "", close = "" } = then;
  const tell = (what: string) => `globalThis.order.push("${what} ${name}");`;
  return {
    module: moduleUrl(`
      export const share = () => { ${tell("share")} ${share} return "of ${name}"; };
      export const unshare = (shared) => {
        ${tell("unshare")} if (shared !== "of ${name}") throw 1; ${unshare}
      };
      export const open = (options, context) => {
        ${tell("open")} ${open}
        const close = () => { ${tell("close")} ${close} };
        return { size: 512, context, readAt() {}, writeAt() {}, close };
      };`),
  };
}

/** A new list of calls for {@linkcode telling} modules. */
export function withOrder(): string[] {
  return (globalThis as unknown as { order: string[] }).order = [];
}
