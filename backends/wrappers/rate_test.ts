import { assert, assertEquals } from "@std/assert";
import { mockBackend } from "../../testing.ts";
import { OpenedDisk } from "../../disk/opened.ts";
import { leastMs } from "../../tests/least_ms.ts";
import { fill, readBytes } from "../../tests/stack.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { memory } from "../memory.ts";
import { Bucket, open, rate } from "./rate.ts";

// Opened once for the process, so that the sanitizer reports no leak.
openAllOfLibc();

Deno.test("Bucket lets a burst through, then so many per second, and fills up in a pause", () => {
  const bucket = new Bucket(100, 500);
  // 50 at once, and one more on credit.
  for (let index = 0; index < 51; index++) assertEquals(bucket.take(1, 1000), 0);
  assertEquals(bucket.take(1, 1000), 10);
  assertEquals(bucket.take(1, 1000), 20);
  assertEquals(bucket.take(1, 1030), 0);
  // A pause of any length only fills the bucket.
  for (let index = 0; index < 51; index++) assertEquals(bucket.take(1, 99_000), 0);
  assertEquals(bucket.take(1, 99_000), 10);
});

Deno.test("Bucket lets a request through that is larger than itself, and those behind it pay", () => {
  const bucket = new Bucket(1000, 100);
  assertEquals(bucket.take(5000, 0), 0);
  assertEquals(bucket.take(1, 0), 4900);
});

Deno.test("Bucket without a burst spaces requests evenly", () => {
  const bucket = new Bucket(10, 0);
  assertEquals([0, 0, 0].map((now) => bucket.take(1, now)), [0, 100, 200]);
});

Deno.test("rate lets nothing overtake what waits, though it carries no bytes", async () => {
  const disk = mockBackend({ size: "1MiB" });
  const { options } = rate({ module: "" }, { bytes: "1MiB", burst: 0 });
  const backend = open(options, { inner: [disk] });
  // The first begins at once and owes 62 ms. The second and all behind it wait for that time.
  const answers = [fill(backend, 1, 0, 65536), fill(backend, 2, 0, 65536)];
  const expected = ["writeAt", "writeAt"];
  for (let round = 0; round < 20; round++) {
    // All are due at the same time and arrive one after another. Timers of their own would show that.
    for (const start = performance.now(); performance.now() - start < 0.3;);
    answers.push(
      backend.writeZeroes!(0, 65536, { mayUnmap: true }) as Promise<void>,
      backend.trim!(0, 65536) as Promise<void>,
      backend.flush!() as Promise<void>,
    );
    expected.push("writeZeroes", "trim", "flush");
  }
  await Promise.all(answers);
  assertEquals(disk.calls.list().map(({ op }) => op), expected);
});

Deno.test("rate takes no bytes for what carries none", async () => {
  const disk = mockBackend({ size: "1MiB" });
  const { options } = rate({ module: "" }, { bytes: 512, burst: 0 });
  const backend = open(options, { inner: [disk] });
  for (let round = 0; round < 3; round++) {
    assertEquals(backend.flush!(), undefined, "at once");
    assertEquals(backend.trim!(0, 65536), undefined, "at once");
  }
  await backend.close?.();
});

for (const [limit, options] of [["bytes", { bytes: "1MiB" }], ["iops", { iops: 64 }]] as const) {
  Deno.test(`rate keeps to its limit of ${limit}, reads and writes together`, async () => {
    const spec = rate(memory("1MiB"), { ...options, burst: "125ms" });
    const least = await leastMs(700, async () => {
      // Each time with a full bucket.
      await using stack = await OpenedDisk.open(spec);
      const start = performance.now();
      const requests = Array.from(
        { length: 24 },
        (_, index) =>
          index % 2 === 0
            ? readBytes(stack.backend, index * 16384, 16384)
            : fill(stack.backend, index, index * 16384, 16384),
      );
      await Promise.all(requests);
      const ms = performance.now() - start;
      // 24 at 64 per second, less 8 of a burst and one on credit: 15/64 s.
      assert(ms >= 230, `${ms}`);
      return ms;
    });
    assert(least < 700, `${least}`);
  });
}
