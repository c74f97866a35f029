/**
 * The targets that {@linkcode cells} are made of.
 *
 * @module
 */

import { faultInject, file, memory, nullDisk, stripe } from "../../mod.ts";
import { counting, watched } from "../backends/counting.ts";
import type { Target } from "./_cells.ts";

/** A sparse file of that size. */
function sparse(path: string, size: number): string {
  Deno.writeTextFileSync(path, "");
  Deno.truncateSync(path, size);
  return path;
}

/** Every target, and the two other kinds of backends there are. */
export const TARGETS: readonly Target[] = [
  { name: "mem", ring: false, keeps: true, make: (_, size) => memory(size) },
  { name: "null", ring: true, keeps: false, make: (_, size) => nullDisk(size) },
  {
    name: "loop",
    ring: true,
    keeps: true,
    make: (folder, size) => file(sparse(`${folder}/disk`, size)),
  },
  {
    name: "stripe",
    ring: true,
    keeps: true,
    make: (folder, size) =>
      stripe([sparse(`${folder}/a`, size / 2), sparse(`${folder}/b`, size / 2)], {
        chunkSize: 16 << 10,
      }),
  },
  {
    name: "fault_inject",
    ring: true,
    keeps: false,
    make: (_, size) => faultInject({ size, delayUs: 100 }),
  },
  {
    name: "a module's bytes",
    ring: false,
    keeps: true,
    make: (_, size) => counting(watched(size), "per-queue"),
  },
  {
    name: "a module's Promises",
    ring: false,
    keeps: true,
    single: true,
    make: (_, size) => counting(watched(size), "single", { style: "async" }),
  },
];
