/**
 * Local stand-in for `jsr:@std/text`: std's own JavaScript from npm, under the types in
 * `mod.d.ts`, which declare only what this repository uses. Never published.
 *
 * @module
 */

// @ts-types="./mod.d.ts"
export * from "npm:deno-std@1.4.0/text/mod.js";
