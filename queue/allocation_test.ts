import { assert, assertLessOrEqual } from "@std/assert";

const WARM_UP = 300_000;
const MEASURED = 1_000_000;

/** Runs the loop in a child process, and counts V8's garbage collections. */
async function collections(name: string, requests: number): Promise<number> {
  const child = new URL("../tests/allocation_child.ts", import.meta.url).pathname;
  // A young generation of 1 MiB: 16 bytes per request would fill it 16 times. Single-threaded, so
  // that V8 optimises at once. On a busy machine the slow code would otherwise run for long, and it
  // allocates.
  const flags = "--v8-flags=--trace-gc,--max-semi-space-size=1,--single-threaded";
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", flags, child, name, String(requests)],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder();
  assert(code === 0, text.decode(stderr));
  return text.decode(stdout).split("\n").filter((line) => / ms: (Scavenge|Mark)/.test(line)).length;
}

/** Garbage collections of a million requests, without those of start and warm-up. */
async function perMillion(name: string): Promise<number> {
  const counts = [collections(name, WARM_UP), collections(name, WARM_UP + MEASURED)];
  const [before, after] = await Promise.all(counts);
  return after - before;
}

// Regression: each request once made 16 bytes of garbage. The slot's address was passed to
// `Slots.answer`, and V8 allocates a number beyond 32 bits that is passed to a call.
const CASES: Record<string, string> = {
  "copy": "the copy path",
  "get-data": "the get-data path",
  "batch": "one command for many requests",
  "ring": "operations on the ring",
  "engine": "an engine",
  "plain": "plain requests to a file",
};
for (const [name, what] of Object.entries(CASES)) {
  Deno.test(`QueueServer with ${what} makes no garbage in a million requests`, async () => {
    assertLessOrEqual(await perMillion(name), 1);
  });
}

Deno.test("QueueServer's measurement of garbage sees a single view per READ", async () => {
  assert(await perMillion("garbage") > 10);
});

Deno.test("serveInEventLoop makes no garbage beside the backend's Promises and their awaits", async () => {
  const bare = await perMillion("bare");
  assert(bare > 10);
  // With `then`, which makes a Promise more, it is half as much again.
  assertLessOrEqual(await perMillion("promises"), bare * 1.1);
});
