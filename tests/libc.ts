/**
 * Calls of libc that tests alone need. All others are in `uring/libc.ts`, with the pointers.
 *
 * @module
 */

/** Opened with the first import: no test leaks it. */
const library = Deno.dlopen("libc.so.6", {
  prctlNumbers: { name: "prctl", parameters: ["i32", "u64", "u64", "u64", "u64"], result: "i32" },
  prctlFilter: { name: "prctl", parameters: ["i32", "u64", "buffer"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
  dup: { parameters: ["i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  tgkill: { parameters: ["i32", "i32", "i32"], result: "i32" },
});

/** The calls. */
export const testLibc = library.symbols;
