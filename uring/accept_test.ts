import { assertEquals } from "@std/assert";
import { acceptAll } from "./accept.ts";

/** Makes a connection that records whether it was closed. */
const connect = () => ({
  closed: false,
  [Symbol.dispose]() {
    this.closed = true;
  },
});

Deno.test("acceptAll goes on after a connection that could not be taken, until it is closed", async () => {
  const outcomes = [
    () => Promise.resolve(connect()),
    () => Promise.reject(new Error("Too many open files (os error 24)")),
    () => Promise.resolve(connect()),
    () => Promise.reject(new Deno.errors.BadResource("Listener has been closed")),
  ];
  let taken = 0;
  const serve = () => {
    taken++;
    return Promise.resolve();
  };
  await acceptAll({ accept: () => outcomes.shift()!() }, serve, 9);
  assertEquals([taken, outcomes.length], [2, 0]);
});

Deno.test("acceptAll closes connections beyond its limit, until one of those before has ended", async () => {
  const all = Array.from({ length: 5 }, connect);
  const ends: (() => void)[] = [];
  const queue = [...all];
  const accept = async () => {
    // Let the effects of the previous connection settle.
    await new Promise((resolve) => setTimeout(resolve));
    if (queue.length === 1) ends[0]();
    await Promise.resolve();
    const next = queue.shift();
    if (next === undefined) throw new Deno.errors.BadResource("closed");
    return next;
  };
  const served: unknown[] = [];
  await acceptAll({ accept }, (connection) => {
    served.push(connection);
    return new Promise<void>((resolve) => ends.push(resolve));
  }, 2);
  assertEquals(all.map(({ closed }) => closed), [false, false, true, true, false]);
  assertEquals(served, [all[0], all[1], all[4]]);
});
