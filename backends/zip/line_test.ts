import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Clock } from "./breaths.ts";
import { Line, type Work } from "./line.ts";

/** Time passes by steps alone, and all that happens is written down. */
class Bench implements Clock {
  nowMs = 0;
  breaths = 0;
  /** The names of the works that made a step. */
  readonly steps: string[] = [];
  /** The reads that were answered. */
  readonly answers: string[] = [];
  readonly line = new Line(this);

  now(): number {
    return this.nowMs;
  }

  async breathe(): Promise<void> {
    this.breaths++;
    await Promise.resolve();
  }

  /** Work of so many steps of one byte; each takes `stepMs`. */
  work(name: string, steps: number, stepMs = 4, fails = Infinity): Work {
    const work = {
      there: 0,
      step: (): Promise<boolean> => {
        this.steps.push(name);
        this.nowMs += stepMs;
        if (++work.there === fails) return Promise.reject(new Error(`${name} fails`));
        return Promise.resolve(work.there === steps);
      },
    };
    return work;
  }

  read(name: string, work: Work, end: number): Promise<void> {
    return this.line.wait(work, end, () => void this.answers.push(name));
  }
}

Deno.test("Line answers reads of equal work in the order of asking", async () => {
  const bench = new Bench();
  const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
  await Promise.all(names.map((name) => bench.read(name, bench.work(name, 20), Infinity)));
  assertEquals(bench.answers, names);
  // They once all ended in the last moment: nobody had more than an eighth of the time.
  assertEquals(bench.steps.lastIndexOf("a"), 38);
});

Deno.test("Line gives every other slice to the oldest read, and the others turns in between", async () => {
  const bench = new Bench();
  const [a, b, c] = ["a", "b", "c"].map((name) => bench.work(name, 100));
  await Promise.all([bench.read("a", a, 4), bench.read("b", b, 3), bench.read("c", c, 3)]);
  assertEquals(bench.steps.join(""), "abacabacbc");
});

Deno.test("Line answers a read as soon as its bytes are there, and then lets the work stand", async () => {
  const bench = new Bench();
  const large = bench.work("large", 1_000_000);
  await bench.read("start", large, 1);
  assertEquals([bench.steps.length, bench.answers], [1, ["start"]]);
  // A read of the start of another does not wait for the end of one that was asked for before.
  const end = bench.read("end", large, 10_000);
  await bench.read("other", bench.work("other", 100), 2);
  assert(bench.steps.length < 8, `${bench.steps}`);
  await end;
  assertEquals(bench.steps.length, 10_000 + 2);
  await Promise.resolve();
  assertEquals(large.there, 10_000);
});

Deno.test("Line ends the oldest read however many others keep coming", async () => {
  const bench = new Bench();
  let open = true;
  const first = bench.read("first", bench.work("first", 50), Infinity).then(() => open = false);
  const others: Promise<void>[] = [];
  for (let index = 0; open; index++) {
    others.push(bench.read(`${index}`, bench.work("x", 3), 3));
    await Promise.resolve();
    assert(bench.steps.length < 200, "it never ends");
  }
  await first;
  assert(bench.steps.length <= 101, `${bench.steps.length}`);
  await Promise.all(others);
});

Deno.test("Line gives a read its turn however many newer ones keep coming behind an older", async () => {
  const bench = new Bench();
  let open = true;
  const first = bench.read("first", bench.work("first", 5000), Infinity);
  const second = bench.read("second", bench.work("second", 10), Infinity).then(() => open = false);
  const others: Promise<void>[] = [];
  for (let index = 0; open; index++) {
    // Small files, read one after the other by somebody who is never done.
    others.push(bench.read(`${index}`, bench.work("x", 1), 1));
    await others.at(-1);
    // The newer ones once took all turns until the oldest read ended.
    assert(bench.steps.length < 100, `${bench.steps.length} steps and it still waits`);
  }
  await Promise.all([first, second, ...others]);
  assertEquals(bench.answers.at(-1), "first");
});

Deno.test("Line fails the reads of work that fails, and goes on with the others", async () => {
  const bench = new Bench();
  const [bad, good] = [bench.work("bad", 9, 1, 3), bench.work("good", 5)];
  const reads = [bench.read("0", bad, 1), bench.read("1", bad, 5), bench.read("2", bad, Infinity)];
  const other = bench.read("other", good, Infinity);
  await assertRejects(() => reads[1], Error, "bad fails");
  await assertRejects(() => reads[2], Error, "bad fails");
  await other;
  assertEquals(bench.answers, ["0", "other"]);
});

Deno.test("Line takes a breath after every slice, and none while nobody waits", async () => {
  const bench = new Bench();
  await bench.read("a", bench.work("a", 38, 1), Infinity);
  assertEquals(bench.breaths, 9);
  await bench.read("b", bench.work("b", 1, 0), 1);
  assertEquals(bench.breaths, 9);
});

Deno.test("Line fails all that wait when it is closed", async () => {
  const bench = new Bench();
  const reads = [
    bench.read("a", bench.work("a", 1e6), 1e6),
    bench.read("b", bench.work("b", 9), 9),
  ];
  const rejected = reads.map((read) => assertRejects(() => read, Error, "closed"));
  await bench.line.close(new Error("closed"));
  await Promise.all(rejected);
  assert(bench.steps.length < 3);
});
