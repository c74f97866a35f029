import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Clock } from "./pauses.ts";
import { ReadScheduler, type Work } from "./read_scheduler.ts";

/** A clock that advances only with steps, and a record of steps and answers. */
class Bench implements Clock {
  nowMs = 0;
  pauses = 0;
  /** The name of the work that made each step. */
  readonly steps: string[] = [];
  /** The answered reads, in order. */
  readonly answers: string[] = [];
  readonly scheduler = new ReadScheduler(this);

  now(): number {
    return this.nowMs;
  }

  async pause(): Promise<void> {
    this.pauses++;
    await Promise.resolve();
  }

  /** Work of `steps` steps of one byte. Each takes `stepMs`. */
  work(name: string, steps: number, stepMs = 4, fails = Infinity): Work {
    const work = {
      bytesDone: 0,
      step: (): Promise<boolean> => {
        this.steps.push(name);
        this.nowMs += stepMs;
        if (++work.bytesDone === fails) return Promise.reject(new Error(`${name} fails`));
        return Promise.resolve(work.bytesDone === steps);
      },
    };
    return work;
  }

  read(name: string, work: Work, end: number): Promise<void> {
    return this.scheduler.wait(work, end, () => void this.answers.push(name));
  }
}

Deno.test("ReadScheduler answers reads of equal work in order of arrival", async () => {
  const bench = new Bench();
  const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
  await Promise.all(names.map((name) => bench.read(name, bench.work(name, 20), Infinity)));
  assertEquals(bench.answers, names);
  // Once all finished at the last moment, because each had an eighth of the time.
  assertEquals(bench.steps.lastIndexOf("a"), 38);
});

Deno.test("ReadScheduler gives every other slice to the oldest read, and the rest to the others in turn", async () => {
  const bench = new Bench();
  const [a, b, c] = ["a", "b", "c"].map((name) => bench.work(name, 100));
  await Promise.all([bench.read("a", a, 4), bench.read("b", b, 3), bench.read("c", c, 3)]);
  assertEquals(bench.steps.join(""), "abacabacbc");
});

Deno.test("ReadScheduler answers a read as soon as its bytes are ready, and then stops the work", async () => {
  const bench = new Bench();
  const large = bench.work("large", 1_000_000);
  await bench.read("start", large, 1);
  assertEquals([bench.steps.length, bench.answers], [1, ["start"]]);
  // A read of another work's start does not wait for the end of an earlier one.
  const end = bench.read("end", large, 10_000);
  await bench.read("other", bench.work("other", 100), 2);
  assert(bench.steps.length < 8, `${bench.steps}`);
  await end;
  assertEquals(bench.steps.length, 10_000 + 2);
  await Promise.resolve();
  assertEquals(large.bytesDone, 10_000);
});

Deno.test("ReadScheduler finishes the oldest read however many others keep coming", async () => {
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

Deno.test("ReadScheduler gives each read its turn however many newer ones keep coming", async () => {
  const bench = new Bench();
  let open = true;
  const first = bench.read("first", bench.work("first", 5000), Infinity);
  const second = bench.read("second", bench.work("second", 10), Infinity).then(() => open = false);
  const others: Promise<void>[] = [];
  for (let index = 0; open; index++) {
    // Small files, read one after the other by a client that never stops.
    others.push(bench.read(`${index}`, bench.work("x", 1), 1));
    await others.at(-1);
    // Newer reads once took all turns until the oldest read was answered.
    assert(bench.steps.length < 100, `${bench.steps.length} steps and it still waits`);
  }
  await Promise.all([first, second, ...others]);
  assertEquals(bench.answers.at(-1), "first");
});

Deno.test("ReadScheduler fails the reads of failed work, and continues with the others", async () => {
  const bench = new Bench();
  const [bad, good] = [bench.work("bad", 9, 1, 3), bench.work("good", 5)];
  const reads = [bench.read("0", bad, 1), bench.read("1", bad, 5), bench.read("2", bad, Infinity)];
  const other = bench.read("other", good, Infinity);
  await assertRejects(() => reads[1], Error, "bad fails");
  await assertRejects(() => reads[2], Error, "bad fails");
  await other;
  assertEquals(bench.answers, ["0", "other"]);
});

Deno.test("ReadScheduler pauses after every slice, and not while no read waits", async () => {
  const bench = new Bench();
  await bench.read("a", bench.work("a", 38, 1), Infinity);
  assertEquals(bench.pauses, 9);
  await bench.read("b", bench.work("b", 1, 0), 1);
  assertEquals(bench.pauses, 9);
});

Deno.test("ReadScheduler fails all waiting reads when it is closed", async () => {
  const bench = new Bench();
  const reads = [
    bench.read("a", bench.work("a", 1e6), 1e6),
    bench.read("b", bench.work("b", 9), 9),
  ];
  const rejected = reads.map((read) => assertRejects(() => read, Error, "closed"));
  await bench.scheduler.close(new Error("closed"));
  await Promise.all(rejected);
  assert(bench.steps.length < 3);
});
