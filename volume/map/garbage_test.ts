import { assert, assertLessOrEqual } from "@std/assert";

const WARM_UP = 300_000;
const MEASURED = 1_000_000;

/** V8's garbage collections during operations of a child process. */
async function collections(name: string, operations: number): Promise<number> {
  const child = new URL("../../tests/map_garbage_child.ts", import.meta.url).pathname;
  // A young generation of 1 MiB; and single-threaded, so that V8 optimises at once. The slow code
  // makes garbage.
  const flags = "--v8-flags=--trace-gc,--max-semi-space-size=1,--single-threaded";
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", flags, child, name, String(operations)],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder();
  assert(code === 0, text.decode(stderr));
  return text.decode(stdout).split("\n").filter((line) => / ms: (Scavenge|Mark)/.test(line)).length;
}

/** Garbage collections of a million operations, without those of start and warm-up. */
async function perMillion(name: string): Promise<number> {
  const counts = [collections(name, WARM_UP), collections(name, WARM_UP + MEASURED)];
  const [before, after] = await Promise.all(counts);
  return after - before;
}

for (const name of ["find", "remove", "cursor"]) {
  Deno.test(`BlockMap + ${name} + makes no garbage`, async () => {
    assertLessOrEqual(await perMillion(name), 1);
  });
}

// Regression: it once made 60 bytes. A million numbers of 16 bytes fill the young generation up to 20
// times, with the memory that the map itself takes.
for (const name of ["set", "flat"]) {
  Deno.test(`BlockMap + ${name} + at most the place, which the caller passes, is garbage`, async () => {
    assertLessOrEqual(await perMillion(name), 24);
  });
}

Deno.test("BlockMap's measurement of garbage sees one array per operation", async () => {
  assert(await perMillion("garbage") > 30);
});
