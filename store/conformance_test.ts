/**
 * All stores against one set of checks.
 *
 * @module
 */

import { assertRejects } from "@std/assert";
import { CrashableProcess } from "../files/crashable.ts";
import { CrashableMachine } from "../files/crashable_machine.ts";
import { Scratch } from "../tests/scratch.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { checkStoreConformance } from "./conformance.ts";
import { DirectoryStore } from "./directory.ts";
import { MemoryStore } from "./memory.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

Deno.test("MemoryStore conforms", async () => {
  await checkStoreConformance(() => Promise.resolve(new MemoryStore("conformance")));
});

Deno.test("DirectoryStore conforms on real files", async () => {
  using scratch = new Scratch();
  await checkStoreConformance(() => DirectoryStore.open(scratch.path));
});

Deno.test("DirectoryStore conforms on files in memory", async () => {
  const files = new CrashableProcess(new CrashableMachine(1));
  await checkStoreConformance(() => DirectoryStore.open("/store", { files, create: true }));
});

/** A store that breaks one rule. */
class Wrong extends MemoryStore {
  constructor(broken: Partial<MemoryStore>) {
    super();
    Object.assign(this, broken);
  }
}

Deno.test("checkStoreConformance finds broken stores", async () => {
  const right = new MemoryStore("right");
  const wrong: readonly (readonly [string, Partial<MemoryStore>])[] = [
    ["put .* succeeds a second time", {
      putIfAbsent: async (name, bytes) => {
        await right.delete(name);
        return await right.putIfAbsent(name, bytes);
      },
    }],
    ["finds nothing", { get: () => Promise.resolve(undefined) }],
    ["succeeds with version", {
      replace: async (name, bytes) => {
        const found = await right.get(name);
        return found && await right.replace(name, bytes, found.version);
      },
    }],
    ["finds what was deleted", { delete: () => Promise.resolve(true) }],
    ["deletes version", { delete: (name) => right.delete(name) }],
    ["with a stale version says", {
      delete: async (name, terms) => {
        await right.delete(name, terms);
        return true;
      },
    }],
    ['get "" succeeds', { get: (name, terms) => right.get(name || "a", terms) }],
  ];
  for (const [words, broken] of wrong) {
    const store = new Wrong({
      get: (name, terms) => right.get(name, terms),
      putIfAbsent: (name, bytes, terms) => right.putIfAbsent(name, bytes, terms),
      replace: (name, bytes, version, terms) => right.replace(name, bytes, version, terms),
      list: (prefix, terms) => right.list(prefix, terms),
      delete: (name, terms) => right.delete(name, terms),
      ...broken,
    });
    const error = await assertRejects(() => checkStoreConformance(() => Promise.resolve(store)));
    if (!new RegExp(words).test(String(error))) throw error;
  }
});
