/**
 * Rules of snapshots, clones and the collection of garbage: what is needed stays.
 *
 * @module
 */

import type { BrokenRule } from "./rule.ts";

/** The list. */
export const GARBAGE_RULES: readonly BrokenRule[] = [
  {
    name: "garbage is judged by a state that the engine has not reached",
    file: "volume/space/bases.ts",
    text: "return this.#states[0].name;",
    instead: "return this.#states.at(-1)!.name;",
    foundBy: ["crashes"],
    seeds: 1000,
  },
  {
    name: "what a snapshot needs is garbage",
    file: "volume/space/collect.ts",
    text: "of [base, found.head, ...catalog.entries]",
    instead: "of [base, found.head]",
    foundBy: ["crashes", "clones"],
    seeds: 200,
  },
  {
    name: "what is newer than the base is garbage",
    file: "volume/space/collect.ts",
    text: "isNeeded: (number) => number >= nextChunk || reach.has(number)",
    instead: "isNeeded: (number) => reach.has(number)",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "garbage is deleted before the floor is raised",
    file: "volume/space/collect.ts",
    text: "return isSame ? undefined : { ...before, entries, floor: number };",
    instead: "return isSame ? undefined : { ...before, entries };",
    foundBy: ["crashes"],
    seeds: 500,
  },
  {
    name: "a snapshot is taken before the journal is durable",
    file: "volume/marks/marks.ts",
    text: "      this.#sync(position);\n",
    instead: "",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "a commit goes past a snapshot",
    file: "volume/marks/marks.ts",
    text: "return next === undefined || next.position > wanted.position ? wanted : next;",
    instead: "return wanted;",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "something is committed before a snapshot has its entry",
    file: "volume/drain/drainer.ts",
    text: "    await this.enter();\n    const cut",
    instead: "    const cut",
    foundBy: ["brokenStore"],
    seeds: 200,
  },
  {
    name: "a source forgets a clone that is being made",
    file: "volume/space/clones.ts",
    text: "if (found.head.beingMade) return !await giveUp(store, names, found, entry, seam);",
    instead: "if (found.head.beingMade) return false;",
    foundBy: ["clones"],
    seeds: 3000,
  },
  {
    name: "a source forgets what the snapshots of a clone need",
    file: "volume/space/clones.ts",
    text: " ||\n    own !== undefined && await doEntriesReach(store, names, own, source, seam);\n}",
    instead: ";\n}",
    foundBy: ["clones"],
    seeds: 200,
  },
  {
    name: "a removal takes what clones need",
    file: "volume/list.ts",
    text: "if (!needed.has(object)) await opened.delete(object, { neverReused: true });",
    instead: "await opened.delete(object, { neverReused: true });",
    foundBy: ["clones"],
    seeds: 200,
  },
  {
    // Seed 523: the fsync of a clone's removal fails, and a power cut brings its head back.
    name: "a clone counts as removed before its deletion is durable",
    file: "volume/space/clones.ts",
    text: "readAnyHead(store, names, { settled: true })",
    instead: "readAnyHead(store, names)",
    foundBy: ["brokenFiles"],
    seeds: 600,
  },
];
